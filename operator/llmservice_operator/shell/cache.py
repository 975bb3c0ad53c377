"""What the operator knows of the cluster, in memory: fed by watch events, by its own writes, and by the sweep.

What always holds: an object never goes back to an older version, whatever order events and answers arrive in, and
what was removed stays removed unless a later version turns up. So a plan is never made on a state that is older than
the operator's own last write. What the objects of one namespace take is bounded: of those beyond that only is known
which they are, whoever made them, and the services of other namespaces don't notice.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmservice_operator.core.observed import Object
from llmservice_operator.render import names
from llmservice_operator.render.kinds import HORIZONTAL_POD_AUTOSCALER, LLMSERVICE
from llmservice_operator.shell.order import ServiceOrder
from llmservice_operator.shell.trim import LARGEST, reduced, size, stub, trim

ServiceKey = tuple[str, str]
"""Namespace and name of an LLMService."""
ObjectKey = tuple[str, str, str]
"""Kind, namespace and name of any object."""

MAX_REMOVED = 20_000
"""Removed objects that are remembered: far more than can be on their way through the queues at one time."""

MOST_OWNERS = 8
"""Owners of an object that are looked at, its controller first. A child has one."""

NAMESPACE_BYTES = 32 * 1024 * 1024
"""Bytes of all objects of one namespace that are kept whole, as JSON; services are no part of it. A thousand replicas
have some 10 MiB."""

MEMORY_SHARE = 16
"""Of all namespaces together, as a part of the memory that the process may take: JSON takes some ten times as much."""
DEFAULT_TOTAL_BYTES = 256 * 1024 * 1024
"""The same where nothing limits the process."""
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")

logger = logging.getLogger(__name__)


def total_bytes(limit: Path = MEMORY_LIMIT) -> int:
    """Bytes of all objects that are kept whole, by the memory that the process may take."""
    try:
        return min(DEFAULT_TOTAL_BYTES, int(limit.read_text()) // MEMORY_SHARE)
    except (OSError, ValueError):  # "max"
        return DEFAULT_TOTAL_BYTES


def object_key(obj: Mapping[str, Any]) -> ObjectKey:
    """Kind, namespace and name of ``obj``."""
    return obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]


def version(obj: Mapping[str, Any]) -> int:
    """The resourceVersion as a number: later versions of any object of a cluster have higher ones."""
    try:
        return int(obj["metadata"].get("resourceVersion") or 0)
    except ValueError:
        return 0


def services_of(obj: Object) -> set[ServiceKey]:
    """The services that ``obj`` concerns: itself, the one that its label names, and those that own it, of which anybody
    may name thousands: some are enough."""
    meta = obj["metadata"]
    if obj["kind"] == LLMSERVICE.kind:
        return {(meta["namespace"], meta["name"])}
    found = {(meta.get("labels") or {}).get(names.INSTANCE_LABEL)}
    owners = sorted(meta.get("ownerReferences") or (), key=lambda ref: not ref.get("controller"))
    found |= {ref["name"] for ref in owners[:MOST_OWNERS] if ref.get("kind") == LLMSERVICE.kind}
    return {(meta["namespace"], name) for name in found if name}


class Cache:
    """Objects by kind, namespace and name, and by the service that they concern."""

    def __init__(self, total: int = DEFAULT_TOTAL_BYTES, most_services: int = 0) -> None:
        """``most_services``: how many of a namespace are kept whole, the oldest; 0: all."""
        self._total = total
        self.order = ServiceOrder(most_services)
        self._reduced: set[ServiceKey] = set()
        self._objects: dict[ObjectKey, dict[str, Any]] = {}
        self._by_service: dict[ServiceKey, dict[ObjectKey, dict[str, Any]]] = {}
        self._removed: dict[str, int] = {}
        self._sizes: dict[str, dict[ObjectKey, int]] = {}
        """Bytes of the objects that are kept whole, by namespace."""
        self._taken: dict[str, int] = {}
        """The same, of each namespace together."""
        self._all_taken = 0
        self._crowded: set[str] = set()
        """Namespaces of which that was logged."""

    def put(self, obj: Mapping[str, Any]) -> set[ServiceKey]:
        """Take in a version of an object. Returns the services that it concerns now or did before; empty where the
        cache knows this version or a later one, and where only the load has changed that an autoscaler shows."""
        key, uid = object_key(obj), obj["metadata"]["uid"]
        old = self._objects.get(key)
        if version(obj) <= self._removed.get(uid, -1) or (old is not None and not self._is_news(obj, old)):
            return set()
        before = self._drop(key)
        crossed = self.order.add(obj) if key[0] == LLMSERVICE.kind else set()
        kept = self._within_bounds(key, trim(obj))
        self._objects[key] = kept
        concerned = services_of(kept)
        for service in concerned:
            self._by_service.setdefault(service, {})[key] = kept
        for other in crossed:
            self._reduce(other)
        self._make_room()
        return set() if old is not None and _only_the_load(old, kept) else before | concerned | crossed

    def remove(self, obj: Mapping[str, Any]) -> set[ServiceKey]:
        """Take in that this version of an object was its last (or the last that carried the label)."""
        key = object_key(obj)
        self._remember(obj["metadata"]["uid"], version(obj))
        old = self._objects.get(key)
        if old is None or version(old) > version(obj):
            return set()
        crossed = self.order.remove(key[1:]) if key[0] == LLMSERVICE.kind else set()
        return self._drop(key) | crossed

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as it was last seen."""
        return self._objects.get((kind, namespace, name))

    def service(self, key: ServiceKey) -> dict[str, Any] | None:
        """The LLMService as it was last seen."""
        return self._objects.get((LLMSERVICE.kind, *key))

    def is_reduced(self, key: ServiceKey) -> bool:
        """Whether the service is there without its spec, because there are too many in its namespace, or were."""
        return key in self._reduced

    def services(self) -> list[ServiceKey]:
        """All services that are known."""
        return [(namespace, name) for kind, namespace, name in self._objects if kind == LLMSERVICE.kind]

    def related(self, key: ServiceKey) -> list[dict[str, Any]]:
        """All objects but the service itself that its label names or that it owns, in a stable order."""
        found = self._by_service.get(key, {})
        return [found[each] for each in sorted(found) if each[0] != LLMSERVICE.kind]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """All objects of one kind."""
        return [obj for key, obj in self._objects.items() if key[0] == kind]

    def _within_bounds(self, key: ObjectKey, obj: dict[str, Any]) -> dict[str, Any]:
        """The object, or its stub if it is too much for its namespace."""
        if key[0] == LLMSERVICE.kind:
            if not self.order.exceeds(key[1:]):
                return obj
            self._reduced.add(key[1:])
            return reduced(obj)
        taken, bytes_of = self._taken.get(key[1], 0), size(obj)
        if bytes_of > LARGEST or taken + bytes_of > NAMESPACE_BYTES:
            if key[1] not in self._crowded:
                self._crowded.add(key[1])
                text = "%s %s/%s is not kept whole, as others of its namespace may be: it has %d bytes, the others %d"
                logger.warning(text, *key, bytes_of, taken)
            return stub(obj)
        self._sizes.setdefault(key[1], {})[key] = bytes_of
        self._taken[key[1]] = taken + bytes_of
        self._all_taken += bytes_of
        return obj

    def _is_news(self, obj: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
        """Whether it is a later version, or the whole of one that is kept in part."""
        whole = old["kind"] == LLMSERVICE.kind and self.is_reduced(object_key(old)[1:])
        return version(obj) > version(old) or (whole and version(obj) == version(old))

    def _reduce(self, service: ServiceKey) -> None:
        """Keep in part a service that is beyond its namespace's number now."""
        key = (LLMSERVICE.kind, *service)
        old = self._objects.get(key)
        if old is not None and self.order.exceeds(service) and service not in self._reduced:
            self._reduced.add(service)
            self._objects[key] = self._by_service[service][key] = reduced(old)

    def _make_room(self) -> None:
        """Keep no more than the total: what is too much is the namespace's that has most."""
        while self._all_taken > self._total:
            namespace = max(self._taken, key=self._taken.__getitem__)
            if namespace not in self._crowded:
                self._crowded.add(namespace)
                text = "Objects of %s are not kept whole: they have %d bytes, and those of all namespaces together %d"
                logger.warning(text, namespace, self._taken[namespace], self._all_taken)
            key = next(reversed(self._sizes[namespace]))
            self._uncount(key)
            old = self._objects[key]
            kept = self._objects[key] = stub(old)
            for service in services_of(old):
                self._by_service[service][key] = kept

    def _uncount(self, key: ObjectKey) -> None:
        sizes = self._sizes.get(key[1], {})
        if key not in sizes:
            return
        gone = sizes.pop(key)
        self._all_taken -= gone
        self._taken[key[1]] -= gone
        if not sizes:
            del self._sizes[key[1]], self._taken[key[1]]
            self._crowded.discard(key[1])

    def _drop(self, key: ObjectKey) -> set[ServiceKey]:
        old = self._objects.pop(key, None)
        if old is None:
            return set()
        self._uncount(key)
        if key[0] == LLMSERVICE.kind:
            self._reduced.discard(key[1:])
        concerned = services_of(old)
        for service in concerned:
            group = self._by_service.get(service, {})
            group.pop(key, None)
            if not group:
                self._by_service.pop(service, None)
        return concerned

    def _remember(self, uid: str, at: int) -> None:
        self._removed[uid] = max(at, self._removed.pop(uid, -1))
        while len(self._removed) > MAX_REMOVED:
            del self._removed[next(iter(self._removed))]


def _only_the_load(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether an autoscaler's new version differs in nothing that is kept: its status tells the load at each sync."""
    if new["kind"] != HORIZONTAL_POD_AUTOSCALER.kind:
        return False
    metas = [{key: value for key, value in each["metadata"].items() if key != "resourceVersion"} for each in (old, new)]
    return metas[0] == metas[1] and all(old.get(key) == new.get(key) for key in ("spec", "status"))
