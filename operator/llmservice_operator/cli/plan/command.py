"""From a command line to the plans of all services in its manifests."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from llmservice_contract.inspection import ModelFacts
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts as StoredFacts
from llmservice_operator.cli import kubeconfig
from llmservice_operator.cli.cluster import Cluster
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.outside import Outside
from llmservice_operator.cli.plan import documents, given, kinds, rules, standing, trying
from llmservice_operator.cli.plan.answer import Answer, Appraisal, Refusal, Side
from llmservice_operator.cli.plan.appraising import appraise
from llmservice_operator.cli.plan.seen import Eyes, Seen
from llmservice_operator.core import capacity, cost, pods
from llmservice_operator.core.foresight.foresee import UNBORN, Foresight, foresee
from llmservice_operator.core.foresight.miniature import Endless, Miniature
from llmservice_operator.core.foresight.places import Ground
from llmservice_operator.core.inspection import facts_key
from llmservice_operator.core.observed import NodeCapacity, Observed
from llmservice_operator.core.specerrors import explain
from llmservice_operator.render import devices, names
from llmservice_operator.render.children import make_children
from llmservice_operator.render.objects import Owner
from llmservice_operator.render.platform import Adapter, Platform
from llmservice_operator.render.prices import Prices

_KUBERNETES_WITH_NEW_CONTROLLER = 37
"""Minor version from which on the StatefulSets' controller replaces several pods in the newer way."""
_POOL = "the-free-devices"
"""Name of the node that stands for free devices of which only the number is known."""
PLENTY = 1_000_000
"""More devices than any change takes."""

Object = dict[str, Any]


def run(options: argparse.Namespace, outside: Outside) -> int:
    """Foresee and tell; the exit status. Raises Failure."""
    from llmservice_operator.cli.plan import shown
    from llmservice_operator.cli.terminal import give

    if options.filename.count(documents.STDIN) + (options.against == documents.STDIN) > 1:
        raise Failure("stdin can be read once: give - once")
    manifests = documents.services(options.filename)
    answers = (
        _without_cluster(options, outside, manifests) if options.against else _on_cluster(options, outside, manifests)
    )
    give(shown.FORMS[options.output](answers))
    return max(answer.status for answer in answers)


def _on_cluster(options: argparse.Namespace, outside: Outside, manifests: Sequence[Object]) -> list[Answer]:
    cluster, inside = kubeconfig.connect(options)
    eyes: dict[str, Eyes] = {}
    answers = []
    for manifest in manifests:
        name, given = manifest["metadata"]["name"], manifest["metadata"].get("namespace")
        if given and options.namespace and given != options.namespace:
            raise Failure(f"LLMService {name} is of namespace {given}, and --namespace says {options.namespace}")
        namespace = str(given or inside)
        eye = eyes.setdefault(namespace, Eyes(cluster, namespace))
        answers.append(_asked(options, outside, cluster, eye, namespace, manifest))
    return answers


def _asked(
    options: argparse.Namespace, outside: Outside, cluster: Cluster, eye: Eyes, namespace: str, manifest: Object
) -> Answer:
    """The plan of one service on its cluster."""
    name = str(manifest["metadata"]["name"])
    seen = eye.look(name)
    tried = trying.service(cluster, kinds.service(namespace, name), seen.service, manifest, options.field_manager)
    notes = list(tried.notes)
    if tried.service is None:
        return Answer(namespace, name, tuple(tried.refusals), None, tuple(notes))
    after = tried.service
    after["metadata"]["namespace"] = namespace
    if tried.notes:
        objections, unchecked = rules.objections(after)
        tried.refusals += objections
        notes += unchecked
    told = standing.from_deployment(eye.operators(), namespace, seen.minor)
    siblings = eye.siblings() if told is None and seen.service is None else []
    told = told or standing.from_children(seen.service, seen.children, siblings, after["spec"], seen.minor)
    notes += told.notes
    children: list[Mapping[str, Any]] = list(seen.children)
    alike = True
    if not told.told and seen.service is not None:
        children, alike = standing.rebased(children, seen.service, told.platform)
    if not alike:
        notes.append("the operator makes pods otherwise than this program: another version, or set otherwise")
    children = [*children, *_strangers(eye, after, seen, told.platform)]
    observed = Observed(seen.service or after | {"spec": None}, children, seen.pods, None, told.platform, outside.now())
    if seen.service is not None and not seen.complete:
        observed = _settled(observed)
        notes.append(f"{', '.join(sorted(seen.unseen))}: can't be read, so a service at rest is assumed")
    observed, ground, said = _grounded(options, observed, after, seen.ground)
    notes += said
    model = given.facts(options)
    answer = _planned(observed, after, ground, seen.minor, namespace, name, tried.refusals, notes, model)
    if answer.foresight is None:
        return answer
    more = trying.children(cluster, namespace, answer.foresight, counted="ResourceQuota" not in seen.unseen)
    waits = () if not told.told and not _offer(seen.service) else answer.foresight.waits_for_consent
    foresight = dataclasses.replace(answer.foresight, waits_for_consent=waits)
    return dataclasses.replace(
        answer,
        foresight=foresight,
        refusals=(*answer.refusals, *more.refusals),
        notes=(*answer.notes, *more.notes),
    )


