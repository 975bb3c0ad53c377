"""Executes a plan: writes what differs, in the order of the plan.

Invariants: an object that the service does not own is never written or deleted, whatever its name; the response to each
write is in the cache before the next decision.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from llmservice_operator.controller import replicas
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import Conflict, NotFound, RequestRefused
from llmservice_operator.controller.clock import utc_now
from llmservice_operator.controller.correction_history import CorrectionHistory
from llmservice_operator.controller.informer.store import Cache, ObjectKey, ServiceKey, object_key, version
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Admission, Annotation, Deletion, Plan, Resize
from llmservice_operator.planner.model.state import adoptable
from llmservice_operator.resources import merge_patch, names
from llmservice_operator.resources.kinds import POD, STATEFULSET, kind_of

RESTORER = "llmservice-operator-restore"
"""Field manager that replaces whole lists. It gives up their ownership immediately."""

RELEASE_SECONDS = 10.0
"""How long a StatefulSet that was deleted without its pods may take to disappear before the rest is executed."""
RECHECK_SECONDS = 1.0
"""Interval of reconciliations in the meantime, unless a watch event comes first."""

INVALID = 422
"""HTTP status of an object that fails validation."""

logger = logging.getLogger(__name__)


class UnownedObjectError(Exception):
    """The name of a planned object is used by an object that the service does not own."""

    def __init__(self, unowned: Object) -> None:
        super().__init__("{} {} is not owned by this service".format(unowned["kind"], unowned["metadata"]["name"]))
        self.unowned = unowned


@dataclasses.dataclass(frozen=True)
class _Released:
    """A StatefulSet that is deleted without its pods, and created again once it has disappeared."""

    service: str
    """The service's uid."""
    release: Deletion
    desired: Object
    """The object in the plan that released it. It contains the progress of the rollout."""
    since: float
    """Time of the event loop."""


def is_owned(obj: Object, service: Object) -> bool:
    """Whether ``obj`` is a child of ``service``: by its controller reference or, if that was removed manually, by
    labels and annotations that only the operator writes."""
    meta = service["metadata"]
    named = (obj["metadata"].get("labels") or {}).get(names.INSTANCE_LABEL) == meta["name"]
    return pods.owned_by(obj, meta["uid"]) or (named and adoptable(obj))


