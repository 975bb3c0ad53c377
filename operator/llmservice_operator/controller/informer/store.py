"""The cache of the cluster's objects, updated by watch events, by the operator's own writes, and by the resync.

Invariants: an object never returns to an older version, in whatever order events and responses arrive, and a removed
object stays removed unless a later version arrives. A plan is therefore never made from a state older than the
operator's last write. The memory for one namespace is bounded: of further objects the cache keeps only the identity,
and the services of other namespaces are not affected.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmservice_operator.controller.client.trim import LARGEST, reduced, size, stub, trim
from llmservice_operator.controller.informer.service_order import ServiceOrder
from llmservice_operator.planner.model.catalogue import ref_of
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.pods import parsed
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import CATALOGUE, HORIZONTAL_POD_AUTOSCALER, LLMSERVICE, POD, STATEFULSET

ServiceKey = tuple[str, str]
"""Namespace and name of an LLMService."""
ObjectKey = tuple[str, str, str]
"""Kind, namespace and name of any object. The namespace of a cluster-scoped object is empty."""

MAX_REMOVED = 20_000
"""Maximum number of remembered removed objects: far more than can be in the queues at one time."""

MOST_OWNERS = 8
"""Maximum number of an object's owners that are considered, its controller first. A child has one."""

NAMESPACE_BYTES = 32 * 1024 * 1024
"""Maximum size of the objects of one namespace that are kept whole, as JSON, including services. A thousand replicas
have about 10 MiB."""

_CATALOGUE = tuple(kind.kind for kind in CATALOGUE)
_KEPT_LONGER = (POD.kind, STATEFULSET.kind, *_CATALOGUE, LLMSERVICE.kind)
"""Kinds whose objects are reduced last, the most important one at the end."""

MEMORY_SHARE = 16
"""Divisor of the process's memory limit for the objects of all namespaces: JSON needs about ten times its size."""
DEFAULT_TOTAL_BYTES = 256 * 1024 * 1024
"""The same if the process has no memory limit."""
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")

logger = logging.getLogger(__name__)


