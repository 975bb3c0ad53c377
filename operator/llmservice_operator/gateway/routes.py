"""The routes of the gateway: which service serves a model, and which replicas get its requests.

They are a JSON document that Lua in NGINX reads (lua/routes.lua). Objects of the cluster are untrusted: names and
addresses that don't have the form that Kubernetes requires are left out.
"""

import datetime
import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from llmservice_contract.adapters import MOST_ADAPTERS
from llmservice_contract.container import HTTP_PORT
from llmservice_contract.engine_settings import SERVED_NAMES
from llmservice_operator.api.access import PrefixCache
from llmservice_operator.api.rollout import ADDED_ERROR_PERCENT, CANARY_HEADER, LATENCY_PERCENT, MOST_LATENCY_PERCENT
from llmservice_operator.resources import names

Object = Mapping[str, Any]
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
POD = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
MODEL = re.compile(SERVED_NAMES.pattern)
HEADER = re.compile(CANARY_HEADER)
REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
SCALING_DISABLED = "ScalingDisabled"
"""Reason of the condition ScalingActive if a person has scaled the service to zero."""
NODE_SECONDS = 120
"""How long requests wait for a pod that has no node, if no setting says otherwise."""
LONGEST_PROVISION = 14_400
"""Maximum of ``scheduling.maxNodeProvisionSeconds``."""


@dataclass(frozen=True, slots=True)
class ServedCanary:
    """The revision that gets some of a service's requests, as the operator wrote it into the status."""

    revision: str
    """Revision of its pods."""
    weight: int
    """Percent of the requests."""
    header: str = ""
    """Name of the header that chooses it; empty: none."""
    allowed: int = ADDED_ERROR_PERCENT
    """Percentage points by which its failures may exceed those of other replicas."""
    excluded: str = ""
    """Another revision whose pods get no requests."""
    step: int = 100
    """Percent of the weight that is in force."""
    slowness: int = LATENCY_PERCENT
    """Percent of the others' times to the first byte that it may take."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a service gets no replica now, so that requests do not wait for one."""

    reason: str
    """The reason of its condition."""
    since: int
    """Seconds since 1970 from which requests are refused."""


@dataclass(frozen=True, slots=True)
class ServedService:
    """A service, with what the gateway has to know of it."""

    namespace: str
    name: str
    created: int
    """Seconds since 1970."""
    models: tuple[str, ...]
    """Names by which clients request its model, with and without adapters; at least one."""
    prefix_cache_per_key: bool = False
    """Whether keys share no prefixes, so that prefixes of other keys say nothing about a replica's cache."""
    canary: ServedCanary | None = None
    """None: all replicas are equal."""
    scales_to_zero: bool = False
    """Whether requests wait while it has no ready replica, and start one if it is at zero."""
    asleep: bool = False
    """Whether its number of replicas is 0."""
    keys_secret: str = ""
    """Name of the Secret with its keys; empty if it needs none."""
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class ReadyReplica:
    """A pod that gets requests."""

    namespace: str
    service: str
    pod: str
    host: str
    """Its IP address; an IPv6 address is in brackets."""
    port: int = HTTP_PORT
    revision: str = ""
    """The revision of its StatefulSet."""


@dataclass(frozen=True, slots=True)
class BatchesAddress:
    """The process of files and batches."""

    host: str
    """Its IP address; an IPv6 address is in brackets."""
    port: int


