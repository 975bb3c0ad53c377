"""Reasons of conditions, findings and Events, each in one CamelCase word. Users and alerts match on them: they are API.

Some are classes of others, by which decisions are made; the first of a group below is the class of those after it. The
class Crashed has the causes of ``llmservice_contract.causes`` as well, which are told by their names there.
"""

from llmservice_contract import causes
from llmservice_operator.scaling import gaps

# Accepted
ACCEPTED = "Accepted"
INVALID_SPEC = "InvalidSpec"
UNSUPPORTED_SOURCE = "UnsupportedSource"
INVALID_SETTING = "InvalidSetting"
TOO_LITTLE_MEMORY = "TooLittleMemory"
PLACEMENT_NOT_ALLOWED = "PlacementNotAllowed"
SOURCE_NOT_ALLOWED = "SourceNotAllowed"
STORE_NOT_ALLOWED = "StoreNotAllowed"
SERVICE_ACCOUNT_NOT_ALLOWED = "ServiceAccountNotAllowed"
NAME_TAKEN = "NameTaken"
WAITING_FOR_CLEANUP = "WaitingForCleanup"
INSPECTING_MODEL = "InspectingModel"
MODEL_UNREADABLE = "ModelUnreadable"
HEADS_NOT_DIVISIBLE = "HeadsNotDivisible"
TOO_FEW_LAYERS = "TooFewLayers"
QUANTIZATION_MISMATCH = "QuantizationMismatch"

# Fits, which has the reasons of memory.ledger as well
FITS = "Fits"
FITS_SOME_GPUS = "FitsSomeGPUs"
GPU_UNKNOWN = "GPUUnknown"
NOT_MODELLED = "NotModelled"
ESTIMATING = "Estimating"

# Scheduled
SCHEDULED = "Scheduled"
UNSCHEDULABLE = "Unschedulable"
NO_FREE_DEVICES = "NoFreeDevices"
NO_SUCH_DEVICE = "NoSuchDevice"
NODES_TOO_SMALL = "NodesTooSmall"
NO_FREE_HOST_RESOURCES = "NoFreeHostResources"
NO_MATCHING_NODES = "NoMatchingNodes"
NODES_TAINTED = "NodesTainted"
NODES_UNAVAILABLE = "NodesUnavailable"
VOLUME_NOT_READY = "VolumeNotReady"
CLAIM_MISSING = "ClaimMissing"
CLAIM_UNBOUND = "ClaimUnbound"
VOLUME_ELSEWHERE = "VolumeElsewhere"
AWAITING_SCHEDULER = "AwaitingScheduler"
SCHEDULING_GATED = "SchedulingGated"
GAVE_BACK = "GaveBack"
PODS_MISSING = "PodsMissing"
PODS_REFUSED = "PodsRefused"
QUOTA_EXCEEDED = "QuotaExceeded"
LIMIT_EXCEEDED = "LimitExceeded"
POD_SECURITY_DENIED = "PodSecurityDenied"
ADMISSION_DENIED = "AdmissionDenied"
ADMISSION_UNAVAILABLE = "AdmissionUnavailable"
PRIORITY_CLASS_MISSING = "PriorityClassMissing"
SERVICE_ACCOUNT_MISSING = "ServiceAccountMissing"

