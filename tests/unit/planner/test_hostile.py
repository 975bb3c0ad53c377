"""Values that others write: a model's configuration, annotations, labels, Events, what containers leave. Whatever they
are, a plan comes, says something, and costs little."""

import base64
import copy
import dataclasses
import functools
import gc
import json
import time
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.nodes import H100
from builders.observed import Scene, a_scene, condition
from builders.pods import PodBuilder, a_pod, an_inspection_pod
from builders.services import a_service
from llmservice_contract.configuration import packed, relevant
from llmservice_contract.finding import Finding
from llmservice_contract.inspection import ModelFacts
from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.controller.estimator_process import CPU_SECONDS
from llmservice_operator.controller.planning_budget import SECONDS as PLAN_SECONDS
from llmservice_operator.gpu_memory.gpus import KNOWN
from llmservice_operator.planner.model.fit_estimate import estimated
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.planner.model.plan import Plan
from llmservice_operator.planner.model.rollout_record import Failure, Record, noted_good
from llmservice_operator.planner.planner import plan
from llmservice_operator.resources import names
from llmservice_operator.resources.platform import FitPolicy, Platform
from support.campaign import FULL
from support.published import measurements
from support.small_models import MODELS

SLOW = 10
"""By how much more a busy machine may take than is allowed, outside a campaign."""
PRODUCTS = [gpu.name for gpu in KNOWN][:16]
READY = "2026-01-01T12:00:00Z"
DEEP = "[" * 100_000
NESTED = json.dumps({"template": json.loads("[" * 900 + "]" * 900)})
TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        (
            DEEP,
            NESTED,
            "{}",
            "[]",
            "null",
            "0",
            '"x"',
            "9" * 5000,
            "-1",
            '{"spec": []}',
            '{"spec": {"containers": [1]}}',
            '{"spec": {"containers": [{"name": "engine", "envFrom": 3}]}}',
            '{"template": ["x"], "placed": 1e999}',
            '{"template": "x", "placed": 99999999999999999999, "done": "yes"}',
            '{"template": "x", "failure": {"reason": 1, "message": []}}',
            '{"template": "x", "strategy": {}}',
            '{"cause": "Unknown", "message": "\\ud83d", "exitCode": -9}',
            '{"error": {"a": 1}, "message": "\\udcff"}',
            '{"architecture": 1}',
            '{"layers": ' + "9" * 4000 + "}",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59Z",
            "2026-01-01",
            "x" * 200_000,
            '"' * 20_000,
            "admission webhook " * 5000,
        )
    ),
)
"""What an annotation, an Event or a termination message may hold."""
LABELS = st.one_of(st.from_regex(r"\A[0-9]{1,63}\Z"), st.from_regex(r"\A[A-Za-z0-9]{0,63}\Z"), st.just("-"))
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.sampled_from((0, 1, 2, 256, 4096, 1 << 24)),
    st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8),
    st.sampled_from(("re:(\\w+\\.?)+!", "re:.*proj$", "*a*b*", "re:" + "(" * 500, "re:a{999999999}", "model.layers.0")),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
QUANTIZATIONS = st.fixed_dictionaries(
    {"quant_method": st.sampled_from(("fp8", "awq", "gptq", "compressed-tensors", "mxfp4", "modelopt"))},
    optional=dict.fromkeys(
        ("ignore", "config_groups", "dynamic", "modules_to_not_convert", "weight_block_size", "bits"), VALUES
    ),
)
REAL = [*{json.dumps(each.config, sort_keys=True): each.config for each in measurements()}.values(), *MODELS.values()]
"""config.json as they are published, and small ones of each architecture."""


def planned(scene: Scene) -> tuple[Plan, float, float]:
    """The plan, as the shell gets it, and the CPU seconds of its dearest part and of the estimate."""
    observed = scene.build()
    gc.collect(0)
    gc.disable()  # it would look through all that the tests have made
    try:
        return _planned(observed)
    finally:
        gc.enable()


def _planned(observed: Observed) -> tuple[Plan, float, float]:
    dearest = estimating = 0.0
    for _ in range(2):
        began = time.thread_time()
        made = plan(observed)
        dearest = max(dearest, time.thread_time() - began)
        if made.question is None:
            break
        began = time.thread_time()
        estimate = estimated.__wrapped__(made.question)
        estimating = time.thread_time() - began
        observed = dataclasses.replace(observed, estimate=estimate)
    assert made.question is None
    return made, dearest, estimating


def assert_answered(made: Plan, dearest: float, estimating: float) -> None:
    """There is a status, and it cost little."""
    assert made.status is not None
    assert {"Ready", "Accepted"} <= {each["type"] for each in made.status["conditions"]}
    json.dumps(made.status).encode()
    for each in made.status["conditions"]:
        assert each["message"].encode() or each["reason"]
    factor = 1 if FULL else SLOW
    assert dearest < PLAN_SECONDS * factor
    assert estimating < CPU_SECONDS * factor