class Executor:
    """Writes to the cluster what differs from the cache."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        differs: Callable[[Object, Object], bool],
        now: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._differs = differs
        self.history = CorrectionHistory(now)
        self._settled: dict[ServiceKey, dict[ObjectKey, tuple[str, int]]] = {}
        """State of each object after it was last applied, for the objects of the last plan."""
        self._released: dict[ServiceKey, dict[ObjectKey, _Released]] = {}
        """Released StatefulSets that still exist."""

    async def children(self, service: Object, plan: Plan) -> bool:
        """Deletes StatefulSets that are to be created again, applies the plan's objects, then deletes what is no longer
        needed, unless a released StatefulSet still exists. Without objects of Gateways. Returns whether anything was
        written.

        Raises UnownedObjectError if a name is used by an object that is not in the cache, and ApiError.
        """
        wrote, key = False, _service_key(service)
        self._keep(key, plan)
        for release in plan.releases:
            name = release.kind, release.namespace, release.name
            desired = next((each for each in plan.objects if object_key(each) == name), None)
            wrote |= await self._release(service, release, desired)
        for resize in plan.resizes:
            wrote |= await self._resize(service, resize)
        return wrote | await self._write(service, plan, of_gateways=False)

    async def gateways(self, service: Object, plan: Plan) -> bool:
        """The same for objects of Gateways. They come after everything else: if they are refused, this holds no pod
        back."""
        return await self._write(service, plan, of_gateways=True)

    async def _write(self, service: Object, plan: Plan, *, of_gateways: bool) -> bool:
        wrote = False
        for desired in plan.objects:
            if kind_of(desired["apiVersion"], desired["kind"]).gateway_api is of_gateways:
                wrote |= await self._apply_child(service, plan, desired)
        for deletion in plan.deletions if not self.releases(service) else ():
            if kind_of(deletion.api_version, deletion.kind).gateway_api is of_gateways:
                wrote |= await self._delete(service, deletion)
        return wrote

    async def _apply_child(self, service: Object, plan: Plan, desired: Object) -> bool:
        key, child = _service_key(service), (desired["kind"], desired["metadata"]["name"])
        before = self._cache.get(*object_key(desired))
        applied = child not in plan.accepted and await self._apply(service, desired)
        if applied and child in plan.corrected:
            self.history.corrected(key, child, plan.corrected[child])
            logger.info("%s/%s: set back changes by others of %s %s", *key, *child)
        elif applied and before is not None:
            self.history.applied(key, before, self._cache.get(*object_key(desired)))
        return applied

    def forget(self, key: ServiceKey) -> None:
        """Forgets a deleted service."""
        self._settled.pop(key, None)
        self._released.pop(key, None)
        self.history.forget(key)

    def _keep(self, key: ServiceKey, plan: Plan) -> None:
        wanted = {object_key(each) for each in plan.objects}
        kept = {each: state for each, state in self._settled.pop(key, {}).items() if each in wanted}
        if kept:
            self._settled[key] = kept
        self.history.keep(key, {each[::2] for each in wanted})

    async def delete_orphans(self, related: Sequence[Object]) -> bool:
        """Deletes pods of a deleted service whose StatefulSet was released and never created again. Returns whether
        there were any."""
        left = [obj for obj in related if obj["kind"] == POD.kind and pods.is_orphan(obj)]
        for pod in left:
            meta = pod["metadata"]
            logger.info(
                "%s: delete pod %s: its service is deleted, and no StatefulSet controls it",
                meta["namespace"],
                meta["name"],
            )
            await self._cluster.delete(POD, meta["namespace"], meta["name"], meta["uid"])
        return bool(left)

    async def replicas(self, service: Object, count: int | None) -> bool:
        """Sets an absent ``spec.replicas`` to ``count``, without staying the owner of the field. Returns whether
        anything was written."""
        kind, meta = kind_of(service["apiVersion"], service["kind"]), service["metadata"]
        live: Mapping[str, Any] | None = None
        if count is not None and (service.get("spec") or {}).get("replicas") is None:
            try:
                live = await replicas.set_replicas(self._cluster, service, count)
            except Conflict:
                await self._refresh(service)
                raise
            logger.info("%s/%s: spec.replicas was absent: set to %d", meta["namespace"], meta["name"], count)
            self._cache.put(live)
        elif replicas.is_owned(service):
            live = await self._cluster.get(kind, meta["namespace"], meta["name"])
        if live is None:
            return False
        self._cache.put(await replicas.give_up(self._cluster, live))
        return True

    async def scale(self, service: Object, count: int | None) -> bool:
        """Writes ``count`` through the scale subresource. Returns whether it did."""
        if count is None:
            return False
        meta = service["metadata"]
        await self._cluster.patch_scale(service, count)
        logger.info("%s/%s: scaled to %d", meta["namespace"], meta["name"], count)
        await self._refresh(service)
        return True

    async def admissions(self, wanted: Sequence[Admission]) -> bool:
        """Removes scheduling gates of pods. Returns whether anything was written."""
        wrote = False
        for each in wanted:
            if await self._to_pod(each, partial(self._cluster.admit, gates=each.gates, values=each.values)):
                logger.info("%s: removed the scheduling gates of pod %s", each.namespace, each.name)
                wrote = True
        return wrote

    async def annotations(self, wanted: Sequence[Annotation]) -> bool:
        """Annotates pods. Returns whether anything was written."""
        wrote = False
        for each in wanted:
            if await self._to_pod(each, partial(self._cluster.annotate, values=each.values)):
                logger.debug("%s: annotated pod %s: %s", each.namespace, each.name, ", ".join(each.values))
                wrote = True
        return wrote

    async def _to_pod(
        self, wanted: Admission | Annotation, write: Callable[[Object], Awaitable[dict[str, Any]]]
    ) -> bool:
        """Writes to exactly this pod, unless it was deleted or replaced. Returns whether it did."""
        seen = self._cache.get(POD.kind, wanted.namespace, wanted.name)
        if seen is None or seen["metadata"]["uid"] != wanted.uid:
            return False
        try:
            self._cache.put(await write(seen))
            return True
        except NotFound:
            self._cache.remove(seen)
        except Conflict:
            await self._refresh(seen)
        return False

    async def status(self, service: Object, status: Mapping[str, Any]) -> bool:
        """Writes the whole status if it differs. Returns whether it did."""
        patch = merge_patch.between(service.get("status") or {}, status)
        if not patch:
            return False
        try:
            self._cache.put(await self._cluster.patch_status(service, patch))
        except Conflict:
            await self._refresh(service)
            raise
        return True

    async def _apply(self, service: Object, desired: Object) -> bool:
        key = object_key(desired)
        settled = self._settled.setdefault(_service_key(service), {})
        actual: Object | None = self._cache.get(*key)
        if actual is None:
            actual = await self._find_unlabelled(service, desired)
        if actual is not None:
            if actual["metadata"].get("deletionTimestamp") or not is_owned(actual, service):
                return False
            state = (_fingerprint(desired), version(actual))
            if settled.get(key) == state or not self._differs(desired, actual):
                return False
        uid = actual["metadata"]["uid"] if actual else None
        try:
            live = await self._cluster.apply(desired, uid=uid, force=actual is not None)
        except RequestRefused as error:
            if error.status != INVALID or uid is None or "spec" not in desired:
                raise
            live = await self._restore(desired, uid)
        except Conflict:
            if actual is not None:
                await self._refresh(actual)
            raise
        self._cache.put(live)
        if actual is None or version(live) != version(actual):
            logger.info("%s/%s: %s %s %s", key[1], service["metadata"]["name"], _verb(actual), key[0], key[2])
        settled[key] = (_fingerprint(desired), version(live))
        return True

    async def _restore(self, desired: Object, uid: str) -> dict[str, Any]:
        """Restores a child that apply can't restore: if the key of a list item was changed manually (a port's number, a
        container's name), the changed and the desired item together may be invalid. This replaces whole lists, then
        gives up their ownership."""
        await self._cluster.replace_spec(desired, uid=uid, manager=RESTORER)
        live = await self._cluster.apply(desired, uid=uid)
        return await replicas.give_up(self._cluster, live, RESTORER)

    async def _find_unlabelled(self, service: Object, desired: Object) -> Object | None:
        """The live object of a name that is not in the cache: an owned object may have lost its labels."""
        key = object_key(desired)
        live = await self._cluster.get(kind_of(desired["apiVersion"], desired["kind"]), key[1], key[2])
        if live is None:
            self._settled.get(_service_key(service), {}).pop(key, None)
            return None
        if not is_owned(live, service):
            raise UnownedObjectError(live)
        self._cache.put(live)
        return live

    async def _resize(self, service: Object, wanted: Resize) -> bool:
        seen = self._cache.get(STATEFULSET.kind, wanted.namespace, wanted.name)
        if seen is None or seen["metadata"]["uid"] != wanted.uid or not is_owned(seen, service):
            return False
        try:
            self._cache.put(await self._cluster.resize(seen, wanted.replicas))
        except (Conflict, NotFound):
            await self._refresh(seen)
            raise
        logger.info("%s/%s: scaled to %d", wanted.namespace, wanted.name, wanted.replicas)
        return True

    async def _release(self, service: Object, release: Deletion, desired: Object | None) -> bool:
        """Deletes a StatefulSet without its pods. ``desired`` is kept until it has disappeared; see
        ``create_again``."""
        if not await self._delete(service, release, leaving_pods=True):
            return False
        if desired is not None and self._cache.get(release.kind, release.namespace, release.name) is not None:
            since = asyncio.get_running_loop().time()
            made = _Released(service["metadata"]["uid"], release, desired, since)
            self._released.setdefault(_service_key(service), {})[object_key(desired)] = made
        return True

    async def create_again(self, service: Object) -> float | None:
        """Creates released StatefulSets again if the old ones have disappeared. Returns the seconds until the next
        check, or None if there is nothing to wait for."""
        key, waiting = _service_key(service), list[float]()
        for name, made in list(self._released.get(key, {}).items()):
            live = await self._cluster.get(kind_of(made.release.api_version, made.release.kind), name[1], name[2])
            if made.service == service["metadata"]["uid"] and live is not None and _uid(live) == made.release.uid:
                waiting.append(asyncio.get_running_loop().time() - made.since)
                continue
            seen = self._cache.get(*name)
            if seen is not None and _uid(seen) == made.release.uid:
                self._cache.remove(seen)
            if made.service == service["metadata"]["uid"]:
                with contextlib.suppress(
                    UnownedObjectError, RequestRefused, NotFound
                ):  # the next plan fails in the same way, and the status reports it
                    await self._apply(service, made.desired)
            del self._released[key][name]
        if not waiting:
            self._released.pop(key, None)
        return RECHECK_SECONDS if any(seconds < RELEASE_SECONDS for seconds in waiting) else None

    def releases(self, service: Object) -> bool:
        """Whether a released StatefulSet of the service still exists, within RELEASE_SECONDS."""
        now = asyncio.get_running_loop().time()
        return any(
            now - made.since < RELEASE_SECONDS for made in self._released.get(_service_key(service), {}).values()
        )

    async def _delete(self, service: Object, deletion: Deletion, *, leaving_pods: bool = False) -> bool:
        kind = kind_of(deletion.api_version, deletion.kind)
        seen = self._cache.get(deletion.kind, deletion.namespace, deletion.name)
        if seen is None or seen["metadata"]["uid"] != deletion.uid:
            return False
        if seen["metadata"].get("deletionTimestamp") and not deletion.force:
            return False
        logger.info(
            "%s/%s: delete %s %s: %s",
            deletion.namespace,
            service["metadata"]["name"],
            deletion.kind,
            deletion.name,
            deletion.why,
        )
        try:
            leaving = await self._cluster.delete(
                kind, deletion.namespace, deletion.name, deletion.uid, orphan=leaving_pods, force=deletion.force
            )
        except Conflict:
            await self._refresh(seen)
            raise
        if leaving is None:
            self._cache.remove(seen)
        else:
            self._cache.put(leaving)
        return True

    async def _refresh(self, seen: Object) -> None:
        """Replaces an outdated object in the cache."""
        kind, meta = kind_of(seen["apiVersion"], seen["kind"]), seen["metadata"]
        live = await self._cluster.get(kind, meta["namespace"], meta["name"])
        if live is None or live["metadata"]["uid"] != meta["uid"]:
            self._cache.remove(seen)
        if live is not None:
            self._cache.put(live)


def _service_key(service: Object) -> ServiceKey:
    return service["metadata"]["namespace"], service["metadata"]["name"]


def _uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def _fingerprint(desired: Object) -> str:
    return str((desired["metadata"].get("annotations") or {}).get(names.APPLIED_ANNOTATION, ""))


def _verb(actual: Object | None) -> str:
    return "created" if actual is None else "changed"
