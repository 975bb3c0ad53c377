"""What keeps one pod from serving: ordered checks, the first that finds something counts.

Messages say what does not change from second to second: no counts of restarts, no ages but in steps.
"""

import dataclasses
import datetime
import re
from collections.abc import Callable
from typing import Any

from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.core import lastwords, pods, reasons, times, words
from llmservice_operator.core.observed import Object

_IMAGE_WAITS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_CONFIG_WAITS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"}
)
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(: (ErrImagePull: )?)?')
_KILLED = frozenset({0, 137, 143})
"""Exit codes of a container that was told to stop."""

STEP_SECONDS = 30
STEPS = 10


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why a pod does not serve."""

    reason: str
    message: str
    changes_at: datetime.datetime | None = None
    """When the message changes by time alone; None where it does not."""


@dataclasses.dataclass(frozen=True)
class Patient:
    """A pod, the container in it that matters, and how long that may take to get ready."""

    pod: Object
    now: datetime.datetime
    budget_seconds: int | None = None
    container: str = ENGINE_CONTAINER

    @property
    def name(self) -> str:
        """The pod's name."""
        return pods.name(self.pod)

    @property
    def status(self) -> dict[str, Any]:
        """The container's status; empty where there is none yet."""
        return pods.container(self.pod, self.container)

    @property
    def waiting(self) -> dict[str, Any]:
        """Why the container waits; empty where it does not."""
        return dict(self.status.get("state", {}).get("waiting") or {})

    @property
    def ended(self) -> dict[str, Any]:
        """The container's latest end, also of a run before this one; empty where it never ended."""
        status = self.status
        now, before = status.get("state", {}).get("terminated"), status.get("lastState", {}).get("terminated")
        return dict(now or before or {})


def diagnose(patient: Patient) -> Problem | None:
    """The first problem found; None for a pod that is ready."""
    if pods.ready(patient.pod):
        return None
    found = (check(patient) for check in CHECKS)
    return next((problem for problem in found if problem is not None), None)


def not_bound(patient: Patient) -> Problem | None:
    """No node yet: the Scheduled condition says why."""
    if pods.bound(patient.pod):
        return None
    return Problem(reasons.NOT_STARTED, f"{patient.name} has no node yet")


def pod_failed(patient: Patient) -> Problem | None:
    """The kubelet gave the whole pod up, as in an eviction."""
    status = patient.pod.get("status", {})
    if status.get("phase") != "Failed" or not status.get("reason"):
        return None
    return Problem(
        reasons.POD_FAILED,
        f"{patient.name} failed: {status['reason']}: {words.clipped(status.get('message', ''))}",
    )


def image_pull(patient: Patient) -> Problem | None:
    """The image can't be had."""
    if patient.waiting.get("reason") not in _IMAGE_WAITS:
        return None
    said = _BACK_OFF.sub("", patient.waiting.get("message", "")) or patient.waiting["reason"]
    image = patient.status.get("image") or "the image"
    return Problem(reasons.IMAGE_PULL, f"{patient.name}: image {image} can't be pulled: {words.clipped(said)}")


def container_config(patient: Patient) -> Problem | None:
    """The container can't be made, as when a Secret or its key is missing."""
    if patient.waiting.get("reason") not in _CONFIG_WAITS:
        return None
    said = words.clipped(patient.waiting.get("message", patient.waiting["reason"]))
    return Problem(reasons.CONTAINER_CONFIG, f"{patient.name}: the container can't be made: {said}")


def out_of_memory(patient: Patient) -> Problem | None:
    """The kernel killed the container for its memory."""
    if patient.ended.get("reason") != "OOMKilled":
        return None
    limit = pods.resources(patient.pod, patient.container).get("limits", {}).get("memory")
    if limit:
        text = f"used more than its limit of {limit} host memory: raise spec.resources.memory"
    else:
        text = "was killed because its node ran out of memory: ask for more by spec.resources.memory"
    return Problem(reasons.OOM_KILLED, f"{patient.name}: the {patient.container} {text}")


def loading_too_long(patient: Patient) -> Problem | None:
    """The kubelet stopped an engine that had used its whole budget."""
    ended, budget = patient.ended, patient.budget_seconds
    begin, end = times.parse(ended.get("startedAt")), times.parse(ended.get("finishedAt"))
    if budget is None or begin is None or end is None or ended.get("exitCode") not in _KILLED:
        return None
    lasted = (end - begin).total_seconds()
    if not 0.95 * budget <= lasted <= 1.2 * budget + 120:
        return None
    return Problem(
        reasons.LOADING_TOO_LONG,
        f"{patient.name}: loading took longer than its budget of {words.duration(budget)} and was stopped; "
        "state the size of the weights in spec.model.size for a longer one",
    )


def crashed(patient: Patient) -> Problem | None:
    """The container ended by itself, now or before this try."""
    ended = patient.ended
    if not ended:
        return None
    code = ended.get("exitCode")
    said = lastwords.read(ended.get("message") or "")
    text = said.text
    if not text and code in _KILLED:
        text = "it was stopped from outside: by its liveness probe (GET /health), by hand, or for memory"
    elif not text:
        text = f"it left no words; see `kubectl logs {patient.name} --previous`"
    how = f"exit code {code} ({said.cause})" if said.cause else f"exit code {code}"
    return Problem(said.reason, f"{patient.name}: the {patient.container} ended with {how}: {text}")


def starting(patient: Patient) -> Problem | None:
    """On a node, and the kubelet has not started the container."""
    if patient.status.get("state", {}).get("running"):
        return None
    return Problem(
        reasons.STARTING,
        f"{patient.name}: its node pulls the image and mounts the volumes; "
        f"if this stays so, `kubectl describe pod {patient.name}` names what is missing",
    )


def loading(patient: Patient) -> Problem | None:
    """The engine runs and has never been ready: since when, and how much of its budget is used, in steps."""
    since = times.parse(patient.status["state"]["running"].get("startedAt"))
    unready_since = times.parse(pods.condition(patient.pod, "Ready").get("lastTransitionTime"))
    was_ready = since is None or unready_since is None or unready_since > since
    if patient.status.get("started") and was_ready:
        return None
    if since is None:
        return Problem(reasons.LOADING, f"{patient.name} loads the model")
    text = f"{patient.name} loads the model since {times.show(since)}"
    if patient.budget_seconds is None:
        return Problem(reasons.LOADING, text)
    step = max(STEP_SECONDS, patient.budget_seconds // STEPS)
    steps = max(0, int((patient.now - since).total_seconds() // step))
    used = f", {words.duration(steps * step)} of" if steps else "; it may take"
    return Problem(
        reasons.LOADING,
        f"{text}{used} at most {words.duration(patient.budget_seconds)}",
        changes_at=since + datetime.timedelta(seconds=(steps + 1) * step),
    )


def not_ready(patient: Patient) -> Problem | None:
    """It served before and does not answer now."""
    said = pods.condition(patient.pod, "Ready").get("message") or "GET /health is not answered with 200"
    return Problem(reasons.NOT_READY, f"{patient.name} runs and does not answer: {words.clipped(said)}")


CHECKS: tuple[Callable[[Patient], Problem | None], ...] = (
    pod_failed,
    not_bound,
    image_pull,
    container_config,
    out_of_memory,
    loading_too_long,
    crashed,
    starting,
    loading,
    not_ready,
)
