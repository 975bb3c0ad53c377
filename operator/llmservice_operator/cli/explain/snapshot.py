"""Reads a service and related objects that the user may read, in parallel and within limits.

Only the service itself must be readable. For everything else the snapshot notes what could not be read, and why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.explain import pods
from llmservice_operator.cli.failure import Failure, Forbidden, Missing, no_such_service
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.planner.model.pods import bound, ordinal
from llmservice_operator.planner.model.pods import ready as is_ready
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import HORIZONTAL_POD_AUTOSCALER, LLMSERVICE

Object = Mapping[str, Any]
T = TypeVar("T")

CORE = "/api/v1"
LOG_LINES = 8
_MOST_PODS = 3
"""Number of unready pods whose Events and logs are read."""
_AT_A_TIME = 8


@dataclasses.dataclass(frozen=True)
class ServiceSnapshot:
    """A service and related objects. None: not read."""

    service: Object
    pods: Sequence[Object] | None = None
    """Pods of its engine, by name."""
    events: Sequence[Object] = ()
    """Events about the service, its children and some unready pods."""
    autoscaler: Object | None = None
    quotas: Sequence[Object] = ()
    nodes: Sequence[Object] | None = None
    leases: Sequence[Object] | None = None
    """Leases of operators of this project, in all namespaces."""
    logs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By pod: the last lines of an engine that exited without a termination message."""
    unread: Sequence[tuple[str, str]] = ()
    """What could not be read, and why; the reason is empty if the user lacks the permission."""


class _Reader:
    """Reads objects, and notes what could not be read."""

    def __init__(self) -> None:
        self.unread: dict[str, str] = {}

    def __call__(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except Missing:
            return None
        except Forbidden:
            self.unread[what] = ""
        except Failure as failure:
            self.unread[what] = str(failure)
        return None


def gather(cluster: KubernetesClient, namespace: str, name: str) -> ServiceSnapshot:
    """Read the service and related objects. Raises Failure if the service itself can't be read."""
    thing = ObjectRef.of(LLMSERVICE, namespace, name)
    try:
        service = cluster.get(thing)
    except Missing:
        raise no_such_service(thing) from None
    read = _Reader()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        around = pool.submit(read, "pods", lambda: _pods(cluster, namespace, name))
        leases = pool.submit(read, "Leases of the operator", lambda: _leases(cluster))
        events = [pool.submit(read, "Events", lambda: _events(cluster, namespace, name))]
        autoscaler = pool.submit(
            read, "the autoscaler", lambda: cluster.get(_autoscaler(namespace, name)) if _is_scaled(service) else None
        )
        quotas = pool.submit(read, "quotas", lambda: cluster.list(CORE, "ResourceQuota", "resourcequotas", namespace))
        found = around.result()
        troubled = [pod for pod in found or () if not is_ready(pod)][:_MOST_PODS]
        for pod in troubled:
            at = pod["metadata"]["name"]
            events.append(pool.submit(read, "Events", lambda at=at: _events(cluster, namespace, at)))
        logs = {
            pod["metadata"]["name"]: pool.submit(read, "logs", lambda pod=pod: _log(cluster, pod))
            for pod in troubled
            if pods.ended_without_words(pod)
        }
        nodes = None
        if any(not bound(pod) for pod in troubled):
            nodes = pool.submit(read, "nodes", lambda: cluster.list(CORE, "Node", "nodes", None))
        events_found = [event for each in events for event in each.result() or ()]
        return ServiceSnapshot(
            service=service,
            pods=found,
            events=events_found,
            autoscaler=autoscaler.result(),
            quotas=quotas.result() or (),
            nodes=nodes.result() if nodes is not None else None,
            leases=leases.result(),
            logs={at: text for at, log in logs.items() if (text := log.result())},
            unread=tuple(sorted(read.unread.items())),
        )


def _pods(cluster: KubernetesClient, namespace: str, name: str) -> list[Object]:
    labels = ",".join(f"{key}={value}" for key, value in names.of_service(name).items())
    engines = (names.ENGINE_COMPONENT, names.RANK_COMPONENT)
    found = cluster.list(
        CORE, "Pod", "pods", namespace, labels=f"{labels},{names.COMPONENT_LABEL} in ({', '.join(engines)})"
    )
    return sorted(found, key=lambda pod: (ordinal(pod), pod["metadata"]["name"]))


def _events(cluster: KubernetesClient, namespace: str, name: str) -> Sequence[Object]:
    """Events about objects of that name: the StatefulSet and the autoscaler have the service's name."""
    return cluster.list(CORE, "Event", "events", namespace, fields=f"involvedObject.name={name}")


def _leases(cluster: KubernetesClient) -> Sequence[Object]:
    found = cluster.list(
        "/apis/coordination.k8s.io/v1", "Lease", "leases", None, fields="metadata.namespace!=kube-node-lease"
    )
    return [lease for lease in found if _is_an_operators(lease)]


def _is_an_operators(lease: Object) -> bool:
    """Whether the Lease is an operator's: the chart names it after the release, and its holder after the Deployment."""
    said = f"{lease['metadata']['name']} {(lease.get('spec') or {}).get('holderIdentity') or ''}"
    return names.APPLICATION in said


def _autoscaler(namespace: str, name: str) -> ObjectRef:
    return ObjectRef.of(HORIZONTAL_POD_AUTOSCALER, namespace, names.autoscaler(name))


def _is_scaled(service: Object) -> bool:
    return bool((service.get("spec") or {}).get("scaling"))


def _log(cluster: KubernetesClient, pod: Object) -> str:
    meta = pod["metadata"]
    previous = "&previous=true" if pods.runs_again(pod) else ""
    thing = ObjectRef(CORE, "pod", "pods", meta["namespace"], meta["name"], "log")
    return cluster.text(thing, f"container={ENGINE_CONTAINER}&tailLines={LOG_LINES}&limitBytes=65536{previous}")
