"""Problems that the kubelet reports before a pod's container runs, and pods that it terminates."""

import dataclasses
import datetime
import re

from llmservice_operator.planner.diagnosis.pod_context import PodContext
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import ObservedEvent
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.problem import Problem, problem

CONFIG_WAITS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"}
)
SUCCEEDS_WITHIN = datetime.timedelta(seconds=120)
"""How soon after a pod was terminated its replacement is created."""
TRIES_AGAIN_WITHIN = datetime.timedelta(minutes=10)
"""How often at least the kubelet reports a failure that lasts."""
_SLOW_CACHE = re.compile(r"failed to sync (?:configmap|secret) cache")
"""Part of an Event about a start that succeeds a second later."""
_CREDENTIALS = "spec.model.credentialsRef"
_SECRET = re.compile(r'secret "(?P<secret>[^"]+)" not found')
_KEY = re.compile(r"couldn't find key (?P<key>\S+) in Secret (?P<secret>\S+)")
_CONFIGMAP = re.compile(r'configmap "(?P<name>[^"]+)" not found')
_PREEMPTED = re.compile(r"PreemptionByScheduler|Preempt")


@dataclasses.dataclass(frozen=True)
class Termination:
    """One reason why the kubelet or the scheduler terminates a pod."""

    reason: str
    pattern: str
    """Matches the kubelet's reason and message."""
    fix: str
    field: str = ""


TERMINATIONS = (
    Termination(
        reasons.EVICTED_FOR_STORAGE,
        r"Evicted.*EmptyDir volume \"scratch\"",
        "find out what the engine writes to /tmp (media of requests, for example); the chart value "
        "defaults.ephemeralStorageLimit: None removes the size of this volume",
    ),
    Termination(
        reasons.EVICTED_FOR_STORAGE,
        r"Evicted.*(?:ephemeral|EmptyDir|inodes|nodefs|imagefs)",
        "give the downloads a volume of their own with spec.cache.size, or raise spec.resources.ephemeralStorage, "
        "which is also the limit",
        "spec.cache.size",
    ),
    Termination(
        reasons.EVICTED_FOR_MEMORY,
        r"Evicted.*memory",
        "set spec.resources.memory to what the engine uses: the kubelet first evicts pods that use more than they "
        "request",
        "spec.resources.memory",
    ),
    Termination(
        reasons.PREEMPTED,
        _PREEMPTED.pattern,
        "set a spec.scheduling.priorityClassName of higher priority, or add capacity for the pods that preempted them",
        "spec.scheduling.priorityClassName",
    ),
    Termination(
        reasons.DEVICE_UNHEALTHY,
        r"UnexpectedAdmissionError.*(?:unhealthy|no healthy devices|Allocate failed)",
        "check the node's devices: `nvidia-smi` and the logs of its device plugin's pod; drain the node if a device "
        "stays broken",
    ),
    Termination(
        reasons.NODE_OUT_OF_ROOM,
        r"^(?:OutOf|NodeAffinity|UnexpectedAdmissionError)",
        "nothing if it happened once: the node was full when the pod arrived; if it happens again, look for pods "
        "that bypass the scheduler",
    ),
    Termination(
        reasons.NODE_SHUTDOWN,
        r"^(?:NodeShutdown|Shutdown|Terminated|NodeLost)",
        "nothing: the node was shut down, and a new pod starts on another node",
    ),
    Termination(
        reasons.EVICTED,
        r"^Evicted",
        "free resources on the node, or set spec.resources to what the engine uses",
        "spec.resources.memory",
    ),
)


def pod_failed(context: PodContext) -> Problem | None:
    """The kubelet terminated the whole pod, for example by an eviction."""
    status = context.pod.get("status", {})
    if status.get("phase") != "Failed" or not status.get("reason"):
        return None
    target = pods.condition(context.pod, "DisruptionTarget")
    said = f"{status['reason']}: {phrases.tail(status.get('message') or '')}"
    return _terminated(context, f"it failed: {said}", f"{said} {target.get('reason', '')}")


def predecessor_terminated(context: PodContext) -> Problem | None:
    """The previous pod of this name was terminated."""
    if context.made is None:
        return None
    for event in reversed(context.events):
        before = event.uid != context.pod["metadata"].get("uid")
        soon = event.time is not None and context.made - SUCCEEDS_WITHIN <= event.time <= context.made
        if before and soon and event.reason in ("Evicted", "Preempted", "UnexpectedAdmissionError"):
            said = f"{event.reason}: {phrases.tail(event.note)}"
            return _terminated(context, f"the previous pod was terminated: {said}", said)
    return None


