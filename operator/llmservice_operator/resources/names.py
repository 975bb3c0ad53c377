"""Names in rendered objects: labels, annotations, children, volumes, devices.

A child's name consists of the service's name and, if the child is immutable, a hash of its content. If the service's
name has at most 50 characters, each name has at most 63, the maximum of a label value.
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
"""Set on pods by the StatefulSet controller: their revision."""

APPLIED_ANNOTATION = "llmservice.dev/applied"
"""Hash of an object as it was last applied. It shows that fields were removed."""

REFRESH_ANNOTATION = "llmservice.dev/refresh"
"""Set on a service to any new value after a change of one of its Secrets: its pods then reload it at once."""
DEVICE_CLASS_ANNOTATION = "llmservice.dev/device-class"
"""Set on a pod that claims devices: their DeviceClass."""
DEVICE_COUNT_ANNOTATION = "llmservice.dev/devices"
"""Set on such a pod: their number."""

ACCESS_ANNOTATION = "llmservice.dev/access"
"""Set on a pod: hash of the newest access policy, which makes the kubelet update the mounted policy."""

ROLLOUT_ANNOTATION = "llmservice.dev/rollout"
"""Set on the StatefulSet: the stored state of a rollout, as JSON."""

LAST_GOOD_ANNOTATION = "llmservice.dev/last-good"
"""Set on the StatefulSet during a rollout: the template with which all replicas were ready before, as JSON."""

IMMUTABLE_ANNOTATION = "llmservice.dev/immutable"
"""Set on StatefulSets: digest of the desired values of their immutable fields when they were created."""

UPGRADE_ANNOTATION = "llmservice.dev/upgrade"
"""Set on a service to approve a change of its pods that does not come from the spec: the digest of the change."""

GROUP_GATE = "llmservice.dev/group"
"""Scheduling gate of the pods of a multi-node replica. It is removed once there is room for all of them."""
ADMITTED_ANNOTATION = "llmservice.dev/admitted"
"""Set on such a pod when its gate is removed: the time of the removal."""
NODES_LABEL = "llmservice.dev/nodes-per-replica"
"""Set on such a pod: the number of pods of its replica."""
RANK_LABEL = "llmservice.dev/rank"
"""Set on such a pod: its rank. Rank 0 answers requests."""
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
"""Set on pods by the StatefulSet controller: the replica's number."""
ZONE_LABEL = "topology.kubernetes.io/zone"

ENGINE_COMPONENT = "engine"
RANK_COMPONENT = "engine-rank"
"""Component of worker pods, which do not answer requests, so that selectors of engines do not match them."""
INSPECTION_COMPONENT = "model-inspection"
INSPECTION_CONTAINER = "inspection"

PLATFORM_CA_VOLUME = "platform-ca"
MODEL_VOLUME = "model"
CACHE_VOLUME = "cache"
SHARED_MEMORY_VOLUME = "shared-memory"
SCRATCH_VOLUME = "scratch"
ACCESS_VOLUME = "access"
ADAPTERS_VOLUME = "adapters"
KEYS_VOLUME = "keys"
STORE_VOLUME = "store-credentials"
CHAT_TEMPLATE_VOLUME = "chat-template"
GROUP_SECRET_VOLUME = "group-secret"
CACHE_PATH = "/cache"

DEVICE_CLAIM = "devices"
"""Name of a pod's claim of devices, and of the only request in it."""
DEVICE_CLASS_RESOURCE = "deviceclass.resource.kubernetes.io/"
"""Prefix of the extended resource by which Kubernetes names the devices of a DeviceClass."""

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
    """Labels that select the pods of one component of ``service``."""
    return {**of_service(service), COMPONENT_LABEL: component}


def of_service(service: str) -> dict[str, str]:
    """Labels that select all objects of ``service``."""
    return {NAME_LABEL: APPLICATION, INSTANCE_LABEL: service}


def engine_statefulset(service: str, rank: int = 0) -> str:
    """The StatefulSet of the engine pods of one rank."""
    return f"{service}-r{rank}" if rank else service


def rank_of_statefulset(service: str, name: str) -> int:
    """The rank whose StatefulSet has that name; -1 for any other name."""
    if name == service:
        return 0
    head, _, number = name.rpartition("-r")
    return int(number) if head == service and number.isdecimal() and number[0] != "0" else -1


def component_of_rank(rank: int) -> str:
    """The component of a rank's pods."""
    return RANK_COMPONENT if rank else ENGINE_COMPONENT


def client_service(service: str) -> str:
    """The Service for clients."""
    return service


def headless_service(service: str) -> str:
    """The Service for the DNS names of the pods."""
    return f"{service}-headless"


def disruption_budget(service: str) -> str:
    """The PodDisruptionBudget."""
    return service


def network_policy(service: str, replica: int | None = None) -> str:
    """The NetworkPolicy of the service, or of one multi-node replica. The dot avoids conflicts: a service's name has
    none, and a policy that a team has made for the service hardly has this form."""
    return f"{service}.service" if replica is None else f"{service}.replica-{replica}"


def http_route(service: str) -> str:
    """The HTTPRoute. The dot avoids conflicts: a route that a team has made for the service hardly has this form."""
    return f"{service}.service"


def inference_pool(service: str) -> str:
    """The InferencePool, by which the endpoint picker finds it. Gateways make Services from its name, which have no
    dot."""
    return service


def autoscaler(service: str) -> str:
    """The HorizontalPodAutoscaler or ScaledObject."""
    return service


def environment(service: str, content: str) -> str:
    """The ConfigMap with the engine's environment. Its name includes a hash of ``content``."""
    return f"{service}-{_digest(content, 10)}"


def device_claim_template(service: str, content: str) -> str:
    """The ResourceClaimTemplate. Its name includes a hash of ``content``."""
    return f"{service}-{_digest(content, 10)}"


def access(service: str, secrets: str) -> str:
    """The ConfigMap with the access policy. Its name depends on the ``secrets`` that pods mount, empty for none."""
    return f"{service}-access" + (f"-{_digest(secrets, 5)}" if secrets else "")


def adapters(service: str) -> str:
    """The ConfigMap with the list of LoRA adapters."""
    return f"{service}-adapters"


def platform_ca(service: str) -> str:
    """The ConfigMap with the platform's private CAs."""
    return f"{service}-platform-ca"


def inspection(service: str, content: str) -> str:
    """The inspection Job. Its name includes a hash of ``content``."""
    return f"{service[:46]}-inspect-{_digest(service + content, 8)}"


def digest(content: str) -> str:
    """A short hash of ``content``, for annotations."""
    return _digest(content, 10)


def _digest(content: str, length: int) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:length]
