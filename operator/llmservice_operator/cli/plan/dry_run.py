"""Checks a change by dry runs: the API server validates, admits and refuses it as usual, and persists nothing."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmservice_operator.api import KIND
from llmservice_operator.cli import object_ref
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.cli.plan.apply_methods import Way, merged, patch, way
from llmservice_operator.cli.plan.service_plan import DryRunRefusal
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.simulation import pod_model
from llmservice_operator.simulation.diff import Change
from llmservice_operator.simulation.server_side_apply import MANAGER
from llmservice_operator.simulation.simulate import SimulationResult
from llmservice_operator.simulation.timeline import Action

API_SERVER = "API server"

_DRY = "dryRun=All&fieldValidation=Strict"
_APPLY, _MERGE, _JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"
_LONGEST = 1500


@dataclass
class DryRunResult:
    """What came of it."""

    service: dict[str, Any] | None = None
    """The service as it would be; None if it is refused."""
    refusals: list[DryRunRefusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def service(
    cluster: KubernetesClient, thing: ObjectRef, live: Object | None, manifest: Object, manager: str | None
) -> DryRunResult:
    """Try to apply the manifest."""
    body = {**copy.deepcopy(dict(manifest)), "metadata": {**manifest["metadata"], "namespace": thing.namespace}}
    body.pop("status", None)
    tried, by = DryRunResult(), None
    if live is None:
        path = f"{thing.collection}?{_DRY}&fieldManager={manager or 'kubectl-client-side-apply'}"
        status, answer = cluster.try_out("create", thing, path, body, _JSON)
    else:
        by = way(live, manager)
        status, answer = _apply(cluster, thing, live, body, by)
        if status == 409 and by.server_side:
            refusal = DryRunRefusal(API_SERVER, f"{KIND} {thing.name}", _said(answer))
            if by.manager.startswith("kubectl"):
                tried.refusals.append(refusal)
            status, answer = _apply(cluster, thing, live, body, by, force=True)
    if 200 <= status < 300:
        tried.service = answer
    elif _is_no_right(status, answer):
        verb = "create" if live is None else "patch"
        tried.notes.append(f"you may not {verb} the {thing}, so that the API server could not check it")
        tried.service = body if live is None or by is None else merged(live, body, by)
    else:
        tried.refusals.append(DryRunRefusal(API_SERVER, f"{KIND} {thing.name}", _said(answer)))
    return tried


def children(
    cluster: KubernetesClient, namespace: str, seen: SimulationResult, *, counted: bool, now: datetime.datetime
) -> DryRunResult:
    """Try what the operator would write because of the change, and one pod of the changed template, which
    quotas, limits and policies may refuse. ``counted``: whether the simulation considers quotas already."""
    tried, barred = DryRunResult(), set[str]()
    changes = {(each.kind, each.name): each.change for each in seen.children if each.change is not Change.DELETE}
    making = any(step.action not in _ENDS for step in seen.steps)
    for desired in seen.wanted:
        kind, name = str(desired["kind"]), str(desired["metadata"]["name"])
        change = changes.get((kind, name))
        has_pods = kind == "StatefulSet" and making
        if change is not Change.RECREATE and (change is not None or has_pods):
            thing = object_ref.child(kind, namespace, name)
            path = f"{thing.path}?{_DRY}&force=true&fieldManager={MANAGER}"
            _try(cluster, tried, barred, "patch", thing, path, _unowned(desired), _APPLY)
        if has_pods:
            pod = _pod(desired, now)
            thing = object_ref.child("Pod", namespace, pod["metadata"]["name"])
            more = seen.most_pods > seen.pods_before and not counted
            _try(cluster, tried, barred, "create", thing, f"{thing.collection}?{_DRY}", pod, _JSON, quota_matters=more)
    if barred:
        what = ", ".join(sorted(barred))
        tried.notes.append(f"you may not write {what}, so that the API server could not check those of the operator")
    return tried


def _apply(
    cluster: KubernetesClient, thing: ObjectRef, live: Object, body: Object, by: Way, *, force: bool = False
) -> tuple[int, dict[str, Any]]:
    if not by.server_side:
        path = f"{thing.path}?{_DRY}&fieldManager={by.manager}"
        return cluster.try_out("patch", thing, path, patch(live, body), _MERGE)
    forced = "&force=true" if force else ""
    path = f"{thing.path}?{_DRY}&fieldManager={by.manager}{forced}"
    return cluster.try_out("patch", thing, path, body, _APPLY)


def _try(
    cluster: KubernetesClient,
    tried: DryRunResult,
    barred: set[str],
    verb: str,
    thing: ObjectRef,
    path: str,
    body: Object,
    content: str,
    *,
    quota_matters: bool = True,
) -> None:
    status, answer = cluster.try_out(verb, thing, path, body, content)
    if 200 <= status < 300:
        return
    said = _said(answer)
    if _is_no_right(status, answer):
        barred.add(thing.plural)
    elif quota_matters or "exceeded quota" not in said:
        what = f"a pod of {thing.name.rpartition('-')[0]}" if thing.kind == "Pod" else f"{thing.kind} {thing.name}"
        tried.refusals.append(DryRunRefusal(API_SERVER, what, said))


def _is_no_right(status: int, answer: Mapping[str, Any]) -> bool:
    """Whether the person lacks the right, other than a refusal by admission."""
    return status == 403 and " cannot " in str(answer.get("message", "")).partition("exceeded quota")[0]


def _said(answer: Mapping[str, Any]) -> str:
    return " ".join(str(answer.get("message") or "no reason given").split())[:_LONGEST]


def _unowned(desired: Object) -> dict[str, Any]:
    """Without its owner: a person needs no right on that, and a service that is not there yet has no identity."""
    meta = {key: value for key, value in desired["metadata"].items() if key != "ownerReferences"}
    return {**desired, "metadata": meta}


def _pod(statefulset: Object, now: datetime.datetime) -> dict[str, Any]:
    """A pod of its template, under a name that no pod has."""
    named = {**statefulset, "metadata": {**statefulset["metadata"], "uid": ""}}
    pod = pod_model.made(named, 0, statefulset["spec"]["template"], "", "", now).json
    meta = pod["metadata"]
    labels = {key: text for key, text in meta["labels"].items() if text}
    kept = {"name": f"{statefulset['metadata']['name']}-plan", "namespace": meta["namespace"], "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": pod["spec"]}


_ENDS = (Action.STOP, Action.STOP_SURGE)
