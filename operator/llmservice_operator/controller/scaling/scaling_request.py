"""The scaling settings of one service and its replicas, from its objects in the cache."""

import copy
import dataclasses
from typing import Any

import pydantic

from llmservice_operator.api.scaling import Scaling
from llmservice_operator.autoscaling.algorithm import ReplicaCounts
from llmservice_operator.autoscaling.algorithms import DEFAULT, Algorithm
from llmservice_operator.autoscaling.latency import Target
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.planner.model import replicas_owner
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import STATEFULSET


@dataclasses.dataclass(frozen=True)
class ScalingRequest:
    """The scaling settings in one version of a service's spec."""

    uid: str
    generation: int
    scaling: Scaling | None
    targets: tuple[Target, ...] = ()

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm of the service."""
        return (self.scaling.algorithm if self.scaling is not None else None) or DEFAULT


def request_of(service: Object) -> ScalingRequest:
    """The scaling settings in the spec; none if the spec is invalid, which the condition Accepted reports. Unknown
    fields of a later version are ignored, so that the service is still scaled after a downgrade."""
    meta = service["metadata"]
    raw = (service.get("spec") or {}).get("scaling")
    try:
        scaling = _known(raw) if raw is not None else None
    except pydantic.ValidationError:
        scaling = None
    return ScalingRequest(meta["uid"], meta.get("generation", 0), scaling, scaling.targets.all() if scaling else ())


def _known(raw: Any) -> Scaling | None:
    """The settings without unknown fields; None if no target is left. Raises ValidationError for any other error."""
    try:
        return Scaling.model_validate(raw)
    except pydantic.ValidationError as error:
        unknown = [detail["loc"] for detail in error.errors() if detail["type"] == "extra_forbidden"]
        if len(unknown) != error.error_count():
            raise
    known = copy.deepcopy(raw)
    for *path, last in unknown:
        inside = known
        for part in path:
            inside = inside[part]
        del inside[last]
    scaling = Scaling.model_validate(known)
    return scaling if scaling.targets.all() else None


def replicas_of(
    cache: Cache, key: ServiceKey, service: Object, scaling: Scaling | None = None, zero_counts: bool = True
) -> ReplicaCounts:
    """The current replica counts of a service. A count in a manifest is not a request, as in the planner: ``scaling``
    and ``zero_counts`` have the same meaning there."""
    statefulset = cache.get(STATEFULSET.kind, key[0], names.engine_statefulset(key[1])) or {}
    status = statefulset.get("status") or {}
    wanted = (service.get("spec") or {}).get("replicas")
    record = Record.of(statefulset) if statefulset else None
    running = (statefulset.get("spec") or {}).get("replicas", 1) - (record.surge if record is not None else 0)
    if scaling is not None and statefulset and replicas_owner.manifest_owner(service) is not None:
        least, most = scaling.min_replicas, scaling.max_replicas
        wanted = replicas_owner.followed(wanted, running, least, most, zero_counts)
    return ReplicaCounts(
        desired=running if wanted is None else wanted,
        existing=int((service.get("status") or {}).get("replicas") or 0),
        ready=int(status.get("readyReplicas") or 0),
    )
