"""The kinds that the shell reads and writes, and where the API server has them."""

import dataclasses

from llmservice_operator.api import GROUP, KIND, PLURAL, VERSION
from llmservice_operator.render import names

SELECTOR = f"{names.MANAGED_BY_LABEL}={names.OPERATOR}"
"""Only children that carry this label are streamed."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of the Kubernetes API."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """Version inside the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Path of the collection, of one object or of its subresource; ``namespace`` None: the whole cluster."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return (
            root
            + inside
            + f"/{self.plural}"
            + (f"/{name}" if name else "")
            + (f"/{subresource}" if name else "").rstrip("/")
        )


LLMSERVICE = Kind(f"{GROUP}/{VERSION}", KIND, PLURAL)
STATEFULSET = Kind("apps/v1", "StatefulSet", "statefulsets")
SERVICE = Kind("v1", "Service", "services")
CONFIGMAP = Kind("v1", "ConfigMap", "configmaps")
BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
JOB = Kind("batch/v1", "Job", "jobs")
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
EVENT = Kind("events.k8s.io/v1", "Event", "events")

CHILDREN = (STATEFULSET, SERVICE, CONFIGMAP, BUDGET, JOB, POD)
"""Kinds that are streamed by SELECTOR."""
WATCHED = (LLMSERVICE, *CHILDREN)

_BY_NAME = {(kind.api_version, kind.kind): kind for kind in (*WATCHED, NODE, EVENT)}


def kind_of(api_version: str, kind: str) -> Kind:
    """The kind by the names that an object carries. Raises KeyError for one that the operator has no business with."""
    return _BY_NAME[api_version, kind]
