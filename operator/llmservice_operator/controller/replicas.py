"""Sets an absent ``spec.replicas`` and gives up the ownership of the field.

If the operator stayed its owner, the first `kubectl apply --server-side` with another count would fail with a conflict.
These are two writes. A crash between them leaves a managedFields entry (see ``trim``), by which the next reconciliation
finishes the work.
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
    """Sets ``spec.replicas`` if it is absent. Raises Conflict if another client has just set it."""
    meta = service["metadata"]
    desired = {
        "apiVersion": service["apiVersion"],
        "kind": service["kind"],
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "spec": {"replicas": count},
    }
    return await cluster.apply(desired, uid=meta["uid"], force=False, manager=REPLICAS_MANAGER)


async def give_up(cluster: Cluster, obj: Object, manager: str = REPLICAS_MANAGER) -> dict[str, Any]:
    """Gives up the fields that ``manager`` owns; their values stay. ``obj`` must have all its managedFields.

    Raises Conflict if the owners have changed meanwhile.
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
