"""Every name that rendered objects carry: labels, annotations, children, volumes, devices.

A child's name follows from the service's name and, where the child may not change, from a hash of its content.
With a service's name of at most 50 characters each stays within the 63 of a label's value.
"""

import hashlib

APPLICATION = "llmservice"
OPERATOR = "llmservice-operator"

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"
PART_OF_LABEL = "app.kubernetes.io/part-of"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
REVISION_LABEL = "controller-revision-hash"
"""Set on pods by the StatefulSet controller: the revision that they were made from."""

APPLIED_ANNOTATION = "llmservice.dev/applied"
"""Hash of an object as it was last applied: shows the fields that are wanted no more."""

REFRESH_ANNOTATION = "llmservice.dev/refresh"
"""Set on a service by whoever changed a Secret of it, to any new value: its pods then look at once."""
ACCESS_ANNOTATION = "llmservice.dev/access"
"""Set on a pod: hash of the newest access policy that it was told of."""

ROLLOUT_ANNOTATION = "llmservice.dev/rollout"
"""Set on the StatefulSet: what a change of its pods has to remember, as JSON."""

LAST_GOOD_ANNOTATION = "llmservice.dev/last-good"
"""Set on the StatefulSet while its pods change: the template that all replicas were ready with before, as JSON."""

UPGRADE_ANNOTATION = "llmservice.dev/upgrade"
"""Set on a service by whoever agrees to a change of its pods that is none of the spec's: the digest of that change."""

GROUP_GATE = "llmservice.dev/group"
"""Scheduling gate of the pods of a replica on several nodes: taken away once there is room for all of them."""
ADMITTED_ANNOTATION = "llmservice.dev/admitted"
"""Set on such a pod as its gate is taken away: when that was."""
NODES_LABEL = "llmservice.dev/nodes-per-replica"
"""Of such a pod: how many its replica consists of."""
RANK_LABEL = "llmservice.dev/rank"
"""Of such a pod: which one it is. Rank 0 answers requests."""
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
"""Set on pods by the StatefulSet controller: the replica's number."""
ZONE_LABEL = "topology.kubernetes.io/zone"

ENGINE_COMPONENT = "engine"
RANK_COMPONENT = "engine-rank"
"""Of the pods of ranks above 0, which answer no requests: what chooses engines does not choose them."""
INSPECTION_COMPONENT = "model-inspection"
INSPECTION_CONTAINER = "inspection"

MODEL_VOLUME = "model"
CACHE_VOLUME = "cache"
SHARED_MEMORY_VOLUME = "shared-memory"
SCRATCH_VOLUME = "scratch"
ACCESS_VOLUME = "access"
KEYS_VOLUME = "keys"
STORE_VOLUME = "store-credentials"
GROUP_SECRET_VOLUME = "group-secret"
CACHE_PATH = "/cache"

NVIDIA_GPU = "nvidia.com/gpu"
AMD_GPU = "amd.com/gpu"
NVIDIA_PRODUCT_LABEL = "nvidia.com/gpu.product"
AMD_PRODUCT_LABEL = "amd.com/gpu.product-name"

SCRAPE_ANNOTATION = "prometheus.io/scrape"
SCRAPE_PORT_ANNOTATION = "prometheus.io/port"
SCRAPE_PATH_ANNOTATION = "prometheus.io/path"

CLIENT_PORT = 80
LONGEST_SERVICE_NAME = 50
LONGEST_SERVICE_NAME_ON_NODES = 48


def labels(service: str, component: str) -> dict[str, str]:
    """Labels of a child of ``service``."""
    return {
        **selector(service, component),
        PART_OF_LABEL: APPLICATION,
        MANAGED_BY_LABEL: OPERATOR,
    }


def selector(service: str, component: str) -> dict[str, str]:
    """Labels that choose the pods of one component of ``service``."""
    return {**of_service(service), COMPONENT_LABEL: component}


def of_service(service: str) -> dict[str, str]:
    """Labels that choose all that belongs to ``service``."""
    return {NAME_LABEL: APPLICATION, INSTANCE_LABEL: service}


def engine_statefulset(service: str, rank: int = 0) -> str:
    """The StatefulSet whose pods run the engine, or a rank above 0 of it."""
    return f"{service}-r{rank}" if rank else service


def rank_of_statefulset(service: str, name: str) -> int:
    """The rank whose StatefulSet has that name; -1 for any other name."""
    if name == service:
        return 0
    head, _, number = name.rpartition("-r")
    return int(number) if head == service and number.isdecimal() and number[0] != "0" else -1


def component_of_rank(rank: int) -> str:
    """The component that a rank's pods are."""
    return RANK_COMPONENT if rank else ENGINE_COMPONENT


def client_service(service: str) -> str:
    """The Service that clients address."""
    return service


def headless_service(service: str) -> str:
    """The Service that gives each pod a name of its own."""
    return f"{service}-headless"


def disruption_budget(service: str) -> str:
    """The PodDisruptionBudget."""
    return service


def network_policy(service: str, replica: int | None = None) -> str:
    """The NetworkPolicy, or that of one replica on several nodes. No service's name has a dot, and hardly a policy that
    a team has made for its service before."""
    return f"{service}.service" if replica is None else f"{service}.replica-{replica}"


def autoscaler(service: str) -> str:
    """The HorizontalPodAutoscaler, or the ScaledObject."""
    return service


def environment(service: str, content: str) -> str:
    """The ConfigMap with the engine's environment; another ``content`` has another name."""
    return f"{service}-{_digest(content, 10)}"


def access(service: str, secrets: str) -> str:
    """The ConfigMap with the access policy; another one where pods mount other ``secrets``, empty for none."""
    return f"{service}-access" + (f"-{_digest(secrets, 5)}" if secrets else "")


def inspection(service: str, content: str) -> str:
    """The Job that reads the model's configuration; another ``content`` has another name."""
    return f"{service[:46]}-inspect-{_digest(service + content, 8)}"


def digest(content: str) -> str:
    """A short hash of ``content``, for annotations."""
    return _digest(content, 10)


def _digest(content: str, length: int) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:length]