# Serving, and what keeps a pod from it
SERVING = "Serving"
PARTLY_READY = "PartlyReady"
SCALED_TO_ZERO = "ScaledToZero"
NOT_STARTED = "NotStarted"
STARTING = "Starting"
STOPPING = "Stopping"
LOADING = "Loading"
LOADING_TOO_LONG = "LoadingTooLong"
VOLUME_MOUNT_FAILED = "VolumeMountFailed"
SANDBOX_FAILED = "SandboxFailed"
IMAGE_PULL = "ImagePull"
IMAGE_NOT_FOUND = "ImageNotFound"
IMAGE_DENIED = "ImageDenied"
IMAGE_WRONG_PLATFORM = "ImageWrongPlatform"
IMAGE_NAME_INVALID = "ImageNameInvalid"
IMAGE_NEVER_PULLED = "ImageNeverPulled"
REGISTRY_UNREACHABLE = "RegistryUnreachable"
NODE_DISK_FULL = "NodeDiskFull"
CONTAINER_CONFIG = "ContainerConfig"
SECRET_MISSING = "SecretMissing"
SECRET_KEY_MISSING = "SecretKeyMissing"
CONFIG_MAP_MISSING = "ConfigMapMissing"
CRASHED = "Crashed"
KILLED = causes.KILLED.name
UNRESPONSIVE = "Unresponsive"
OOM_KILLED = causes.OOM_KILLED.name
POD_FAILED = "PodFailed"
EVICTED = "Evicted"
EVICTED_FOR_STORAGE = "EvictedForStorage"
EVICTED_FOR_MEMORY = "EvictedForMemory"
PREEMPTED = "Preempted"
DEVICE_UNHEALTHY = "DeviceUnhealthy"
NODE_OUT_OF_ROOM = "NodeOutOfRoom"
NODE_SHUTDOWN = "NodeShutdown"
NOT_READY = "NotReady"
NODE_LOST = "NodeLost"
RANKS_APART = causes.RANKS_APART.name

# RolledOut
ROLLED_OUT = "RolledOut"
UPDATING = "Updating"
PAUSED = "Paused"
ROLLED_BACK = "RolledBack"
ROLLOUT_FAILED = "RolloutFailed"
LEAST_CAPACITY = "LeastCapacity"

# ScalingActive
FOLLOWS_LATENCY = "FollowsLatency"
AT_MAXIMUM = "AtMaximum"
AWAITING_MEASUREMENT = "AwaitingMeasurement"
NO_ADAPTER = "NoAdapter"
SCALING_DISABLED = "ScalingDisabled"
MIN_REPLICAS_NOT_PLACEABLE = "MinReplicasNotPlaceable"
TARGET_UNREACHABLE = "TargetUnreachable"
AUTOSCALER_FAILS = "AutoscalerFails"
NO_PROMETHEUS = gaps.NO_PROMETHEUS
PROMETHEUS_UNREACHABLE = gaps.PROMETHEUS_UNREACHABLE
PROMETHEUS_TIMEOUT = gaps.PROMETHEUS_TIMEOUT
PROMETHEUS_REFUSED = gaps.PROMETHEUS_REFUSED
NO_SERIES = gaps.NO_SERIES
LABELS_MATCH_NO_POD = gaps.LABELS_MATCH_NO_POD
STALE_SERIES = gaps.STALE_SERIES
NOT_A_NUMBER = gaps.NOT_A_NUMBER
METRICS_INVALID = gaps.METRICS_INVALID
ADAPTER_UNAVAILABLE = gaps.ADAPTER_UNAVAILABLE
METRICS_API_TAKEN = gaps.METRICS_API_TAKEN

# Stalled
PLAN_OVER_BUDGET = "PlanOverBudget"
PLAN_FAILED = "PlanFailed"

# Ready
READY = "Ready"

PERSON_NEEDED = frozenset(
    {
        IMAGE_PULL,
        CONTAINER_CONFIG,
        CRASHED,
        OOM_KILLED,
        LOADING_TOO_LONG,
        VOLUME_NOT_READY,
        VOLUME_MOUNT_FAILED,
        NODES_TOO_SMALL,
        LIMIT_EXCEEDED,
        POD_SECURITY_DENIED,
        ADMISSION_DENIED,
        PRIORITY_CLASS_MISSING,
        SERVICE_ACCOUNT_MISSING,
        POD_FAILED,
        ROLLED_BACK,
        ROLLOUT_FAILED,
        PAUSED,
    }
)
"""Reasons, and classes of reasons, that seldom pass without a person: Stalled, not Reconciling."""

BROKEN = frozenset({IMAGE_PULL, CONTAINER_CONFIG, CRASHED, OOM_KILLED, LOADING_TOO_LONG, POD_FAILED})
"""Classes of problems with which a pod can't be expected to answer by itself."""

ENDED = frozenset({CRASHED, OOM_KILLED, LOADING_TOO_LONG, POD_FAILED})
"""Classes of problems of an engine that has ended, and is started again."""