def _terminated(context: PodContext, what: str, said: str) -> Problem:
    way = next((each for each in TERMINATIONS if re.search(each.pattern, said, re.DOTALL)), None)
    if way is None:
        return problem(reasons.POD_FAILED, context.name, what, fix="see the kubelet's message")
    return problem(reasons.POD_FAILED, context.name, what, cause=way.reason, field=way.field, fix=way.fix)


def not_bound(context: PodContext) -> Problem | None:
    """The pod has no node yet; the condition Scheduled says why."""
    if pods.bound(context.pod):
        return None
    return problem(reasons.NOT_STARTED, context.name, "it has not been scheduled yet")


def container_config(context: PodContext) -> Problem | None:
    """The container can't be created, for example because a Secret or its key is missing."""
    if context.waiting.get("reason") not in CONFIG_WAITS:
        return None
    said = phrases.tail(context.waiting.get("message") or context.waiting["reason"])
    what = f"the container can't be created: {said}"
    if found := _SECRET.search(said):
        return problem(
            reasons.CONTAINER_CONFIG,
            context.name,
            what,
            cause=reasons.SECRET_MISSING,
            field=_CREDENTIALS,
            fix=f"create Secret {found['secret']} in this namespace, or set another one in {_CREDENTIALS}",
        )
    if found := _KEY.search(said):
        return problem(
            reasons.CONTAINER_CONFIG,
            context.name,
            what,
            cause=reasons.SECRET_KEY_MISSING,
            field=_CREDENTIALS,
            fix=f"add key {found['key']} to Secret {found['secret'].rpartition('/')[2]}, or set another one in "
            f"{_CREDENTIALS}",
        )
    if found := _CONFIGMAP.search(said):
        return problem(
            reasons.CONTAINER_CONFIG,
            context.name,
            what,
            cause=reasons.CONFIG_MAP_MISSING,
            fix=f"nothing: the operator creates ConfigMap {found['name']} again, and the kubelet retries",
        )
    return problem(reasons.CONTAINER_CONFIG, context.name, what, fix="see the kubelet's message")


def mount_failed(context: PodContext) -> Problem | None:
    """A volume of the pod can't be mounted."""
    reported = _before_its_start(context, reasons.VOLUME_MOUNT_FAILED)
    events = [event for event in reported if not _SLOW_CACHE.search(event.note)]
    if not events:
        return None
    exact = next((event for event in events if "timed out waiting" not in event.note), events[0])
    return problem(
        reasons.STARTING,
        context.name,
        f"a volume can't be mounted: {phrases.tail(exact.note)}",
        cause=reasons.VOLUME_MOUNT_FAILED,
        field="spec.model.source" if "claim" in exact.note.lower() else "",
        fix="check the volume of the claim (`kubectl describe pv`) and the node; the kubelet retries automatically",
    )


def devices_not_prepared(context: PodContext) -> Problem | None:
    """The driver of the claimed devices can't prepare them, or the kubelet can't reach it."""
    event = next(iter(_before_its_start(context, reasons.DEVICE_PREPARATION_FAILED)), None)
    if event is None:
        return None
    return problem(
        reasons.STARTING,
        context.name,
        f"the driver can't prepare the devices of the pod's claim: {phrases.tail(event.note)}",
        cause=reasons.DEVICE_PREPARATION_FAILED,
        fix="check the log of the driver's pod on the node, and restart it if its state is old; the kubelet retries "
        "automatically",
    )


def sandbox_failed(context: PodContext) -> Problem | None:
    """The node can't start the pod, for example because it has no network."""
    event = next(iter(_before_its_start(context, reasons.SANDBOX_FAILED)), None)
    if event is None:
        return None
    return problem(
        reasons.STARTING,
        context.name,
        f"the kubelet can't start the pod: {phrases.tail(event.note)}",
        cause=reasons.SANDBOX_FAILED,
        fix="check the node's network plugin and container runtime; the kubelet retries automatically",
    )


def _before_its_start(context: PodContext, reason: str) -> list[ObservedEvent]:
    """Recent Events with this reason, the latest first; empty once the pod has everything that it needs to start."""
    begun = pods.condition(context.pod, "PodReadyToStartContainers").get("status") == "True"
    if begun or context.status.get("state", {}).get("running"):
        return []
    since = context.now - TRIES_AGAIN_WITHIN
    return [
        event for event in context.reported(*reasons.of(reason).read_from) if event.time is None or event.time >= since
    ]


def starting(context: PodContext) -> Problem | None:
    """The pod has a node, and the kubelet has not started the container yet."""
    if context.status.get("state", {}).get("running"):
        return None
    return problem(
        reasons.STARTING,
        context.name,
        "its node is pulling the image and mounting the volumes; if this persists, `kubectl describe pod "
        f"{context.name}` shows what is missing",
    )