def reading(config: dict[str, Any], pack: Any = packed) -> Scene | None:
    """After an inspection has read this config.json; None if it is too long for one."""
    text = pack(relevant(config))
    if text is None:
        return None
    facts = ModelFacts("X", None, None, None, None, None, None, text)
    scene = _unread()
    return scene.with_pods(an_inspection_pod(scene.child("Job")).ended(0, facts.to_json(), reason="Completed"))


@functools.cache
def _unread() -> Scene:
    service = a_service().from_source("hf://a/b").on(*PRODUCTS)
    return a_scene(service).on(Platform(fit_policy=FitPolicy.WARN)).applied()


@st.composite
def random_configs(draw: st.DrawFn) -> dict[str, Any]:
    """Any values in the fields that a known architecture has."""
    base = draw(st.sampled_from(REAL))
    fields = draw(st.lists(st.sampled_from(sorted(base)), max_size=12, unique=True))
    config = {name: draw(VALUES) for name in fields}
    config["architectures"] = base.get("architectures")
    if draw(st.booleans()):
        config = {**base, **config}
    if draw(st.booleans()):
        config["quantization_config"] = draw(st.one_of(QUANTIZATIONS, VALUES))
    return {"text_config": config, **config} if draw(st.integers(0, 9)) == 0 else config


@st.composite
def mutated_configs(draw: st.DrawFn) -> dict[str, Any]:
    """A published config.json in which some values, at any depth, are others."""
    config = copy.deepcopy(draw(st.sampled_from(REAL)))
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = config
        while True:
            keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
            key = draw(st.sampled_from(keys))
            if isinstance(inner[key], dict | list) and inner[key] and draw(st.integers(0, 3)):
                inner = inner[key]
                continue
            factor = st.sampled_from((0, -1, 2, 3, 7, 1 << 20))
            number = isinstance(inner[key], int) and draw(st.booleans())
            inner[key] = inner[key] * draw(factor) if number else draw(VALUES)
            break
    return config


CONFIGS = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(CONFIGS, max_examples=20_000 if FULL else 60)
@given(random_configs())
def test_any_configuration_has_a_plan(config: dict[str, Any]):
    scene = reading(config)
    if scene is not None:
        assert_answered(*planned(scene))


@settings(CONFIGS, max_examples=5_000 if FULL else 40)
@given(mutated_configs())
def test_a_published_configuration_with_other_values_has_a_plan(config: dict[str, Any]):
    scene = reading(config)
    if scene is not None:
        assert_answered(*planned(scene))


def test_a_ledger_that_the_status_can_not_hold_is_left_out():
    absurd = {**MODELS["llama"], "num_key_value_heads": 1 << 21, "num_attention_heads": 1 << 21, "head_dim": 1024}
    scene = reading(absurd)
    assert scene is not None
    made, *cost = planned(scene)
    assert_answered(made, *cost)
    assert condition(made, "Fits")["status"] == "False"
    assert "memory" not in made.status


def _deep(depth: int) -> str:
    raw = b'{"architectures":' + b"[" * depth + b"]" * depth + b"}"
    return base64.b64encode(zlib.compress(raw)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        _deep(10),
        _deep(100),
        _deep(20_000),
        base64.b64encode(zlib.compress(b" " * (100 << 20), 9)).decode()[:4000],
        base64.b64encode(zlib.compress(b'{"a":' + b"9" * 5000 + b"}")).decode(),
        base64.b64encode(zlib.compress(b'{"a": NaN}')).decode(),
        base64.b64encode(zlib.compress(b"\xff{}")).decode(),
        base64.b64encode(zlib.compress(b"[1]")).decode(),
    ],
    ids=range(10),
)
def test_what_was_not_packed_by_an_inspection_is_unknown(text: str):
    scene = reading({}, pack=lambda _: text)
    assert scene is not None
    made, *cost = planned(scene)
    assert_answered(made, *cost)
    assert condition(made, "Fits")["status"] == "Unknown"