def total_bytes(limit: Path = MEMORY_LIMIT) -> int:
    """Maximum size of all objects that are kept whole, by the memory limit of the process."""
    try:
        return min(DEFAULT_TOTAL_BYTES, int(limit.read_text()) // MEMORY_SHARE)
    except (OSError, ValueError):  # "max"
        return DEFAULT_TOTAL_BYTES


def object_key(obj: Mapping[str, Any]) -> ObjectKey:
    """Kind, namespace and name of ``obj``."""
    meta = obj["metadata"]
    return obj["kind"], meta.get("namespace", ""), meta["name"]


def version(obj: Mapping[str, Any]) -> int:
    """The resourceVersion as a number. A later version of any object in the cluster has a higher one."""
    try:
        return int(obj["metadata"].get("resourceVersion") or 0)
    except ValueError:
        return 0


def services_of(obj: Object) -> set[ServiceKey]:
    """The services that ``obj`` belongs to: itself, the one in its label, and its owners. Anyone may add thousands of
    owners, so only some count. A model of the catalogue belongs to none."""
    meta = obj["metadata"]
    if obj["kind"] in _CATALOGUE:
        return set()
    if obj["kind"] == LLMSERVICE.kind:
        return {(meta["namespace"], meta["name"])}
    found = {(meta.get("labels") or {}).get(names.INSTANCE_LABEL)}
    owners = sorted(meta.get("ownerReferences") or (), key=lambda ref: not ref.get("controller"))
    found |= {ref["name"] for ref in owners[:MOST_OWNERS] if ref.get("kind") == LLMSERVICE.kind}
    return {(meta["namespace"], name) for name in found if name}


class Cache:
    """Objects by kind, namespace and name, and by service."""

    def __init__(self, total: int = DEFAULT_TOTAL_BYTES, most_services: int = 0) -> None:
        """``most_services``: maximum number of services per namespace that are kept whole, the oldest; 0: all."""
        self._total = total
        self.order = ServiceOrder(most_services)
        self._reduced: set[ServiceKey] = set()
        self._objects: dict[ObjectKey, dict[str, Any]] = {}
        self._by_service: dict[ServiceKey, dict[ObjectKey, dict[str, Any]]] = {}
        self._users: dict[ObjectKey, set[ServiceKey]] = {}
        """The services that name each model of the catalogue, whether it exists or not."""
        self._removed: dict[str, int] = {}
        self._sizes: dict[str, tuple[dict[ObjectKey, int], ...]] = {}
        """Sizes of the objects that are kept whole, by namespace and by the order in which they are reduced."""
        self._taken: dict[str, int] = {}
        """Sum of the sizes in each namespace."""
        self._all_taken = 0
        self._over_limit: set[str] = set()
        """Namespaces for which a warning was logged."""

    def put(self, obj: Mapping[str, Any]) -> set[ServiceKey]:
        """Adds a version of an object. Returns the services that it is or was about; empty if the cache has this or a
        later version, or if only the metrics in an HPA's status have changed."""
        key, uid = object_key(obj), obj["metadata"]["uid"]
        old = self._objects.get(key)
        if version(obj) <= self._removed.get(uid, -1) or (old is not None and not self._is_news(obj, old)):
            return set()
        before = self._drop(key)
        crossed = self.order.add(obj) if key[0] == LLMSERVICE.kind else set()
        kept = trim(obj)
        self._index(key, kept)
        concerned = services_of(kept) | self._users.get(key, set())
        for service in {key[1:], *crossed} if key[0] == LLMSERVICE.kind else ():
            if self.order.exceeds(service):
                self._shrink((LLMSERVICE.kind, *service))
        less = self._count(key) | self._make_room(key[1])
        return (
            less
            if old is not None and _only_metrics_differ(old, self._objects[key])
            else before | concerned | crossed | less
        )

    def remove(self, obj: Mapping[str, Any]) -> set[ServiceKey]:
        """Records that this version of an object was its last one (or the last with the label)."""
        key = object_key(obj)
        self._remember(obj["metadata"]["uid"], version(obj))
        old = self._objects.get(key)
        if old is None or version(old) > version(obj):
            return set()
        crossed = self.order.remove(key[1:]) if key[0] == LLMSERVICE.kind else set()
        return self._drop(key) | crossed

    def forget_kind(self, kind: str) -> None:
        """Drops all objects of a kind of children that is no longer served. They come back if it is served again."""
        for obj in self.of_kind(kind):
            self._drop(object_key(obj))

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The last seen version of the object."""
        return self._objects.get((kind, namespace, name))

    def service(self, key: ServiceKey) -> dict[str, Any] | None:
        """The last seen version of the LLMService."""
        return self._objects.get((LLMSERVICE.kind, *key))

    def models_of(self, service: Object) -> list[dict[str, Any]]:
        """The model of the catalogue that the service names, if it exists."""
        key = ref_of(service)
        found = self._objects.get(key) if key is not None else None
        return [found] if found is not None else []

    def is_reduced(self, key: ServiceKey) -> bool:
        """Whether the service is cached without its spec, because its namespace has or had too many objects."""
        return key in self._reduced

    def services(self) -> list[ServiceKey]:
        """All known services."""
        return [(namespace, name) for kind, namespace, name in self._objects if kind == LLMSERVICE.kind]

    def related(self, key: ServiceKey) -> list[dict[str, Any]]:
        """All objects that the service owns or that have its label, without the service itself, in a stable order."""
        found = self._by_service.get(key, {})
        return [found[each] for each in sorted(found) if each[0] != LLMSERVICE.kind]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """All objects of one kind."""
        return [obj for key, obj in self._objects.items() if key[0] == kind]

    def _is_news(self, obj: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
        """Whether it is a later version, or the whole of one that was reduced."""
        whole = old["kind"] == LLMSERVICE.kind and self.is_reduced(object_key(old)[1:])
        whole = whole or (old["kind"] in _CATALOGUE and not old.get("spec"))
        return version(obj) > version(old) or (whole and version(obj) == version(old))

    def _count(self, key: ObjectKey) -> set[ServiceKey]:
        """Counts an object that is kept whole. Returns the service if it is one and is reduced because of its size."""
        if key[0] == LLMSERVICE.kind and key[1:] in self._reduced:
            return set()
        bytes_of = size(self._objects[key])
        if bytes_of > LARGEST:
            self._log_over_limit(key[1], f"{key[0]} {key[2]} has {bytes_of} bytes")
            return self._shrink(key)
        self._sizes.setdefault(key[1], tuple({} for _ in range(len(_KEPT_LONGER) + 1)))[_rank(key)][key] = bytes_of
        self._taken[key[1]] = self._taken.get(key[1], 0) + bytes_of
        self._all_taken += bytes_of
        return set()

    def _make_room(self, namespace: str) -> set[ServiceKey]:
        """Reduces objects until the namespace and the total are within their limits. For the total, objects of the
        largest namespace are reduced. Returns the reduced services."""
        less: set[ServiceKey] = set()
        while self._taken.get(namespace, 0) > NAMESPACE_BYTES:
            less |= self._shrink_newest(namespace)
        while self._all_taken > self._total:
            less |= self._shrink_newest(max(self._taken, key=self._taken.__getitem__))
        return less

    def _shrink_newest(self, namespace: str) -> set[ServiceKey]:
        text = f"they have {self._taken[namespace]} bytes together, and the objects of all namespaces {self._all_taken}"
        self._log_over_limit(namespace, text)
        newest = next(group for group in self._sizes[namespace] if group)
        return self._shrink(next(reversed(newest)))

    def _shrink(self, key: ObjectKey) -> set[ServiceKey]:
        """Reduces an object to its identity. Returns the service if it is one, and those that name it if it is a model
        of the catalogue."""
        old = self._objects.get(key)
        if old is None or (key[0] == LLMSERVICE.kind and key[1:] in self._reduced):
            return set()
        self._uncount(key)
        self._unindex(key)
        if key[0] != LLMSERVICE.kind:
            self._index(key, stub(old))
            return set(self._users.get(key, ()))
        self._reduced.add(key[1:])
        self._index(key, reduced(old))
        return {key[1:]}

    def _log_over_limit(self, namespace: str, why: str) -> None:
        if namespace not in self._over_limit:
            self._over_limit.add(namespace)
            logger.warning(
                "Some objects of namespace %s are cached without their content, because they are too large: %s",
                namespace,
                why,
            )

    def _uncount(self, key: ObjectKey) -> None:
        groups = self._sizes.get(key[1])
        if groups is None or key not in groups[_rank(key)]:
            return
        gone = groups[_rank(key)].pop(key)
        self._all_taken -= gone
        self._taken[key[1]] -= gone
        if not any(groups):
            del self._sizes[key[1]], self._taken[key[1]]
            self._over_limit.discard(key[1])

    def _index(self, key: ObjectKey, found: dict[str, Any]) -> None:
        obj = parsed(found) if key[0] == POD.kind else found
        self._objects[key] = obj
        for service in services_of(obj):
            self._by_service.setdefault(service, {})[key] = obj
        if key[0] == LLMSERVICE.kind and (named := ref_of(obj)) is not None:
            self._users.setdefault(named, set()).add(key[1:])

    def _unindex(self, key: ObjectKey) -> set[ServiceKey]:
        """Removes an existing object from the indices. Returns the services that it was about."""
        gone = self._objects.pop(key)
        concerned = services_of(gone)
        if key[0] == LLMSERVICE.kind and (named := ref_of(gone)) is not None:
            self._users[named].discard(key[1:])
            if not self._users[named]:
                del self._users[named]
        for service in concerned:
            group = self._by_service.get(service, {})
            group.pop(key, None)
            if not group:
                self._by_service.pop(service, None)
        return concerned | self._users.get(key, set())

    def _drop(self, key: ObjectKey) -> set[ServiceKey]:
        if key not in self._objects:
            return set()
        self._uncount(key)
        if key[0] == LLMSERVICE.kind:
            self._reduced.discard(key[1:])
        return self._unindex(key)

    def _remember(self, uid: str, at: int) -> None:
        self._removed[uid] = max(at, self._removed.pop(uid, -1))
        while len(self._removed) > MAX_REMOVED:
            del self._removed[next(iter(self._removed))]


def _rank(key: ObjectKey) -> int:
    return _KEPT_LONGER.index(key[0]) + 1 if key[0] in _KEPT_LONGER else 0


def _only_metrics_differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a new version of an HPA differs only in metrics, which its status reports at each sync."""
    if new["kind"] != HORIZONTAL_POD_AUTOSCALER.kind:
        return False
    metas = [{key: value for key, value in each["metadata"].items() if key != "resourceVersion"} for each in (old, new)]
    return metas[0] == metas[1] and all(old.get(key) == new.get(key) for key in ("spec", "status"))
