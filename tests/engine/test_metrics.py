"""What a real engine tells of itself: counts that agree with the client's own, and one trace from client to engine."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.error import HTTPError

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from llmservice_contract import metrics
from llmservice_contract.keys import id_of
from llmservice_contract.metrics import THROUGHPUT_SECONDS
from llmservice_contract.policy import Caps, Policy
from support.access import AccessFiles
from support.alert_rules import OPERATOR, faster
from support.cluster import wait_until
from support.dashboards import SERVICES, expressions, without_numbers
from support.engine import Engine, make_model
from support.known_metrics import ENGINE_NAMES, RECORDED, names_of
from support.metrics_page import ROWS
from support.otlp import Collector, Exported
from support.prometheus_server import Exporter, prometheus_server

ROUTE = "/v1/completions"
PROMPT = "The quick brown fox"
CLIENTS = 8
TOKENS = 64
TRACE = "0af7651916cd43dd8448eb211c80319"
USAGE_IN_EACH_CHUNK = {"include_usage": True, "continuous_usage_stats": True}
PARENT = "b7ad6b7169203331"


@dataclass(frozen=True)
class Watched:
    """An engine that asks for keys and sends its traces to a collector."""

    engine: Engine
    collector: Collector
    key: str

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} | more

    def page(self) -> Page:
        return Page({family.name: family for family in text_string_to_metric_families(self.engine.metrics())})

    def when_idle(self) -> Page:
        """The page once no request is being answered: one counts until shortly after its client has the answer."""

        def idle() -> Page | None:
            page = self.page()
            return None if page.value(metrics.ACTIVE) else page

        page = wait_until(idle, "no request is being answered", timeout=60, every=0.1)
        assert page is not None
        return page

    def page_and_moment(self) -> tuple[Page, float]:
        """The page, and when it was made on the clock that all processes share; both within one second of it."""
        while True:
            before = time.monotonic()
            page = self.page()
            after = time.monotonic()
            if math.floor(before) == math.floor(after):
                return page, (before + after) / 2


@dataclass(frozen=True)
class Page:
    """/metrics at one moment."""

    families: dict[str, Metric]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series that have these labels; 0 without any."""
        return sum(
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("watched")
    access = AccessFiles(directory, Policy(require_keys=True, caps=Caps(max_tokens=900)))
    key = access.make_key("premium")
    with Collector() as collector:
        tracing = {
            "OTLP_TRACES_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "TRUST_TRACE_FLAGS": "true",
        }
        model = make_model(directory / "tiny")
        with Engine(directory, model, MAX_CONTEXT_LENGTH="1024", **access.environ, **tracing) as running:
            running.wait_until_ready()
            yield Watched(running, collector, key)


@dataclass
class Load:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0


def ask(watched: Watched, load: Load, lock: threading.Lock) -> None:
    begun = time.monotonic()
    answer = watched.engine.complete(PROMPT, headers=watched.headers(), max_tokens=TOKENS, ignore_eos=True)
    with lock:
        load.seconds.append(time.monotonic() - begun)
        load.prompt_tokens += answer["usage"]["prompt_tokens"]
        load.completion_tokens += answer["usage"]["completion_tokens"]


def test_the_counts_of_a_load_are_the_clients_own(watched: Watched) -> None:
    before, load, lock = watched.page(), Load(), threading.Lock()
    with ThreadPoolExecutor(CLIENTS) as clients:
        for each in [clients.submit(ask, watched, load, lock) for _ in range(10 * CLIENTS)]:
            each.result()
    after = watched.when_idle()

    def counted(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    requests = len(load.seconds)
    own = {"key_id": id_of(watched.key), "tier": "premium"}
    assert counted(f"{metrics.LATENCY}_count", route=ROUTE, tier="premium") == requests
    assert 0.5 * sum(load.seconds) < counted(f"{metrics.LATENCY}_sum") <= sum(load.seconds), (
        "the clients, which are threads of one process, see their own delays too"
    )
    assert counted(metrics.TOKENS, **own, kind="prompt") == load.prompt_tokens
    assert counted(metrics.TOKENS, **own, kind="completion") == load.completion_tokens == requests * TOKENS
    assert counted(f"{metrics.BATCH_SIZE}_sum") == load.completion_tokens, "a step gives each sequence one token"
    assert 1 < counted(f"{metrics.BATCH_SIZE}_sum") / counted(f"{metrics.BATCH_SIZE}_count") <= CLIENTS


def test_throughput_and_active_requests_are_those_of_the_clients(watched: Watched) -> None:
    stop, arrivals = threading.Event(), [list[tuple[float, int]]() for _ in range(CLIENTS)]

    def stream(number: int) -> None:
        """One answer after the other, of lengths that differ from client to client."""
        options = {"max_tokens": 900 - 30 * number, "stream_options": USAGE_IN_EACH_CHUNK, "ignore_eos": True}
        while not stop.is_set():
            reported = 0
            for chunk in watched.engine.stream(PROMPT, headers=watched.headers(), **options):
                tokens = chunk["usage"]["completion_tokens"]
                arrivals[number].append((time.monotonic(), tokens - reported))
                reported = tokens
                if stop.is_set():
                    break

    with ThreadPoolExecutor(CLIENTS) as clients:
        try:
            running = [clients.submit(stream, number) for number in range(CLIENTS)]
            wait_until(lambda: all(arrivals), "every client has got a token", timeout=120)
            assert not stop.wait(THROUGHPUT_SECONDS + 3), "the gauge's window holds nothing but this load"
            page, now = watched.page_and_moment()
        finally:
            stop.set()
    for each in running:
        each.result()
    first = math.floor(now) - THROUGHPUT_SECONDS + 1
    tokens = sum(tokens for seen in arrivals for at, tokens in seen if first <= at <= now)
    assert page.value(metrics.THROUGHPUT) == pytest.approx(tokens / (now - first), rel=0.2), (
        "unit tests hold the window to the second; here clients may read late"
    )
    assert CLIENTS - 2 <= page.value(metrics.ACTIVE) <= CLIENTS, "some may be between two answers"
    watched.when_idle()


def test_refusals_count_by_reason_and_tier(watched: Watched) -> None:
    for headers, options, reason, tier in (
        ({}, {}, "unauthorized", "none"),
        (watched.headers(), {"max_tokens": 901}, "max_tokens", "premium"),
    ):
        before = watched.page().value(metrics.REJECTIONS, reason=reason, tier=tier)
        with pytest.raises(HTTPError):
            watched.engine.complete(PROMPT, headers=headers, **options)
        assert watched.page().value(metrics.REJECTIONS, reason=reason, tier=tier) == before + 1


def test_the_page_has_what_docs_tell_and_no_gpu(watched: Watched) -> None:
    watched.engine.complete(PROMPT, headers=watched.headers())
    with pytest.raises(HTTPError):
        watched.engine.complete(PROMPT)
    families = watched.page().families
    for name, (kind, labels) in ROWS.items():
        if name.startswith("llmservice_operator_"):
            continue
        family = families.get(name.removesuffix("_total"))
        if name in (metrics.GPU_MEMORY, metrics.GPU_MEMORY_TOTAL):
            assert family is None, "this machine has no GPU"
            continue
        assert family is not None, f"{name} is not on the page"
        common = {"model_name", "engine"} if name.startswith("vllm:") else set()
        found = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert (family.type, found) == (kind, labels | common), name


def test_the_recorded_names_are_those_of_this_engine(watched: Watched, request: pytest.FixtureRequest) -> None:
    """Dashboards, rules and alerts are compared with the recording."""
    watched.engine.complete(PROMPT, headers=watched.headers())
    with pytest.raises(HTTPError):
        watched.engine.complete(PROMPT)
    names = names_of(watched.engine.metrics())
    if request.config.getoption("--update-golden"):
        ENGINE_NAMES.write_text(names)
    recorded, found = set(ENGINE_NAMES.read_text().splitlines()), set(names.splitlines())
    assert found == recorded, "the engine's metrics have changed; if that is meant: pytest --update-golden"


def test_no_panel_of_services_is_empty(watched: Watched) -> None:
    """Of GPUs and the kubelet there are recorded series, of the operator the targets."""
    pod = {"namespace": "team-a", "pod": "chat-0"}
    service = {"llmservice_namespace": "team-a", "llmservice": "chat", "percentile": "p99"}
    recorded = "".join((RECORDED / page).read_text() for page in ("dcgm.txt", "kubelet.txt"))
    with Exporter() as exporter, prometheus_server() as server:
        for latency in ("timeToFirstToken", "interTokenLatency", "requestLatency"):
            exporter.set("llmservice_latency_target_seconds", 0.2, **service, latency=latency)
        own = exporter.page()
        exporter.page = lambda: own + recorded  # type: ignore[method-assign]
        engine = f"127.0.0.1:{watched.engine.metrics_port}"
        server.scrape_each({engine: pod, exporter.address: {}})
        wait_until(lambda: server.query("vllm:num_requests_running"), "the engine is scraped", timeout=30)
        variables = {"namespace": ".+", "service": ".+", "__rate_interval": "30s"}
        asked = [each for each in expressions(*SERVICES) if "llmservice_gateway_" not in each.expression]
        load, lock = Load(), threading.Lock()

        def missing() -> list[str]:
            ask(watched, load, lock)
            with pytest.raises(HTTPError):
                watched.engine.complete(PROMPT)
            return without_numbers(server, iter(asked), variables)

        wait_until(lambda: not missing(), lambda: f"every panel has a number: {missing()}", timeout=60, every=1)
    assert len(asked) > 50


SHORTER = 100
"""Windows of the rules are so many times shorter here: 3 s for 5 minutes, 36 s for an hour."""
FIRING = 'ALERTS{alertname="LLMServiceLatencyBudgetBurnsFast", alertstate="firing"}'


def test_an_alert_on_a_latency_target_fires_and_resolves(watched: Watched) -> None:
    """The target is one that no engine meets, then one that this engine always meets."""
    service = {"namespace": OPERATOR, "llmservice_namespace": "team-a", "llmservice": "chat"}
    objective = {**service, "latency": "timeToFirstToken", "percentile": "p99"}
    stop, load, lock = threading.Event(), Load(), threading.Lock()

    def always() -> None:
        while not stop.is_set():
            ask(watched, load, lock)

    with (
        Exporter() as exporter,
        prometheus_server(rule_file=faster(SHORTER)) as server,
        ThreadPoolExecutor(1) as client,
    ):
        exporter.set("llmservice_replicas", 1, **service, state="desired")
        exporter.set("llmservice_latency_objective_ratio", 0.99, **objective, le="0.005")
        engine = f"127.0.0.1:{watched.engine.metrics_port}"
        server.scrape_each({engine: {"namespace": "team-a", "pod": "chat-0"}, exporter.address: {}})
        running = client.submit(always)
        try:
            wait_until(lambda: server.query(FIRING), "the alert fires", timeout=60, every=0.5)
            (fired,) = server.query(FIRING)
            labels = {"namespace": "team-a", "llmservice": "chat", "percentile": "p99", "severity": "critical"}
            assert labels.items() <= fired["metric"].items()
            exporter.remove("llmservice_latency_objective_ratio", **objective, le="0.005")
            exporter.set("llmservice_latency_objective_ratio", 0.99, **objective, le="1000.0")
            wait_until(lambda: not server.query(FIRING), "it resolves", timeout=120, every=0.5)
            burn = server.query("llmservice:latency:burnrate5m")
            assert [float(row["value"][1]) for row in burn] == [pytest.approx(0, abs=0.01)], "the rule still counts"
        finally:
            stop.set()
        running.result()


def traced(watched: Watched, trace: str) -> dict[str, Exported]:
    """The two spans of this trace, by name, once both have come."""

    def both() -> dict[str, Exported]:
        found = [span for name in (ROUTE, "llm_request") for span in watched.collector.spans(name)]
        return {span.name: span for span in found if span.trace_id == trace}

    wait_until(lambda: len(both()) == 2, f"the spans of trace {trace} have come", timeout=60, every=0.1)
    return both()


def test_client_front_and_engine_are_one_trace(watched: Watched) -> None:
    headers = watched.headers(traceparent=f"00-{TRACE}a-{PARENT}-01", **{"x-request-id": "request-7"})
    watched.engine.complete(PROMPT, headers=headers, max_tokens=TOKENS, ignore_eos=True)
    spans = traced(watched, f"{TRACE}a")
    front, engine = spans[ROUTE], spans["llm_request"]
    assert (front.parent_id, engine.parent_id) == (PARENT, front.span_id)
    assert front.start <= engine.start < engine.end <= front.end
    assert front.service == engine.service == "tiny"
    assert front.attributes["llmservice.request_id"] == "request-7"
    assert "request-7" in engine.attributes["gen_ai.request.id"]
    assert front.attributes["http.response.status_code"] == 200
    assert front.attributes["gen_ai.usage.output_tokens"] == TOKENS
    assert engine.attributes["gen_ai.usage.completion_tokens"] == TOKENS


def test_no_span_tells_prompt_answer_or_key(watched: Watched) -> None:
    headers = watched.headers(traceparent=f"00-{TRACE}b-{PARENT}-01")
    answer = watched.engine.complete(PROMPT, headers=headers, max_tokens=TOKENS, ignore_eos=True)
    for span in traced(watched, f"{TRACE}b").values():
        reported = json.dumps(span.attributes)
        for secret in (PROMPT, answer["choices"][0]["text"][:20], watched.key, watched.key.rpartition("_")[2]):
            assert json.dumps(secret)[1:-1] not in reported


def test_a_trace_that_the_client_does_not_record_is_recorded_nowhere(watched: Watched) -> None:
    """What is asked later has come, so what was asked before it would have come too."""
    for last, flags in (("c", "00"), ("d", "01")):
        headers = watched.headers(traceparent=f"00-{TRACE}{last}-{PARENT}-{flags}")
        watched.engine.complete(PROMPT, headers=headers)
    traced(watched, f"{TRACE}d")
    assert not [span for span in watched.collector.every() if span.trace_id == f"{TRACE}c"]
