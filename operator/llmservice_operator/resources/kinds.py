"""The only list of all kinds of objects that the operator reads or writes.

Which kinds are watched, pruned, compared and shown, and the rules of the chart's roles and admission policies, follow
from these rows. A new kind of child needs a row here, a field of ``resources.children.Children``, and a ``make_``
function.
"""

import dataclasses
from collections.abc import Mapping

from llmservice_operator.api import (
    CLUSTER_MODEL_KIND,
    CLUSTER_MODEL_PLURAL,
    GROUP,
    KIND,
    MODEL_KIND,
    MODEL_PLURAL,
    PLURAL,
    VERSION,
)
from llmservice_operator.autoscaling.external_metrics import Adapter
from llmservice_operator.resources import names

SELECTOR = f"{names.MANAGED_BY_LABEL}={names.OPERATOR}"
"""Only children with this label are watched."""

READ = ("get", "list", "watch")
WRITE = ("create", "patch", "delete")


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of the Kubernetes API, and how the operator uses it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True
    verbs: tuple[str, ...] = ()
    """Everything that the operator may do with objects of this kind: the chart grants exactly these verbs."""
    verbs_by_values: bool = False
    """Whether the chart grants some verbs only with certain values: ``_rbac.tpl`` has the rule. The rules of other
    children are generated."""
    child: bool = False
    """Whether objects of this kind belong to services. They are watched with SELECTOR."""
    adapter: Adapter | None = None
    """The only adapter with which the kind is watched, because the cluster may not have the kind otherwise."""
    gateway_api: bool = False
    """Whether the kind is watched only if services are attached to Gateways (the chart value gateway.type)."""
    optional: bool = False
    """Whether some API servers do not have the kind. There the operator does not watch it."""
    pruned: bool = False
    """Whether children of this kind are deleted when they are no longer desired. Other kinds have their own rules."""
    shown: bool = False
    """Whether `kubectl llm plan` shows changes of children of this kind."""
    atomic_fields: frozenset[str] = frozenset()
    """Fields, at any depth, that have one owner: an additional item or key is a change."""
    list_keys: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)
    """Names of lists, with the fields of their items by which the API server merges them. Those of pods apply to pod
    templates too."""

    @property
    def selector(self) -> str:
        """Label selector of the objects that are watched; empty for all."""
        return SELECTOR if self.child else ""

    @property
    def group(self) -> str:
        """API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """Version in the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def root(self) -> str:
        """Path of the API."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    @property
    def header(self) -> dict[str, str]:
        """``apiVersion`` and ``kind`` of an object."""
        return {"apiVersion": self.api_version, "kind": self.kind}

    @property
    def rendered(self) -> bool:
        """Whether the operator applies children of this kind."""
        return self.child and set(WRITE) <= set(self.verbs)

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Path of the collection, of one object or of its subresource. Without ``namespace``: the whole cluster."""
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        below = "/".join(part for part in (self.plural, name, subresource if name else "") if part)
        return f"{self.root}{inside}/{below}"


LLMSERVICE = Kind(f"{GROUP}/{VERSION}", KIND, PLURAL, verbs=(*READ, "patch"))
LLM_MODEL = Kind(f"{GROUP}/{VERSION}", MODEL_KIND, MODEL_PLURAL, verbs=READ, optional=True)
CLUSTER_LLM_MODEL = Kind(
    f"{GROUP}/{VERSION}", CLUSTER_MODEL_KIND, CLUSTER_MODEL_PLURAL, namespaced=False, verbs=READ, optional=True
)
CATALOGUE = (LLM_MODEL, CLUSTER_LLM_MODEL)
"""The kinds of models that services name in ``spec.model.ref``."""

STATEFULSET = Kind("apps/v1", "StatefulSet", "statefulsets", verbs=(*READ, *WRITE), child=True, pruned=True, shown=True)
CONFIGMAP = Kind("v1", "ConfigMap", "configmaps", verbs=(*READ, *WRITE), child=True, pruned=True, shown=True)
SERVICE = Kind(
    "v1",
    "Service",
    "services",
    verbs=(*READ, *WRITE),
    child=True,
    pruned=True,
    shown=True,
    list_keys={"ports": ("port", "protocol")},
)
BUDGET = Kind(
    "policy/v1",
    "PodDisruptionBudget",
    "poddisruptionbudgets",
    verbs=(*READ, *WRITE),
    child=True,
    pruned=True,
    shown=True,
)
NETWORK_POLICY = Kind(
    "networking.k8s.io/v1",
    "NetworkPolicy",
    "networkpolicies",
    verbs=(*READ, *WRITE),
    verbs_by_values=True,
    child=True,
    pruned=True,
    shown=True,
    atomic_fields=frozenset({"ingress", "egress", "podSelector"}),  # an additional peer or port would allow more
)
HORIZONTAL_POD_AUTOSCALER = Kind(
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    verbs=(*READ, *WRITE),
    verbs_by_values=True,
    child=True,
    pruned=True,
    shown=True,
)
SCALED_OBJECT = Kind(
    "keda.sh/v1alpha1",
    "ScaledObject",
    "scaledobjects",
    verbs=(*READ, *WRITE),
    verbs_by_values=True,
    child=True,
    adapter=Adapter.KEDA,
    pruned=True,
    shown=True,
)
RESOURCE_CLAIM_TEMPLATE = Kind(
    "resource.k8s.io/v1",
    "ResourceClaimTemplate",
    "resourceclaimtemplates",
    verbs=(*READ, *WRITE),
    child=True,
    optional=True,
    pruned=True,
    shown=True,
)
HTTP_ROUTE = Kind(
    "gateway.networking.k8s.io/v1",
    "HTTPRoute",
    "httproutes",
    verbs=(*READ, *WRITE),
    verbs_by_values=True,
    child=True,
    gateway_api=True,
    optional=True,
    pruned=True,
    shown=True,
    # With another match, filter or backend it would serve other requests, or send them elsewhere too.
    atomic_fields=frozenset({"parentRefs", "hostnames", "rules"}),
)
INFERENCE_POOL = Kind(
    "inference.networking.k8s.io/v1",
    "InferencePool",
    "inferencepools",
    verbs=(*READ, *WRITE),
    verbs_by_values=True,
    child=True,
    gateway_api=True,
    optional=True,
    pruned=True,
    shown=True,
    atomic_fields=frozenset({"targetPorts", "endpointPickerRef"}),
)
JOB = Kind("batch/v1", "Job", "jobs", verbs=(*READ, *WRITE), child=True)
POD = Kind(
    "v1",
    "Pod",
    "pods",
    verbs=(*READ, "patch", "delete"),
    child=True,
    list_keys={
        "containers": ("name",),
        "env": ("name",),
        "volumes": ("name",),
        "volumeMounts": ("mountPath",),
        "imagePullSecrets": ("name",),
        "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
        "ports": ("containerPort", "protocol"),
        "resourceClaims": ("name",),
        "claims": ("name",),
    },
)
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", verbs=(*READ, "delete"), child=True)

