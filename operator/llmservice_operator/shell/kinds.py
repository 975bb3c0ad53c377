"""The kinds that the shell reads and writes, and where the API server has them."""

import dataclasses

from llmservice_operator.api import GROUP, KIND, PLURAL, VERSION
from llmservice_operator.render import names
from llmservice_operator.render.platform import Adapter

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
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
JOB = Kind("batch/v1", "Job", "jobs")
POD = Kind("v1", "Pod", "pods")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
VOLUME = Kind("v1", "PersistentVolume", "persistentvolumes", namespaced=False)
NODE = Kind("v1", "Node", "nodes", namespaced=False)
RESOURCE_QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
EVENT = Kind("events.k8s.io/v1", "Event", "events")
API_SERVICE = Kind("apiregistration.k8s.io/v1", "APIService", "apiservices", namespaced=False)
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
TOKEN_REVIEW = Kind("authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False)
ACCESS_REVIEW = Kind("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False)

HORIZONTAL_POD_AUTOSCALER = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
SCALED_OBJECT = Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")

CHILDREN = (STATEFULSET, SERVICE, CONFIGMAP, BUDGET, NETWORK_POLICY, JOB, POD, CLAIM, HORIZONTAL_POD_AUTOSCALER)
"""Kinds that are streamed by SELECTOR on every cluster."""


def children(adapter: Adapter) -> tuple[Kind, ...]:
    """Kinds that are streamed by SELECTOR."""
    return (*CHILDREN, SCALED_OBJECT) if adapter is Adapter.KEDA else CHILDREN


def watched(adapter: Adapter) -> tuple[Kind, ...]:
    """Kinds that are streamed."""
    return (LLMSERVICE, *children(adapter))


_STREAMED_OR_READ = (LLMSERVICE, *CHILDREN, SCALED_OBJECT, NODE, VOLUME, EVENT, API_SERVICE, ENDPOINT_SLICE)
_BY_NAME = {(kind.api_version, kind.kind): kind for kind in _STREAMED_OR_READ}


def kind_of(api_version: str, kind: str) -> Kind:
    """The kind by the names that an object carries. Raises KeyError for one that the operator has no business with."""
    return _BY_NAME[api_version, kind]
