"""Plans all services in the manifests of a command line."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.cli import kubeconfig, manifests, object_ref
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure, Forbidden, Missing
from llmservice_operator.cli.plan import claims, dry_run, files, platform_discovery, rules, without_cluster
from llmservice_operator.cli.plan.pairs import by_key
from llmservice_operator.cli.plan.planning import device_of, grounded, planned, settled
from llmservice_operator.cli.plan.service_plan import PlannedChange
from llmservice_operator.cli.plan.snapshot import ClusterReader, PlanSnapshot
from llmservice_operator.cli.system import System
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.catalogue import plain, ref_of
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.resources.children import make_children
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Platform
from llmservice_operator.simulation.simulate import NEW_UID, SimulationResult
from llmservice_operator.simulation.timeline import Action

Object = dict[str, Any]


def run(options: argparse.Namespace, outside: System) -> int:
    """Print the plan; returns the exit status. Raises Failure."""
    from llmservice_operator.cli.plan import output
    from llmservice_operator.cli.terminal import give

    if options.model_index and not options.model_config:
        raise Failure("--model-index is of no use without --model-config: pass the model's config.json as well")
    if options.prices and not options.against:
        raise Failure("--prices is for --against: on a cluster the plan uses the prices that the operator has")
    if options.field_manager and options.against:
        raise Failure("--field-manager is for a cluster: with --against nothing is applied")
    if options.filename.count(manifests.STDIN) + (options.against == manifests.STDIN) > 1:
        raise Failure("stdin can be read only once: pass - once")
    answers = without_cluster.answers(options, outside) if options.against else _on_cluster(options, outside)
    give(output.FORMS[options.output](answers))
    return max(answer.status for answer in answers)


def _on_cluster(options: argparse.Namespace, outside: System) -> list[PlannedChange]:
    objects = manifests.objects(options.filename)
    new = manifests.services_of(objects, options.filename)
    cluster, inside = kubeconfig.connect(options)
    stated = claims.of_manifests(objects, options.namespace, inside)
    eyes: dict[str, ClusterReader] = {}
    answers = []
    for (namespace, _), manifest in by_key(new, options.filename, options.namespace, inside).items():
        eye = eyes.setdefault(namespace, ClusterReader(cluster, namespace))
        modes = {claim: known for (of, claim), known in stated.items() if of == namespace}
        models = manifests.models_of(objects, options.namespace or inside)
        answers.append(_asked(options, outside, cluster, eye, namespace, manifest, modes, models))
    return answers


def _asked(
    options: argparse.Namespace,
    outside: System,
    cluster: KubernetesClient,
    eye: ClusterReader,
    namespace: str,
    manifest: Object,
    stated: Mapping[str, frozenset[str]],
    models: Sequence[Object],
) -> PlannedChange:
    """The plan of one service on its cluster. ``stated``: the access modes of the claims among the manifests,
    ``models``: the models of the catalogue among them."""
    name = str(manifest["metadata"]["name"])
    seen = eye.look(name)
    if seen.service is not None and seen.service["metadata"].get("deletionTimestamp"):
        raise Failure(f"LLMService {name} in namespace {namespace} is being deleted: plan again once it is gone")
    tried = dry_run.service(cluster, object_ref.service(namespace, name), seen.service, manifest, options.field_manager)
    notes = list(tried.notes)
    if tried.service is None:
        return PlannedChange(namespace, name, tuple(tried.refusals), None, tuple(notes))
    after = tried.service
    after["metadata"]["namespace"] = namespace
    known_models = _models(eye, after, seen.service, models)
    if known_models:  # the plan shows what changes of the model
        after = dict(plain(namespace, after, known_models))
    if seen.service is not None and ref_of(seen.service) is not None:
        seen = dataclasses.replace(seen, service=dict(plain(namespace, seen.service, eye.models())))
    if tried.notes:
        objections, unchecked = rules.objections(after)
        tried.refusals += objections
        notes += unchecked
    discovered = platform_discovery.from_deployment(eye.operators(), namespace, seen.minor)
    siblings = eye.siblings() if discovered is None and seen.service is None else []
    discovered = discovered or platform_discovery.from_children(
        seen.service, seen.children, siblings, after["spec"], seen.minor
    )
    discovered = platform_discovery.with_network(discovered, name, seen.children)
    discovered = platform_discovery.with_outgoing(discovered, name, seen.children, seen.service)
    discovered = platform_discovery.with_gateways(discovered, name, seen.children, seen.absent)
    notes += discovered.notes
    if (
        not discovered.from_operator
        and seen.service is not None
        and not platform_discovery.alike(seen.children, seen.service, discovered.platform)
    ):
        notes.append("the operator renders other pods than this program: it has another version or other settings")
    children = [*seen.children, *_unowned_objects(eye, after, seen, discovered.platform)]
    observed = Observed(
        seen.service or after | {"spec": None}, children, seen.pods, None, discovered.platform, outside.now()
    )
    if seen.service is not None and not seen.complete:
        observed = settled(observed)
        notes.append("running pods can't be read: assuming that all replicas are ready and no rollout is in progress")
    notes += [f"{kind}: {why}" for kind, why in sorted(seen.unseen.items())]
    published = eye.with_devices(seen.ground, device_of(after)) if discovered.platform.device_claims else seen.ground
    modes, unread = _access_modes(eye, after, stated)
    observed = dataclasses.replace(observed, access_modes=modes, models=known_models)
    observed, ground, said = grounded(options, observed, after, published)
    notes += [*unread, *said]
    model, draft = files.facts(options), files.draft(options)
    answer = planned(observed, after, ground, seen.minor, namespace, name, tried.refusals, notes, model, draft)
    if answer.simulation is None:
        return answer
    counted = "ResourceQuota" not in seen.unseen
    more = dry_run.children(cluster, namespace, answer.simulation, counted=counted, now=observed.now)
    simulation, with_it = answer.simulation, list[str]()
    if not discovered.from_operator:
        simulation, with_it = _with_offer(simulation, seen.service)
    return dataclasses.replace(
        answer,
        simulation=simulation,
        refusals=(*answer.refusals, *more.refusals),
        notes=(*answer.notes, *with_it, *more.notes),
    )


def _models(eye: ClusterReader, after: Object, live: Object | None, stated: Sequence[Object]) -> list[Object]:
    """Models of the catalogue: those of the manifests, then those of the cluster. None if no ref names one."""
    named = ref_of(after) is not None or (live is not None and ref_of(live) is not None)
    return [*stated, *eye.models()] if named else []


def _access_modes(
    eye: ClusterReader, after: Object, stated: Mapping[str, frozenset[str]]
) -> tuple[dict[str, frozenset[str]], list[str]]:
    """The access modes of the claim with the model: those in the cluster, otherwise those in the manifests; and notes
    if they are not known."""
    claim = claims.named(after["spec"])
    if claim is None:
        return {}, []
    try:
        return {claim: eye.access_modes(claim)}, []
    except Missing:
        why = "does not exist"
    except Failure as failure:
        why = (
            "can't be read: you lack the permission" if isinstance(failure, Forbidden) else f"can't be read: {failure}"
        )
    return ({claim: stated[claim]}, []) if claim in stated else ({}, [claims.unknown(claim, why)])


def _with_offer(simulation: SimulationResult, service: Object | None) -> tuple[SimulationResult, list[str]]:
    """Adds the upgrade that requires approval from the service's status, if the settings of the operator can't be read;
    a change that replaces pods includes it."""
    lines = tuple((((service or {}).get("status") or {}).get("upgrade") or {}).get("changes") or ())
    replaced = any(step.action is Action.REPLACE for step in simulation.steps)
    with_it = [f"includes the pending upgrade: {line}" for line in lines if replaced]
    return dataclasses.replace(simulation, requires_approval=() if replaced else lines), with_it


def _unowned_objects(eye: ClusterReader, after: Object, seen: PlanSnapshot, platform: Platform) -> list[Object]:
    """Objects of other owners with the names of desired children."""
    try:
        spec = LLMServiceSpec.model_validate(after["spec"])
        meta = after["metadata"]
        owner = Owner(meta["name"], meta["namespace"], meta.get("uid") or NEW_UID)
        wanted = make_children(owner, spec, platform, 1)
    except (pydantic.ValidationError, ValueError):
        return []
    known = {(each["kind"], pods.name(each)) for each in seen.children}
    missing = [key for each in wanted if (key := (each["kind"], pods.name(each))) not in known]
    found = (eye.object_named(kind, name) for kind, name in missing if kind not in seen.unseen)
    return [each for each in found if each is not None]
