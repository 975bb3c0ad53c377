"""What a namespace looks like to a user, without what differs between two runs that went the same way.

Two runs of one workload must end in equal snapshots, whatever happened on the way.
"""

import copy
import difflib
from typing import Any

import yaml

from llmservice_operator.resources import kinds
from llmservice_operator.resources.names import ACCESS_ANNOTATION, REFRESH_ANNOTATION
from llmservice_operator.resources.platform import Adapter
from support.cluster import Cluster

KINDS = kinds.watched(Adapter.OWN)
"""The service and all that it can have."""

Snapshot = dict[str, Any]

_PER_OBJECT = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "namespace"}
_PER_RUN = {"uid", "lastTransitionTime", "clusterIP", "clusterIPs", "observedGeneration", "llmservice.dev/applied"}
_NOT_OURS = {"kube-root-ca.crt"}


def take(cluster: Cluster, namespace: str) -> Snapshot:
    """The namespace as it is now, by "kind name"."""
    found: Snapshot = {}
    for kind in KINDS:
        for each in cluster.request("GET", kind.path(namespace)).body.get("items") or ():  # an older server lacks some
            name = each["metadata"]["name"]
            if name not in _NOT_OURS:
                found[f"{kind.kind} {name}"] = _normal(kind.kind, each, namespace)
    return found


def _normal(kind: str, obj: dict[str, Any], namespace: str) -> dict[str, Any]:
    """One object without its identity and its times."""
    meta, status = obj["metadata"], obj.get("status", {})
    kept: dict[str, Any] = {
        "managers": sorted({f"{each['manager']} {each['operation']}" for each in meta.get("managedFields", ())}),
        "metadata": {key: value for key, value in meta.items() if key not in _PER_OBJECT},
        **{key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")},
    }
    match kind:
        case "LLMService":
            kept["status"] = status
            kept["current"] = status.get("observedGeneration") == meta["generation"]
        case "StatefulSet":
            kept["status"] = {key: status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas")}
            kept["current"] = status.get("observedGeneration") == meta["generation"]
        case "Pod":
            ready = [each["status"] for each in status.get("conditions", []) if each["type"] == "Ready"]
            containers = [
                {key: each.get(key) for key in ("name", "image", "envFrom")} for each in obj["spec"]["containers"]
            ]
            noted = meta.get("annotations", {})
            reported = {key: noted[key] for key in (REFRESH_ANNOTATION, ACCESS_ANNOTATION) if key in noted}
            kept = {
                "containers": containers,
                "ready": ready,
                "leaving": "deletionTimestamp" in meta,
                "reported": reported,
            }
    return _plain(copy.deepcopy(kept), namespace)  # type: ignore[no-any-return]


def _plain(value: Any, namespace: str) -> Any:
    """Without what each run has of its own, and with the namespace's name taken out of every text."""
    if isinstance(value, dict):
        return {key: _plain(below, namespace) for key, below in value.items() if key not in _PER_RUN}
    if isinstance(value, list):
        return [_plain(each, namespace) for each in value]
    return value.replace(namespace, "NAMESPACE") if isinstance(value, str) else value


def difference(wanted: Snapshot, found: Snapshot) -> str:
    """What differs, as a person reads it; empty if nothing does."""
    if wanted == found:
        return ""
    texts = [yaml.safe_dump(each, sort_keys=True).splitlines() for each in (wanted, found)]
    return "\n".join(difflib.unified_diff(*texts, "undisturbed", "disturbed", lineterm="", n=4))
