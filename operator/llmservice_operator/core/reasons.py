"""Reasons of conditions and Events, each in one CamelCase word. Users and alerts match on them: they are API."""

from llmservice_operator.scaling import gaps

# Accepted
ACCEPTED = "Accepted"
INVALID_SPEC = "InvalidSpec"
UNSUPPORTED_SOURCE = "UnsupportedSource"
INVALID_SETTING = "InvalidSetting"
TOO_LITTLE_MEMORY = "TooLittleMemory"
NAME_TAKEN = "NameTaken"
WAITING_FOR_CLEANUP = "WaitingForCleanup"
INSPECTING_MODEL = "InspectingModel"
MODEL_UNREADABLE = "ModelUnreadable"
HEADS_NOT_DIVISIBLE = "HeadsNotDivisible"
TOO_FEW_LAYERS = "TooFewLayers"
QUANTIZATION_MISMATCH = "QuantizationMismatch"

# Scheduled
SCHEDULED = "Scheduled"
UNSCHEDULABLE = "Unschedulable"
VOLUME_NOT_READY = "VolumeNotReady"
AWAITING_SCHEDULER = "AwaitingScheduler"
SCHEDULING_GATED = "SchedulingGated"
GAVE_BACK = "GaveBack"
PODS_MISSING = "PodsMissing"

# Serving, and what keeps a pod from it
SERVING = "Serving"
PARTLY_READY = "PartlyReady"
SCALED_TO_ZERO = "ScaledToZero"
NOT_STARTED = "NotStarted"
STARTING = "Starting"
STOPPING = "Stopping"
LOADING = "Loading"
LOADING_TOO_LONG = "LoadingTooLong"
IMAGE_PULL = "ImagePull"
CONTAINER_CONFIG = "ContainerConfig"
CRASHED = "Crashed"
OOM_KILLED = "OOMKilled"
POD_FAILED = "PodFailed"
NOT_READY = "NotReady"

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
ADAPTER_UNAVAILABLE = gaps.ADAPTER_UNAVAILABLE
METRICS_API_TAKEN = gaps.METRICS_API_TAKEN

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
        POD_FAILED,
        ROLLED_BACK,
        ROLLOUT_FAILED,
        PAUSED,
    }
)
"""Reasons that seldom pass without a person: Stalled, not Reconciling."""

BROKEN = frozenset({IMAGE_PULL, CONTAINER_CONFIG, CRASHED, OOM_KILLED, LOADING_TOO_LONG, POD_FAILED})
"""Problems with which a pod can't be expected to answer by itself."""