def _without_cluster(options: argparse.Namespace, outside: Outside, manifests: Sequence[Object]) -> list[Answer]:
    """Against what runs by another manifest."""
    old = {each["metadata"]["name"]: each for each in documents.services([options.against])}
    answers = []
    for manifest in manifests:
        name = str(manifest["metadata"]["name"])
        namespace = str(manifest["metadata"].get("namespace") or options.namespace or "default")
        refusals, notes = rules.objections(manifest)
        if refusals:
            answers.append(Answer(namespace, name, tuple(refusals), None, tuple(notes)))
            continue
        platform = Platform(
            adapter=Adapter.OWN, tolerance_is_settable=True, scales_to_zero=True, prices=given.prices(options)
        )
        before = old.get(name)
        after = {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
        observed = Observed({**after, "spec": None}, (), (), None, platform, outside.now())
        if before is not None:
            live = {**before, "metadata": {"name": name, "namespace": namespace, "uid": UNBORN, "generation": 1}}
            _readable(live, options.against)
            observed = _settled(dataclasses.replace(observed, service=live))
        observed, ground, said = _grounded(options, observed, after, Ground())
        notes = [*notes, *said]
        answers.append(_planned(observed, after, ground, None, namespace, name, refusals, notes, given.facts(options)))
    return answers


def _planned(
    observed: Observed,
    after: Object,
    ground: Ground,
    minor: int | None,
    namespace: str,
    name: str,
    refusals: Sequence[Refusal],
    notes: Sequence[str],
    model: ModelFacts | None = None,
) -> Answer:
    """The plan, once all is known that can be. ``model``: what the person says of the model to come."""
    facts = model or _facts(observed.service, after)
    older = minor is not None and minor < _KUBERNETES_WITH_NEW_CONTROLLER
    try:
        foresight = foresee(observed, after, ground, facts=facts, before_1_37=older)
        if ground.nodes is None:
            notes = [*notes, *_if_there_were_room(observed, after, ground, foresight, facts, older)]
    except Endless as error:
        raise Failure(f"what becomes of LLMService {name} can't be foreseen: {error}") from None
    prices, product = cost.told((observed.service.get("status") or {}).get("cost") or {})
    if observed.platform.prices.gpu_hours:
        prices = observed.platform.prices
    before = _appraised(observed.service, foresight.before.replicas, ground, facts, prices, product)
    then = _appraised(after, foresight.after.replicas, ground, facts, prices, product)
    device = "GPU" if _device_of(after) in (None, names.NVIDIA_GPU, names.AMD_GPU) else "device"
    return Answer(namespace, name, tuple(refusals), foresight, tuple(notes), device, before, then)


def _grounded(
    options: argparse.Namespace, observed: Observed, after: Object, seen: Ground
) -> tuple[Observed, Ground, list[str]]:
    if options.spare is not None and _device_of(after):
        around, pool = pooled(observed, after, options.spare, seen)
        return around, pool, [f"{options.spare} free devices are counted on, as --spare says"]
    if seen.nodes is None:
        return observed, seen, ["what is free on nodes can't be seen: each pod is taken to find a place"]
    return observed, seen, []


def _if_there_were_room(
    observed: Observed, after: Object, ground: Ground, foresight: Foresight, facts: ModelFacts | None, older: bool
) -> list[str]:
    """What differs where nodes can't be seen and one replica more has room."""
    around, pool = pooled(observed, after, PLENTY, ground)
    other = foresee(around, after, pool, facts=facts, before_1_37=older)
    if (other.least_ready, other.most_devices) == (foresight.least_ready, foresight.most_devices):
        return []
    return [
        f"where one replica more has room, at least {other.least_ready} go on answering, and {other.most_devices} "
        "devices are held at most: --spare N plans with N free devices"
    ]


def pooled(observed: Observed, after: Object, spare: int, seen: Ground) -> tuple[Observed, Ground]:
    """The same on one node that any pod may run on: it has the devices that the service holds, and so many more."""
    spec = LLMServiceSpec.model_validate(after["spec"])
    held: dict[str, int] = {}
    for pod in observed.pods:
        need = capacity.Need.of(pod)
        if pods.bound(pod) and need.resource is not None:
            held[need.resource] = held.get(need.resource, 0) + need.count
    wanted = devices.resource_name(spec.accelerator)
    named = {*held, *([wanted] if wanted else [])}
    there = {name: held.get(name, 0) + spare for name in named}
    key = spec.scheduling.group_within or names.ZONE_LABEL
    products = {devices.product_label(spec.accelerator): (spec.accelerator.products or [""])[0]}
    labels = {key: _POOL, **products, **(spec.scheduling.node_selector or {})}
    moved = [{**pod, "spec": {**pod["spec"], "nodeName": _POOL}} if pods.bound(pod) else pod for pod in observed.pods]
    node = NodeCapacity(_POOL, labels, (), True, False, there, held)
    return dataclasses.replace(observed, pods=moved), Ground([node], quotas=seen.quotas)


def _strangers(eye: Eyes, after: Object, seen: Seen, platform: Platform) -> list[Object]:
    """Objects of others that stand where children should."""
    try:
        spec = LLMServiceSpec.model_validate(after["spec"])
        meta = after["metadata"]
        owner = Owner(meta["name"], meta["namespace"], meta.get("uid") or UNBORN)
        wanted = make_children(owner, spec, platform, 1)
    except (pydantic.ValidationError, ValueError):
        return []
    known = {(each["kind"], pods.name(each)) for each in seen.children}
    missing = [key for each in wanted if (key := (each["kind"], pods.name(each))) not in known]
    found = (eye.stranger(kind, name) for kind, name in missing if kind not in seen.unseen)
    return [each for each in found if each is not None]


def _settled(observed: Observed) -> Observed:
    """The service at rest, all of whose replicas answer, where what runs can't be seen."""
    model = Miniature(dataclasses.replace(observed, children=(), pods=()), Ground())
    model.run()
    return dataclasses.replace(
        observed,
        service=model.service,
        children=tuple(model.children.values()),
        pods=tuple(pod.json for pod in model.pods.values()),
        now=model.now,
    )


def _readable(service: Object, path: str) -> None:
    try:
        LLMServiceSpec.model_validate(service["spec"])
    except pydantic.ValidationError as error:
        raise Failure(f"LLMService {service['metadata']['name']} of {path} makes no sense: {explain(error)}") from None


def _facts(service: Mapping[str, Any], after: Object) -> ModelFacts | None:
    """What is known of the model to come, where it is the one that was read before."""
    stored = (service.get("status") or {}).get("model")
    if not stored:
        return None
    try:
        facts = StoredFacts.model_validate(stored)
        spec = LLMServiceSpec.model_validate(after["spec"])
    except pydantic.ValidationError:
        return None
    if facts.source != facts_key(spec):
        return None
    return ModelFacts(
        facts.architecture,
        facts.attention_heads,
        facts.key_value_heads,
        facts.layers,
        facts.max_context_length,
        facts.quantization,
        facts.weight_bytes,
        facts.configuration,
    )


def _appraised(
    service: Mapping[str, Any], replicas: int, ground: Ground, facts: ModelFacts | None, prices: Prices, product: str
) -> Appraisal:
    try:
        spec = LLMServiceSpec.model_validate(service.get("spec"))
    except pydantic.ValidationError:
        return Appraisal()
    return appraise(Side(spec, replicas, facts, ground.nodes, prices, product))


def _device_of(service: Mapping[str, Any]) -> str | None:
    """The extended resource of one device; None where replicas need none."""
    try:
        return devices.resource_name(LLMServiceSpec.model_validate(service["spec"]).accelerator)
    except pydantic.ValidationError:
        return None


def _offer(service: Mapping[str, Any] | None) -> bool:
    return bool(((service or {}).get("status") or {}).get("upgrade"))