def read_service(obj: Object, node_seconds: int | None = None) -> ServedService | None:
    """A service from its LLMService; None if its name is none. Requests wait for ``node_seconds`` for the node of a pod
    that has none, unless the service says otherwise."""
    meta, spec = _mapping(obj, "metadata"), _mapping(obj, "spec")
    namespace, name = meta.get("namespace"), meta.get("name")
    if not (_matches(NAMESPACE, namespace) and _matches(SERVICE, name)):
        return None
    given, listed = _mapping(spec, "model").get("servedNames"), spec.get("adapters")
    served = given[: SERVED_NAMES.most] if isinstance(given, list) else []
    models = tuple(dict.fromkeys(each for each in served if _is_model(each))) or (str(name),)
    adapters = [each.get("name") for each in _some(listed) if isinstance(each, Mapping)]
    models = tuple(dict.fromkeys([*models, *(str(each) for each in adapters if _is_model(each))]))
    access, conditions = _mapping(spec, "access"), _conditions(obj)
    disabled = conditions.get("ScalingActive", {}).get("reason") == SCALING_DISABLED
    least = _mapping(spec, "scaling").get("minReplicas")
    return ServedService(
        str(namespace),
        str(name),
        _seconds(meta.get("creationTimestamp")),
        models,
        access.get("prefixCache") == PrefixCache.PER_KEY,
        _canary(_mapping(obj, "status")),
        scales_to_zero=least == 0 and not isinstance(least, bool) and not disabled,
        asleep=spec.get("replicas") == 0,
        keys_secret=_secret(access),
        refusal=_refusal(conditions, spec, node_seconds),
    )


def _some(listed: Any) -> list[Any]:
    """As many items of a list as a service may have adapters."""
    return listed[:MOST_ADAPTERS] if isinstance(listed, list) else []


def _secret(access: Object) -> str:
    """The Secret with the keys. If it has no valid name, no Secret: the name of one that can't exist."""
    if not access.get("apiKeys"):
        return ""
    name = _mapping(_mapping(access, "apiKeys"), "secretRef").get("name")
    return str(name) if _matches(POD, name) else "-"


def _refusal(conditions: Mapping[str, Object], spec: Object, node_seconds: int | None) -> Refusal | None:
    """A person has to act, or a pod has had no node for a while."""
    stalled, scheduled = conditions.get("Stalled", {}), conditions.get("Scheduled", {})
    if stalled.get("status") == "True":
        return Refusal(_reason(stalled), 0)
    if scheduled.get("status") != "False":
        return None
    own = _mapping(spec, "scheduling").get("maxNodeProvisionSeconds")
    patience = NODE_SECONDS if node_seconds is None else node_seconds
    if isinstance(own, int) and 0 <= own <= LONGEST_PROVISION:
        patience = own
    return Refusal(_reason(scheduled), _seconds(scheduled.get("lastTransitionTime")) + patience)


def _reason(condition: Object) -> str:
    reason = condition.get("reason")
    return str(reason) if _matches(REASON, reason) else "Unknown"


def _conditions(obj: Object) -> dict[str, Object]:
    found = _list(_mapping(obj, "status"), "conditions")
    return {str(each.get("type")): each for each in found if isinstance(each, Mapping)}


def read_replica(obj: Object) -> ReadyReplica | None:
    """A replica from its pod; None unless it is ready, stays, and is controlled by its service's StatefulSet.

    The address is that of the pod's status, which only the kubelet writes.
    """
    meta, status = _mapping(obj, "metadata"), _mapping(obj, "status")
    labels = _mapping(meta, "labels")
    namespace, pod, service = meta.get("namespace"), meta.get("name"), labels.get(names.INSTANCE_LABEL)
    if not (_matches(NAMESPACE, namespace) and _matches(POD, pod) and _matches(SERVICE, service)):
        return None
    if labels.get(names.COMPONENT_LABEL) != names.ENGINE_COMPONENT or meta.get("deletionTimestamp"):
        return None
    owners = [each for each in _list(meta, "ownerReferences") if isinstance(each, Mapping) and each.get("controller")]
    if [(each.get("kind"), each.get("name")) for each in owners] != [("StatefulSet", service)]:
        return None
    conditions = (each for each in _list(status, "conditions") if isinstance(each, Mapping))
    if not any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions):
        return None
    host = _host(status.get("podIP"))
    revision = labels.get(names.REVISION_LABEL)
    known = str(revision) if _matches(POD, revision) else ""
    return ReadyReplica(str(namespace), str(service), str(pod), host, revision=known) if host else None