@functools.cache
def _rolling() -> Scene:
    scene = a_scene(a_service().with_replicas(2).on(H100)).settled()
    return scene.with_pods(a_pod("chat-0").ready(), a_pod("chat-1")).settled("r2", before="r1")


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A service that runs, with foreign values in all that others may write."""
    scene = _rolling()
    children, pods = copy.deepcopy(list(scene.children)), copy.deepcopy(list(scene.pods))
    known = st.sampled_from(
        (names.ROLLOUT_ANNOTATION, names.LAST_GOOD_ANNOTATION, names.ADMITTED_ANNOTATION, names.APPLIED_ANNOTATION)
    )
    for obj in (*children, *pods):
        meta = obj["metadata"]
        meta["annotations"] = {**(meta.get("annotations") or {}), **draw(st.dictionaries(known, TEXTS, max_size=3))}
    numbers = st.dictionaries(st.sampled_from((names.RANK_LABEL, names.NODES_LABEL)), LABELS, max_size=2)
    for pod in pods:
        pod["metadata"]["labels"] = {**pod["metadata"]["labels"], **draw(numbers)}
        ended = {"exitCode": draw(st.integers(0, 255)), "reason": "Error", "message": draw(TEXTS), "finishedAt": READY}
        status = {"name": "engine", "restartCount": draw(st.integers(0, 9)), "state": {"terminated": ended}}
        if draw(st.booleans()):
            status["state"] = {"waiting": {"reason": draw(st.text(max_size=20)) or "X", "message": draw(TEXTS)}}
            status["lastState"] = {"terminated": ended}
        pod["status"] = {**pod.get("status", {}), "containerStatuses": [status]}
    scene = dataclasses.replace(scene, children=tuple(children), pods=tuple(pods))
    for kind, name in (("StatefulSet", "chat"), ("Pod", "chat-1")):
        reason = draw(st.sampled_from(("FailedCreate", "FailedScheduling", "FailedMount", "Failed", "Evicted")))
        scene = scene.reporting(kind, name, reason, draw(TEXTS)[:2048])
    return scene


@settings(CONFIGS, max_examples=5_000 if FULL else 60)
@given(scenes())
def test_whatever_others_write_into_objects_there_is_a_plan(scene: Scene):
    assert_answered(*planned(scene))


@pytest.mark.parametrize(
    "text",
    [
        *(DEEP, NESTED, "[]", "null", '{"model": "x"}', '{"template": [1]}', '{"template": "x", "placed": 1e9}'),
        *('{"template": "x", "failure": {"reason": "X"}}', '{"template": "x", "failure": 7}'),
        *(
            '{"template": "x", "failure": {"reason": "X", "message": "y", "refresh": 7}}',
            '{"template": "x", "strategy": 7}',
        ),
        '{"template": "x", "strategy": "Auto"}',
    ],
    ids=range(12),
)
def test_an_annotation_that_is_none_of_the_operators_is_no_record(text: str):
    live = {"metadata": {"annotations": {names.ROLLOUT_ANNOTATION: text, names.LAST_GOOD_ANNOTATION: text}}}
    assert Record.of(live) is None
    assert noted_good(live) is None


def test_a_record_of_0_2_is_read_whole():
    """Written out: the names in the annotation are those of StatefulSets that run, whatever the fields are called."""
    text = (
        '{"before":"m0","by":"op","done":true,"failure":{"message":"chat-0: it ended; do this","reason":"Crashed",'
        '"refresh":"r"},"lacking":"2026-01-01T00:00:00Z","model":"m","placed":3,"spec":"s","strategy":"Surge",'
        '"template":"t","waiting":"w","waiting_by":"op2","why":"as there is room"}'
    )
    failure = Failure(Finding("Crashed", "chat-0: it ended; do this"), "r")
    record = Record(
        template="t", model="m", done=True, before="m0", by="op", spec="s", waiting="w", waiting_by="op2", placed=3,
        strategy=RolloutStrategy.SURGE, why="as there is room", lacking="2026-01-01T00:00:00Z", failure=failure,
    )  # fmt: skip
    assert Record.of({"metadata": {"annotations": {names.ROLLOUT_ANNOTATION: text}}}) == record
    assert json.loads(record.text()).keys() == json.loads(text).keys()
    whole = dataclasses.replace(record, failure=Failure(Finding("X", "y", "chat-0", numbers={"a": "1"}, fix="z"), "r"))
    assert Record.of({"metadata": {"annotations": {names.ROLLOUT_ANNOTATION: whole.text()}}}) == whole


def test_what_a_later_version_adds_to_a_record_loses_no_rollout():
    live = {"metadata": {"annotations": {names.ROLLOUT_ANNOTATION: '{"template": "x", "new": 1, "placed": 2}'}}}
    assert Record.of(live) == Record("x", placed=2)


def test_a_record_and_a_template_are_read_as_they_were_written():
    record = Record("a", "b", placed=3, why="x")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "engine", "envFrom": []}]}}
    annotations = {names.ROLLOUT_ANNOTATION: record.text(), names.LAST_GOOD_ANNOTATION: json.dumps(template)}
    live = {"metadata": {"annotations": annotations}}
    assert Record.of(live) == record
    assert noted_good(live) == template


def _rank(number: int, rank: int) -> PodBuilder:
    """The pod of that rank, of a replica on two nodes."""
    pod = a_pod(f"chat-r{rank}-{number}" if rank else f"chat-{number}")
    labels = names.labels("chat", names.component_of_rank(rank))
    ranked = {**labels, names.NODES_LABEL: "2", **({names.RANK_LABEL: str(rank)} if rank else {})}
    return dataclasses.replace(pod, metadata={**pod.metadata, "labels": ranked})


def test_a_thousand_replicas_on_two_nodes_each_are_planned_in_time():
    spec = {"parallelism": {"tensor": 8, "pipeline": 2, "nodesPerReplica": 2}}
    scene = a_scene(a_service().with_replicas(1000).on(H100).with_spec(**spec)).settled()
    scene = scene.with_pods(*(_rank(number, rank) for number in range(1000) for rank in (0, 1)))
    made, dearest, _ = planned(scene)
    assert condition(made, "Ready")["status"] == "False"
    assert dearest < PLAN_SECONDS * SLOW
