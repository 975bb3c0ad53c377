"""Every reason of conditions, findings and Events, and what the operator does about each: one row per reason.

Reasons are API: users and alerts match on their names. A row states facts, and code asks for those facts
(``reasons.of(name)``) instead of keeping sets of reasons of its own. docs/reference/reasons.md is printed from it.

A reason that names a cause more exactly than another reason has the other one as its category. Decisions depend on the
category of a pod's problem; people read the reason.
"""

import dataclasses
import enum
from types import MappingProxyType

from llmservice_contract import causes
from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.gpu_memory.ledger import Reason as Estimate


class ConditionType(enum.StrEnum):
    """The conditions of a service that code asks for by name."""

    READY = "Ready"
    ACCEPTED = "Accepted"
    FITS = "Fits"
    SCHEDULED = "Scheduled"
    SERVING = "Serving"
    ROLLED_OUT = "RolledOut"
    SCALING_ACTIVE = "ScalingActive"
    ROUTED = "Routed"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class EventType(enum.StrEnum):
    """The type of the Event that is recorded when a service becomes not ready for a reason."""

    NONE = "None"
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclasses.dataclass(frozen=True)
class Reason:
    """One row of the table."""

    name: str
    conditions: tuple[str, ...] = ()
    """The conditions that can have it. Ready, Reconciling and Stalled repeat the reasons of the others."""
    _: dataclasses.KW_ONLY
    category: str = ""
    """The reason by which decisions are made; its own name by default."""
    good: bool = False
    """Whether the condition is True with this reason."""
    expected: bool = False
    """Whether it is progress or what the user asked for. Then it is not a finding."""
    event: EventType | None = None
    """None: Normal if it is good or expected, otherwise Warning."""
    needs_person: bool = False
    """Whether a person usually has to act: Stalled, not Reconciling. A reason also needs a person if its category
    does."""
    severity: int = 0
    """Severity of a category of pod problems. The most severe problem of all pods is reported first."""
    prevents_start: bool = False
    """Whether the pod lacks something before its container can run."""
    cannot_recover: bool = False
    """Whether the pod is not expected to become ready by itself."""
    engine_ended: bool = False
    """Whether the engine has exited and is restarted."""
    node_may_be_lost: bool = False
    """Whether an unreachable node would explain it."""
    events_tell_more: bool = False
    """Whether Events of the kubelet may give a more exact cause."""
    root_cause: bool = False
    """Whether later exits in a crash loop may follow from it. Then it stays the reported cause."""
    transient: bool = False
    """Whether the next start of the engine may succeed."""
    server_unavailable: bool = False
    """Whether a server outside the cluster (hub, object store, registry) does not answer or is overloaded. That passes
    without a change of the spec: a rollout waits for it, and is tried again."""
    credentials_refused: bool = False
    """Whether a server refuses the credentials of a Secret, which may be corrected without a change of the spec."""
    may_truncate_model: bool = False
    """Whether it may leave a partly downloaded model."""
    model_incomplete: bool = False
    """Whether an engine exits with it if the model was downloaded only in part."""
    model_unread: bool = False
    """Whether the inspection of a model can fail with it."""
    unplaced: bool = False
    """Whether replicas have no node because of it."""
    held_back: bool = False
    """Whether the pods of a replica are held back until all of them can be scheduled."""
    estimated: bool = False
    """Whether it can be the result of a memory estimate."""
    by_arithmetic: bool = False
    """Whether the sums of the estimate lead to it, not its rules."""
    without_plan: bool = False
    """Whether the operator has no plan for the service and changes nothing."""
    read_from: tuple[str, ...] = ()
    """Reasons of Kubernetes Events that report the same, in addition to those of its category."""
    reported_as: str = ""
    """The reason that is reported instead of it; its own name by default."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "category", self.category or self.name)
        object.__setattr__(self, "reported_as", self.reported_as or self.name)
        object.__setattr__(self, "event", self.event or (_NORMAL if self.good or self.expected else _WARNING))

    def reported_by(self, event: str) -> bool:
        """Whether a Kubernetes Event with the reason ``event`` reports the same."""
        return event in self.read_from or event in of(self.category).read_from

    @property
    def in_category_that_needs_person(self) -> bool:
        """Whether a person usually has to act because of it or its category."""
        return self.needs_person or of(self.category).needs_person


_NONE, _NORMAL, _WARNING = EventType.NONE, EventType.NORMAL, EventType.WARNING
_ACCEPTED, _FITS, _SCHEDULED = ConditionType.ACCEPTED, ConditionType.FITS, ConditionType.SCHEDULED
_SERVING, _ROLLED_OUT = ConditionType.SERVING, ConditionType.ROLLED_OUT
_SCALING, _STALLED = ConditionType.SCALING_ACTIVE, ConditionType.STALLED
_ROUTED = ConditionType.ROUTED

_table: dict[str, Reason] = {}


def add(row: Reason) -> str:
    """Adds the row to the table; returns its name. A reason that one condition alone has may be added beside that
    condition (``planner/status/conditions.py``); all others are added here."""
    if row.name in _table:
        raise ValueError(f"the reason {row.name} has two rows")
    _table[row.name] = row
    return row.name


def of(name: str) -> Reason:
    """The row of a reason. A reason of another version of the operator gets a row without facts."""
    return TABLE.get(name) or Reason(name)


def needs_person(*names: str) -> bool:
    """Whether a person usually has to act because of one of these."""
    return any(of(name).needs_person for name in names)


# Accepted
ACCEPTED = add(Reason("Accepted", (_ACCEPTED,), good=True))
INVALID_SPEC = add(Reason("InvalidSpec", (_ACCEPTED,), needs_person=True))
UNSUPPORTED_SOURCE = add(Reason("UnsupportedSource", (_ACCEPTED,), needs_person=True))
INVALID_SETTING = add(Reason("InvalidSetting", (_ACCEPTED,), needs_person=True))
MODEL_NOT_FOUND = add(Reason("ModelNotFound", (_ACCEPTED,), needs_person=True))
MODEL_NOT_ALLOWED = add(Reason("ModelNotAllowed", (_ACCEPTED,), needs_person=True))
MODEL_INVALID = add(Reason("ModelInvalid", (_ACCEPTED,), needs_person=True))
QUANTIZATION_NOT_ALLOWED = add(Reason("QuantizationNotAllowed", (_ACCEPTED,), needs_person=True))
TOO_LITTLE_MEMORY = add(Reason("TooLittleMemory", (_ACCEPTED,), needs_person=True))
PLACEMENT_NOT_ALLOWED = add(Reason("PlacementNotAllowed", (_ACCEPTED,), needs_person=True))
POD_SETTING_NOT_ALLOWED = add(Reason("PodSettingNotAllowed", (_ACCEPTED,), needs_person=True))
SOURCE_NOT_ALLOWED = add(Reason("SourceNotAllowed", (_ACCEPTED,), needs_person=True))
ENGINE_ARGUMENT_NOT_ALLOWED = add(Reason("EngineArgumentNotAllowed", (_ACCEPTED,), needs_person=True))
STORE_NOT_ALLOWED = add(Reason("StoreNotAllowed", (_ACCEPTED,), needs_person=True))
SERVICE_ACCOUNT_NOT_ALLOWED = add(Reason("ServiceAccountNotAllowed", (_ACCEPTED,), needs_person=True))
DEVICE_CLASS_NOT_ALLOWED = add(Reason("DeviceClassNotAllowed", (_ACCEPTED,), needs_person=True))
DEVICE_CLAIMS_UNSUPPORTED = add(Reason("DeviceClaimsUnsupported", (_ACCEPTED,), needs_person=True))
NAME_TAKEN = add(Reason("NameTaken", (_ACCEPTED, _ROUTED), needs_person=True))
WAITING_FOR_CLEANUP = add(Reason("WaitingForCleanup", (_ACCEPTED, _ROUTED), expected=True))
INSPECTING_MODEL = add(Reason("InspectingModel", (_ACCEPTED, _FITS), expected=True))

# Fits
FITS = add(Reason(Estimate.FITS.value, (_FITS,), good=True, estimated=True))
FITS_SOME_GPUS = add(Reason("FitsSomeGPUs", (_FITS,), estimated=True))
GPU_UNKNOWN = add(Reason("GPUUnknown", (_FITS,)))
PARTS_OF_GPUS = add(Reason(Estimate.PARTS_OF_GPUS.value, (_FITS, _ACCEPTED), estimated=True))
GPU_SHARED = add(Reason(Estimate.GPU_SHARED.value, (_FITS, _ACCEPTED), estimated=True))
NOT_MODELLED = add(Reason(Estimate.NOT_MODELLED.value, (_FITS,), estimated=True))
WEIGHTS_UNEXPLAINED = add(Reason(Estimate.WEIGHTS_UNEXPLAINED.value, (_FITS,), estimated=True))
ESTIMATE_FAILED = add(Reason(Estimate.ESTIMATE_FAILED.value, (_FITS,), estimated=True))
ESTIMATING = add(Reason("Estimating", (_FITS, _ACCEPTED), expected=True))
TOO_FEW_LAYERS = add(Reason(Estimate.TOO_FEW_LAYERS.value, (_FITS, _ACCEPTED), estimated=True))

# Scheduled
SCHEDULED = add(Reason("Scheduled", (_SCHEDULED,), good=True))
UNSCHEDULABLE = add(Reason("Unschedulable", (_SCHEDULED, _ROLLED_OUT), unplaced=True, read_from=("FailedScheduling",)))
NO_FREE_DEVICES = add(Reason("NoFreeDevices", (_SCHEDULED,), category=UNSCHEDULABLE, unplaced=True))
NO_SUCH_DEVICE = add(Reason("NoSuchDevice", (_SCHEDULED,), category=UNSCHEDULABLE, unplaced=True))
DEVICE_CLASS_MISSING = add(Reason("DeviceClassMissing", (_SCHEDULED,), category=UNSCHEDULABLE, unplaced=True))
DEVICE_CLAIM_MISSING = add(
    Reason(
        "DeviceClaimMissing",
        (_SCHEDULED,),
        category=UNSCHEDULABLE,
        unplaced=True,
        read_from=("FailedResourceClaimCreation",),
    )
)
NODES_TOO_SMALL = add(Reason("NodesTooSmall", (_SCHEDULED,), category=UNSCHEDULABLE, unplaced=True, needs_person=True))
NO_FREE_HOST_RESOURCES = add(Reason("NoFreeHostResources", (_SCHEDULED,), category=UNSCHEDULABLE, unplaced=True))
NO_MATCHING_NODES = add(Reason("NoMatchingNodes", (_SCHEDULED,), category=UNSCHEDULABLE, unplaced=True))
NODES_TAINTED = add(Reason("NodesTainted", (_SCHEDULED,), category=UNSCHEDULABLE, unplaced=True))
NODES_UNAVAILABLE = add(Reason("NodesUnavailable", (_SCHEDULED,), category=UNSCHEDULABLE, unplaced=True))
VOLUME_NOT_READY = add(
    Reason("VolumeNotReady", (_SCHEDULED,), unplaced=True, needs_person=True, read_from=("FailedScheduling",))
)
CLAIM_MISSING = add(Reason("ClaimMissing", (_SCHEDULED,), category=VOLUME_NOT_READY, unplaced=True))
CLAIM_UNBOUND = add(
    Reason(
        "ClaimUnbound",
        (_SCHEDULED,),
        category=VOLUME_NOT_READY,
        unplaced=True,
        read_from=("ProvisioningFailed", "FailedBinding", "ClaimLost", "ClaimMisbound"),
    )
)
VOLUME_ELSEWHERE = add(Reason("VolumeElsewhere", (_SCHEDULED,), category=VOLUME_NOT_READY, unplaced=True))
VOLUME_IN_USE = add(Reason("VolumeInUse", (_SCHEDULED,), category=VOLUME_NOT_READY, unplaced=True, needs_person=True))
AWAITING_SCHEDULER = add(Reason("AwaitingScheduler", (_SCHEDULED,), expected=True, event=_NONE))
SCHEDULING_GATED = add(Reason("SchedulingGated", (_SCHEDULED,), unplaced=True, held_back=True))
PARTIALLY_SCHEDULED = add(Reason("PartiallyScheduled", (_SCHEDULED,), unplaced=True, held_back=True))
PODS_MISSING = add(Reason("PodsMissing", (_SCHEDULED,), expected=True, event=_NONE))
PODS_REFUSED = add(Reason("PodsRefused", (_SCHEDULED,), read_from=("FailedCreate",)))
QUOTA_EXCEEDED = add(Reason("QuotaExceeded", (_SCHEDULED,), category=PODS_REFUSED))
LIMIT_EXCEEDED = add(Reason("LimitExceeded", (_SCHEDULED,), category=PODS_REFUSED, needs_person=True))
POD_SECURITY_DENIED = add(Reason("PodSecurityDenied", (_SCHEDULED,), category=PODS_REFUSED, needs_person=True))
ADMISSION_DENIED = add(Reason("AdmissionDenied", (_SCHEDULED,), category=PODS_REFUSED, needs_person=True))
ADMISSION_UNAVAILABLE = add(Reason("AdmissionUnavailable", (_SCHEDULED,), category=PODS_REFUSED))
PRIORITY_CLASS_MISSING = add(Reason("PriorityClassMissing", (_SCHEDULED,), category=PODS_REFUSED, needs_person=True))
SERVICE_ACCOUNT_MISSING = add(Reason("ServiceAccountMissing", (_SCHEDULED,), category=PODS_REFUSED, needs_person=True))

# Serving, and what keeps a pod from it
SERVING = add(Reason("Serving", (_SERVING,), good=True))
PARTLY_READY = add(Reason("PartlyReady", (_SERVING,), expected=True))
SCALED_TO_ZERO = add(Reason("ScaledToZero", (_SCHEDULED, _SERVING), expected=True))
NOT_STARTED = add(Reason("NotStarted", (_SERVING,), expected=True, event=_NONE, severity=1, prevents_start=True))
STARTING = add(
    Reason(
        "Starting",
        (_SERVING,),
        expected=True,
        event=_NONE,
        severity=2,
        node_may_be_lost=True,
        events_tell_more=True,
    )
)
VOLUME_MOUNT_FAILED = add(
    Reason(
        "VolumeMountFailed",
        (_SERVING,),
        category=STARTING,
        needs_person=True,
        read_from=("FailedMount", "FailedAttachVolume", "FailedMapVolume"),
    )
)
DEVICE_PREPARATION_FAILED = add(
    Reason(
        "DevicePreparationFailed",
        (_SERVING,),
        category=STARTING,
        needs_person=True,
        read_from=("FailedPrepareDynamicResources",),
    )
)
SANDBOX_FAILED = add(Reason("SandboxFailed", (_SERVING,), category=STARTING, read_from=("FailedCreatePodSandBox",)))
INIT_CONTAINER_FAILS = add(Reason("InitContainerFails", (_SERVING,), category=STARTING, needs_person=True))
LOADING = add(Reason("Loading", (_SERVING,), expected=True, severity=3, node_may_be_lost=True, events_tell_more=True))
NOT_READY = add(
    Reason("NotReady", (_SERVING,), severity=4, node_may_be_lost=True, events_tell_more=True, read_from=("Unhealthy",))
)
CONTAINER_NOT_READY = add(Reason("ContainerNotReady", (_SERVING,), category=NOT_READY))
NODE_LOST = add(Reason("NodeLost", (_SERVING,), category=NOT_READY))
POD_FAILED = add(
    Reason(
        "PodFailed",
        (_SERVING,),
        needs_person=True,
        severity=5,
        prevents_start=True,
        cannot_recover=True,
        engine_ended=True,
    )
)
EVICTED = add(
    Reason(
        "Evicted", (_SERVING,), category=POD_FAILED, root_cause=True, may_truncate_model=True, read_from=("Evicted",)
    )
)
EVICTED_FOR_STORAGE = add(
    Reason(
        "EvictedForStorage",
        (_SERVING,),
        category=POD_FAILED,
        root_cause=True,
        may_truncate_model=True,
        read_from=("Evicted",),
    )
)
EVICTED_FOR_MEMORY = add(
    Reason(
        "EvictedForMemory",
        (_SERVING,),
        category=POD_FAILED,
        root_cause=True,
        may_truncate_model=True,
        read_from=("Evicted",),
    )
)
PREEMPTED = add(Reason("Preempted", (_SERVING,), category=POD_FAILED, read_from=("Preempted",)))
DEVICE_UNHEALTHY = add(
    Reason("DeviceUnhealthy", (_SERVING,), category=POD_FAILED, read_from=("UnexpectedAdmissionError",))
)
NODE_OUT_OF_ROOM = add(
    Reason("NodeOutOfRoom", (_SERVING,), category=POD_FAILED, read_from=("UnexpectedAdmissionError",))
)
NODE_SHUTDOWN = add(Reason("NodeShutdown", (_SERVING,), category=POD_FAILED))
IMAGE_PULL = add(
    Reason(
        "ImagePull",
        (_SERVING,),
        needs_person=True,
        severity=6,
        prevents_start=True,
        cannot_recover=True,
        read_from=("Failed", "BackOff", "ErrImageNeverPull", "InspectFailed"),
    )
)
IMAGE_NOT_FOUND = add(Reason("ImageNotFound", (_SERVING,), category=IMAGE_PULL))
IMAGE_DENIED = add(Reason("ImageDenied", (_SERVING,), category=IMAGE_PULL, credentials_refused=True))
IMAGE_WRONG_PLATFORM = add(Reason("ImageWrongPlatform", (_SERVING,), category=IMAGE_PULL))
IMAGE_NAME_INVALID = add(Reason("ImageNameInvalid", (_SERVING,), category=IMAGE_PULL))
IMAGE_NEVER_PULLED = add(Reason("ImageNeverPulled", (_SERVING,), category=IMAGE_PULL))
REGISTRY_UNREACHABLE = add(Reason("RegistryUnreachable", (_SERVING,), category=IMAGE_PULL, server_unavailable=True))
REGISTRY_RATE_LIMITED = add(Reason("RegistryRateLimited", (_SERVING,), category=IMAGE_PULL, server_unavailable=True))
NODE_DISK_FULL = add(Reason("NodeDiskFull", (_SERVING,), category=IMAGE_PULL))
CONTAINER_CONFIG = add(
    Reason(
        "ContainerConfig",
        (_SERVING,),
        needs_person=True,
        severity=7,
        prevents_start=True,
        cannot_recover=True,
        read_from=("Failed",),
    )
)
SECRET_MISSING = add(Reason("SecretMissing", (_SERVING,), category=CONTAINER_CONFIG))
SECRET_KEY_MISSING = add(Reason("SecretKeyMissing", (_SERVING,), category=CONTAINER_CONFIG))
CONFIG_MAP_MISSING = add(Reason("ConfigMapMissing", (_SERVING,), category=CONTAINER_CONFIG))
LOADING_TOO_LONG = add(
    Reason(
        "LoadingTooLong",
        (_SERVING,),
        needs_person=True,
        severity=8,
        cannot_recover=True,
        engine_ended=True,
        events_tell_more=True,
        read_from=("BackOff", "Unhealthy"),
    )
)

# Serving: why an engine exited. All of llmservice_contract.causes is here.
OOM_KILLED = add(
    Reason(
        causes.OOM_KILLED.name,
        (_SERVING,),
        needs_person=True,
        severity=9,
        cannot_recover=True,
        engine_ended=True,
        root_cause=True,
        transient=True,
        may_truncate_model=True,
        read_from=("BackOff",),
    )
)
CRASHED = add(
    Reason(
        "Crashed",
        (_SERVING,),
        needs_person=True,
        severity=10,
        cannot_recover=True,
        engine_ended=True,
        root_cause=True,
        transient=True,
        read_from=("BackOff",),
    )
)
UNRESPONSIVE = add(
    Reason(
        "Unresponsive",
        (_SERVING,),
        category=CRASHED,
        root_cause=True,
        transient=True,
        events_tell_more=True,
        read_from=("Unhealthy",),
    )
)


def _exit(
    cause: causes.Cause,
    *also: ConditionType,
    category: str = CRASHED,
    transient: bool = False,
    server_unavailable: bool = False,
    credentials_refused: bool = False,
    model_incomplete: bool = False,
    model_unread: bool = False,
    events_tell_more: bool = False,
    estimated: bool = False,
    by_arithmetic: bool = False,
    reported_as: str = "",
) -> str:
    """The row of an exit that the runtime names. A transient one may have interrupted a download."""
    return add(
        Reason(
            cause.name,
            (_SERVING, *also),
            category=category,
            root_cause=True,
            transient=transient,
            server_unavailable=server_unavailable,
            credentials_refused=credentials_refused,
            may_truncate_model=transient,
            model_incomplete=model_incomplete,
            model_unread=model_unread,
            events_tell_more=events_tell_more,
            estimated=estimated,
            by_arithmetic=by_arithmetic,
            reported_as=reported_as,
        )
    )


HOST_OUT_OF_MEMORY = _exit(causes.HOST_OUT_OF_MEMORY, category=OOM_KILLED, transient=True)
KILLED = _exit(causes.KILLED, transient=True, events_tell_more=True)
ENGINE_DIED = _exit(causes.ENGINE_DIED, transient=True)
ENGINE_HUNG = _exit(causes.ENGINE_HUNG, transient=True)
RANKS_APART = _exit(causes.RANKS_APART, transient=True)
RANKS_LOST = _exit(causes.RANKS_LOST, transient=True)
GPU_FAULT = _exit(causes.GPU_FAULT, transient=True)
GPU_MEMORY_TAKEN = _exit(causes.GPU_MEMORY_TAKEN, _FITS, _ACCEPTED, transient=True, estimated=True)
DISK_FULL = _exit(causes.DISK_FULL, transient=True)
PORT_IN_USE = _exit(causes.PORT_IN_USE, transient=True)
HUB_UNREACHABLE = _exit(causes.HUB_UNREACHABLE, _ACCEPTED, transient=True, server_unavailable=True, model_unread=True)
STORE_UNREACHABLE = _exit(
    causes.STORE_UNREACHABLE, _ACCEPTED, transient=True, server_unavailable=True, model_unread=True
)
UNKNOWN = _exit(causes.UNKNOWN, transient=True, reported_as=CRASHED)
READY_TIMEOUT = _exit(causes.READY_TIMEOUT, category=LOADING_TOO_LONG, reported_as=LOADING_TOO_LONG)
BROKEN_WEIGHTS = _exit(causes.BROKEN_WEIGHTS, model_incomplete=True)
NO_WEIGHTS = _exit(causes.NO_WEIGHTS, _ACCEPTED, model_incomplete=True, model_unread=True)
NO_TOKENIZER = _exit(causes.NO_TOKENIZER, model_incomplete=True)
BAD_CONFIG = _exit(causes.BAD_CONFIG, _ACCEPTED, model_incomplete=True, model_unread=True)
MODEL_UNREADABLE = _exit(causes.MODEL_UNREADABLE, _ACCEPTED, model_incomplete=True, model_unread=True)
DIGEST_MISMATCH = _exit(causes.DIGEST_MISMATCH, _ACCEPTED, model_unread=True)
HUB_REFUSED = _exit(causes.HUB_REFUSED, _ACCEPTED, credentials_refused=True, model_unread=True)
STORE_REFUSED = _exit(causes.STORE_REFUSED, _ACCEPTED, credentials_refused=True, model_unread=True)
NO_ROOM_FOR_CACHE = _exit(causes.NO_ROOM_FOR_CACHE, _FITS, _ACCEPTED, estimated=True, by_arithmetic=True)
CACHE_TOO_SMALL = _exit(causes.CACHE_TOO_SMALL, _FITS, _ACCEPTED, estimated=True, by_arithmetic=True)
CONTEXT_TOO_LONG = _exit(causes.CONTEXT_TOO_LONG, _FITS, _ACCEPTED, estimated=True)
HEADS_NOT_DIVISIBLE = _exit(causes.HEADS_NOT_DIVISIBLE, _FITS, _ACCEPTED, estimated=True)
QUANTIZATION_MISMATCH = _exit(causes.QUANTIZATION_MISMATCH, _ACCEPTED)
QUANTIZATION_UNKNOWN = _exit(causes.QUANTIZATION_UNKNOWN)
WRONG_SETTINGS = _exit(causes.WRONG_SETTINGS, _ACCEPTED, model_unread=True)
WRONG_CHECKPOINT = _exit(causes.WRONG_CHECKPOINT, _FITS, _ACCEPTED, estimated=True)
WRONG_ENGINE = _exit(causes.WRONG_ENGINE)
NO_ENGINE = _exit(causes.NO_ENGINE)
ENGINE_TOO_OLD = _exit(causes.ENGINE_TOO_OLD)
GPU_OUT_OF_MEMORY = _exit(causes.GPU_OUT_OF_MEMORY)
TOO_FEW_GPUS = _exit(causes.TOO_FEW_GPUS)
NO_GPU = _exit(causes.NO_GPU)
GPU_TOO_OLD = _exit(causes.GPU_TOO_OLD, _FITS, _ACCEPTED, estimated=True)
ARCHITECTURE_UNKNOWN = _exit(causes.ARCHITECTURE_UNKNOWN)
REMOTE_CODE = _exit(causes.REMOTE_CODE, _ACCEPTED)
ATTENTION_UNSUPPORTED = _exit(causes.ATTENTION_UNSUPPORTED)
CACHE_TYPE_UNSUPPORTED = _exit(causes.CACHE_TYPE_UNSUPPORTED)
BATCH_TOO_SMALL = _exit(causes.BATCH_TOO_SMALL)
PIPELINE_UNSUPPORTED = _exit(causes.PIPELINE_UNSUPPORTED)
SPECULATION_UNSUPPORTED = _exit(causes.SPECULATION_UNSUPPORTED)
NO_PERMISSION = _exit(causes.NO_PERMISSION)

# RolledOut
ROLLED_OUT = add(Reason("RolledOut", (_ROLLED_OUT,), good=True))
UPDATING = add(Reason("Updating", (_ROLLED_OUT,), expected=True))
PAUSED = add(Reason("Paused", (_ROLLED_OUT,), expected=True, needs_person=True))
ROLLED_BACK = add(Reason("RolledBack", (_ROLLED_OUT,), needs_person=True))
ROLLOUT_FAILED = add(Reason("RolloutFailed", (_ROLLED_OUT,), needs_person=True))
CANARY_FAILED = add(Reason("CanaryFailed", (_ROLLED_OUT,), needs_person=True))
LEAST_CAPACITY = add(Reason("LeastCapacity", (_ROLLED_OUT,), expected=True))

# ScalingActive
FOLLOWS_LATENCY = add(Reason("FollowsLatency", (_SCALING,), good=True))
AT_MAXIMUM = add(Reason("AtMaximum", (_SCALING,), good=True))
AWAITING_MEASUREMENT = add(Reason("AwaitingMeasurement", (_SCALING,), expected=True, event=_NONE))
NO_ADAPTER = add(Reason("NoAdapter", (_SCALING,)))
SCALING_DISABLED = add(Reason("ScalingDisabled", (_SCALING,), expected=True, event=_WARNING))
MIN_REPLICAS_NOT_PLACEABLE = add(Reason("MinReplicasNotPlaceable", (_SCALING,)))
TARGET_UNREACHABLE = add(Reason("TargetUnreachable", (_SCALING,)))
AUTOSCALER_FAILS = add(
    Reason("AutoscalerFails", (_SCALING,), read_from=("FailedGetExternalMetric", "FailedComputeMetricsReplicas"))
)
REPLICAS_SET_ELSEWHERE = add(Reason("ReplicasSetElsewhere", (_SCALING,)))
FIELDS_CHANGED_ELSEWHERE = add(Reason("FieldsChangedElsewhere", (ConditionType.ROLLED_OUT,)))
NO_PROMETHEUS = add(Reason(metrics_unavailable.NO_PROMETHEUS, (_SCALING,)))
PROMETHEUS_UNREACHABLE = add(Reason(metrics_unavailable.PROMETHEUS_UNREACHABLE, (_SCALING,)))
PROMETHEUS_TIMEOUT = add(Reason(metrics_unavailable.PROMETHEUS_TIMEOUT, (_SCALING,)))
PROMETHEUS_REFUSED = add(Reason(metrics_unavailable.PROMETHEUS_REFUSED, (_SCALING,)))
NO_SERIES = add(Reason(metrics_unavailable.NO_SERIES, (_SCALING,)))
LABELS_MATCH_NO_POD = add(Reason(metrics_unavailable.LABELS_MATCH_NO_POD, (_SCALING,)))
STALE_SERIES = add(Reason(metrics_unavailable.STALE_SERIES, (_SCALING,)))
NOT_A_NUMBER = add(Reason(metrics_unavailable.NOT_A_NUMBER, (_SCALING,)))
METRICS_INVALID = add(Reason(metrics_unavailable.METRICS_INVALID, (_SCALING,)))
ADAPTER_UNAVAILABLE = add(Reason(metrics_unavailable.ADAPTER_UNAVAILABLE, (_SCALING,)))
METRICS_API_TAKEN = add(Reason(metrics_unavailable.METRICS_API_TAKEN, (_SCALING,)))

# Routed
ROUTED = add(Reason("Routed", (_ROUTED,), good=True))
AWAITING_GATEWAY = add(Reason("AwaitingGateway", (_ROUTED,), expected=True, event=_NONE))
GATEWAY_API_MISSING = add(Reason("GatewayAPIMissing", (_ROUTED,)))
NO_GATEWAY = add(Reason("NoGateway", (_ROUTED,)))
ROUTE_NOT_ACCEPTED = add(Reason("RouteNotAccepted", (_ROUTED,)))
BACKEND_NOT_RESOLVED = add(Reason("BackendNotResolved", (_ROUTED,)))
POOL_NOT_ACCEPTED = add(Reason("PoolNotAccepted", (_ROUTED,)))

# Ready, Reconciling, Stalled
READY = add(Reason("Ready", (ConditionType.READY,), good=True))
APPLY_FAILED = add(Reason("ApplyFailed", (ConditionType.RECONCILING,)))
PLAN_OVER_BUDGET = add(Reason("PlanOverBudget", (_STALLED,), needs_person=True, without_plan=True))
TOO_MANY_SERVICES = add(
    Reason("TooManyServices", (ConditionType.ACCEPTED, _STALLED), needs_person=True, without_plan=True)
)
PLAN_FAILED = add(Reason("PlanFailed", (_STALLED,), needs_person=True, without_plan=True))

TABLE = MappingProxyType(_table)
"""Every reason, by its name."""