def document(
    services: Iterable[ServedService], replicas: Iterable[ReadyReplica], batches: BatchesAddress | None = None
) -> dict[str, Any]:
    """The routes. If services of a namespace serve the same model name, the oldest gets its requests."""
    peers: defaultdict[tuple[str, str], list[ReadyReplica]] = defaultdict(list)
    for replica in replicas:
        peers[replica.namespace, replica.service].append(replica)
    namespaces: dict[str, Any] = {}
    for service in sorted(services, key=lambda each: (each.created, each.namespace, each.name)):
        scope = namespaces.setdefault(service.namespace, {"order": [], "models": {}, "services": {}})
        scope["order"].append(service.name)
        for model in service.models:
            scope["models"].setdefault(model, service.name)
        split = service.canary
        scope["services"][service.name] = {
            "models": list(service.models),
            "created": service.created,
            "salted": service.prefix_cache_per_key,
            "zero": service.scales_to_zero,
            "keyed": bool(service.keys_secret),
            **(
                {"refusal": {"reason": service.refusal.reason, "from": service.refusal.since}}
                if service.refusal
                else {}
            ),
            "peers": [
                {"address": f"{each.host}:{each.port}", "host": each.host, "port": each.port, "pod": each.pod}
                | ({"is": _part(each.revision, split)} if split is not None else {})
                for each in sorted(peers[service.namespace, service.name], key=lambda each: each.pod)
            ],
        } | ({"split": _split(split)} if split is not None else {})
    found: dict[str, Any] = {"namespaces": namespaces}
    if batches is not None:
        found["batches"] = {"host": batches.host, "port": batches.port}
    return found


def hidden_models(services: Iterable[ServedService]) -> list[tuple[ServedService, str]]:
    """Services with a model name that an older service of their namespace has."""
    owners: set[tuple[str, str]] = set()
    found = []
    for service in sorted(services, key=lambda each: (each.created, each.namespace, each.name)):
        for model in service.models:
            if (service.namespace, model) in owners:
                found.append((service, model))
            owners.add((service.namespace, model))
    return found


def _part(revision: str, split: ServedCanary) -> str:
    """What a replica of this revision is: of the canary, one without requests, or an old one."""
    return {split.excluded: "out", split.revision: "new"}.get(revision, "old") if revision else "old"


def _split(split: ServedCanary) -> dict[str, Any]:
    """The split as Lua reads it (lua/split.lua)."""
    header = {"header": split.header} if split.header else {}
    limits = {"allowed": split.allowed, "slowness": split.slowness}
    return {"revision": split.revision, "weight": split.weight, "step": split.step} | limits | header


def _canary(status: Object) -> ServedCanary | None:
    found = _mapping(status, "canary")
    revision, header, excluded = found.get("revision"), found.get("header"), found.get("excludedRevision")
    weight, allowed = found.get("weight"), found.get("maxAddedErrorPercent", ADDED_ERROR_PERCENT)
    step, slowness = found.get("stepPercent", 100), found.get("maxLatencyPercent", LATENCY_PERCENT)
    if not (_matches(POD, revision) and _is_percent(weight) and _is_percent(allowed) and _is_percent(step)):
        return None
    if type(slowness) is not int or not 100 <= slowness <= MOST_LATENCY_PERCENT:
        return None
    return ServedCanary(
        str(revision),
        weight,
        str(header) if _matches(HEADER, header) else "",
        allowed,
        str(excluded) if _matches(POD, excluded) else "",
        step,
        slowness,
    )


def _is_percent(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= 100


def _mapping(obj: Object, key: str) -> Object:
    found = obj.get(key)
    return found if isinstance(found, Mapping) else {}


def _list(obj: Object, key: str) -> list[Any]:
    found = obj.get(key)
    return found if isinstance(found, list) else []


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_model(value: Any) -> bool:
    return _matches(MODEL, value) and len(value) <= SERVED_NAMES.longest


def _seconds(text: Any) -> int:
    try:
        return int(datetime.datetime.fromisoformat(text).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0


def _host(text: Any) -> str | None:
    try:
        found = ipaddress.ip_address(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if found is None or found.is_unspecified or found.is_loopback or found.is_link_local or found.is_multicast:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return None if found.scope_id or found.ipv4_mapped else f"[{found}]"
    return str(found)