VOLUME = Kind("v1", "PersistentVolume", "persistentvolumes", namespaced=False, verbs=("get",))
RESOURCE_SLICE = Kind(
    "resource.k8s.io/v1", "ResourceSlice", "resourceslices", namespaced=False, verbs=("list",), optional=True
)
RESOURCE_CLAIM = Kind("resource.k8s.io/v1", "ResourceClaim", "resourceclaims", verbs=("list",), optional=True)
DEVICE_CLASS = Kind(
    "resource.k8s.io/v1", "DeviceClass", "deviceclasses", namespaced=False, verbs=("list",), optional=True
)
NODE = Kind("v1", "Node", "nodes", namespaced=False, verbs=("list",))
RESOURCE_QUOTA = Kind("v1", "ResourceQuota", "resourcequotas", verbs=("list",))
EVENT = Kind("events.k8s.io/v1", "Event", "events", verbs=("list", "create"))
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases", verbs=("get", "create", "update"))
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", verbs=("get", "create", "patch"))
ENDPOINTS = Kind("v1", "Endpoints", "endpoints", verbs=("get", "create", "patch"))
API_SERVICE = Kind("apiregistration.k8s.io/v1", "APIService", "apiservices", namespaced=False, verbs=("get", "patch"))
TOKEN_REVIEW = Kind("authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False, verbs=("create",))
ACCESS_REVIEW = Kind(
    "authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False, verbs=("create",)
)

TABLE = (
    LLMSERVICE,
    *CATALOGUE,
    STATEFULSET,
    CONFIGMAP,
    SERVICE,
    BUDGET,
    NETWORK_POLICY,
    HORIZONTAL_POD_AUTOSCALER,
    SCALED_OBJECT,
    RESOURCE_CLAIM_TEMPLATE,
    INFERENCE_POOL,
    HTTP_ROUTE,
    JOB,
    POD,
    CLAIM,
    VOLUME,
    NODE,
    RESOURCE_SLICE,
    RESOURCE_CLAIM,
    DEVICE_CLASS,
    RESOURCE_QUOTA,
    EVENT,
    LEASE,
    ENDPOINT_SLICE,
    ENDPOINTS,
    API_SERVICE,
    TOKEN_REVIEW,
    ACCESS_REVIEW,
)
"""All kinds. `kubectl llm plan` shows children in this order."""

CHILDREN = tuple(kind for kind in TABLE if kind.child)
PRUNED = tuple(kind.kind for kind in TABLE if kind.pruned)
SHOWN = tuple(kind.kind for kind in TABLE if kind.shown)

_BY_NAME = {(kind.api_version, kind.kind): kind for kind in TABLE}
_BY_KIND = {kind.kind: kind for kind in TABLE}


def children(adapter: Adapter, *, gateway_api: bool = False) -> tuple[Kind, ...]:
    """Kinds that are watched with SELECTOR. ``gateway_api``: whether services are attached to Gateways."""
    return tuple(kind for kind in CHILDREN if kind.adapter in (None, adapter) and (gateway_api or not kind.gateway_api))


def watched(adapter: Adapter, *, gateway_api: bool = False, whole_cluster: bool = True) -> tuple[Kind, ...]:
    """Kinds that are watched; without ``whole_cluster`` those with objects in namespaces."""
    found = (LLMSERVICE, *CATALOGUE, *children(adapter, gateway_api=gateway_api))
    return tuple(kind for kind in found if kind.namespaced or whole_cluster)


def kind_of(api_version: str, kind: str) -> Kind:
    """The kind with that apiVersion and kind. Raises KeyError if it is not in the table."""
    return _BY_NAME[api_version, kind]


def named(kind: str) -> Kind:
    """The kind with that name. Raises KeyError if it is not in the table."""
    return _BY_KIND[kind]
