"""An absent ``spec.replicas`` is set by the operator, which then gives the field up.

Were the operator to stay its owner, the first `kubectl apply --server-side` with another number would be refused as a
conflict with it. Setting and giving up are two writes; a crash between them leaves a mark (see ``trim``) by which the
next look finishes the work.
"""

from typing import Any

from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import Conflict, RequestRefused
from llmservice_operator.controller.client.trim import REPLICAS_MANAGER
from llmservice_operator.planner.model.observed import Object


def is_owned(service: Object) -> bool:
    """Whether the operator still owns the field."""
    return any(entry.get("manager") == REPLICAS_MANAGER for entry in service["metadata"].get("managedFields") or ())


async def set_replicas(cluster: Cluster, service: Object, count: int) -> dict[str, Any]:
    """Set ``spec.replicas`` if it is absent. Raises Conflict if another client just set it."""
    meta = service["metadata"]
    desired = {
        "apiVersion": service["apiVersion"],
        "kind": service["kind"],
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "spec": {"replicas": count},
    }
    return await cluster.apply(desired, uid=meta["uid"], force=False, manager=REPLICAS_MANAGER)


async def give_up(cluster: Cluster, obj: Object, manager: str = REPLICAS_MANAGER) -> dict[str, Any]:
    """Give up what ``manager`` owns; the values stay. ``obj`` is a version with all its managedFields.

    Raises Conflict where the owners changed meanwhile.
    """
    entries = obj["metadata"].get("managedFields") or ()
    operations: list[dict[str, Any]] = []
    for position in reversed(range(len(entries))):
        if entries[position].get("manager") == manager:
            path = f"/metadata/managedFields/{position}"
            operations += [
                {"op": "test", "path": f"{path}/manager", "value": manager},
                {"op": "remove", "path": path},
            ]
    if not operations:
        return dict(obj)
    try:
        return await cluster.patch_json(obj, operations)
    except RequestRefused as error:
        raise Conflict(error.message, status=error.status, what=error.what) from error
