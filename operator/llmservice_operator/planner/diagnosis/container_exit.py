"""Why a container exited, from its exit code, its termination message, and reports of the kernel and the kubelet."""

import dataclasses
import datetime
import re

from llmservice_operator.planner.diagnosis import termination_message
from llmservice_operator.planner.diagnosis.pod_context import PodContext
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.problem import Problem, problem

KILLED = frozenset({0, 137, 143})
"""Exit codes of a container that was stopped by a signal."""
PROBE_WITHIN = datetime.timedelta(seconds=120)
"""Maximum time between a container's exit and the kubelet's Event that a probe caused it."""
MEMORY = "spec.resources.memory"
_WRONG_PLATFORM = re.compile(r"exec format error")
_PROBE = re.compile(r"failed (liveness|startup) probe")


def out_of_memory(context: PodContext) -> Problem | None:
    """The kernel killed the container because it ran out of memory."""
    if context.ended.get("reason") != "OOMKilled":
        return None
    limit = pods.resources(context.pod, context.container).get("limits", {}).get("memory")
    if limit:
        what, fix = f"used more than its limit of {limit} host memory", f"raise {MEMORY}"
    else:
        what, fix = "was killed because its node ran out of memory", f"request more in {MEMORY}"
    return problem(
        reasons.OOM_KILLED,
        context.name,
        f"the {context.container} {what}",
        numbers={"memoryLimit": str(limit)} if limit else {},
        field=MEMORY,
        fix=fix,
    )


def wrong_platform(context: PodContext) -> Problem | None:
    """The image is for another CPU architecture."""
    said = f"{context.ended.get('message') or ''} {context.waiting.get('message') or ''}"
    if not _WRONG_PLATFORM.search(said):
        return None
    return problem(
        reasons.CRASHED,
        context.name,
        f"image {context.image} is for another CPU architecture than its node's: {phrases.tail(said)}",
        cause=reasons.IMAGE_WRONG_PLATFORM,
        fix="build the image for the node's CPU architecture too (the chart value runtime.images), or choose other "
        "nodes with spec.scheduling.nodeSelector (kubernetes.io/arch)",
    )


def loading_too_long(context: PodContext) -> Problem | None:
    """The kubelet stopped an engine that had used its whole loading budget."""
    ended, budget = context.ended, context.budget_seconds
    begin, end = timestamps.parse(ended.get("startedAt")), timestamps.parse(ended.get("finishedAt"))
    if budget is None or ended.get("exitCode") not in KILLED or ended.get("message"):
        return None
    seen = _ended_by_probe(context) == "startup"
    if not seen and (begin is None or end is None or not _used_up((end - begin).total_seconds(), budget)):
        return None
    return problem(
        reasons.LOADING_TOO_LONG,
        context.name,
        f"loading took longer than its budget of {phrases.duration(budget)} and was stopped",
        numbers={"budgetSeconds": str(budget)},
        alternative="" if seen else "a signal from outside the container stopped it at that time",
        field="spec.model.size",
        fix="set spec.model.size to the size of the weights for a longer budget",
    )


def crashed(context: PodContext) -> Problem | None:
    """The container exited by itself, now or in its previous run."""
    ended = context.ended
    if not ended:
        return _unknown_exit(context)
    code = ended.get("exitCode")
    said = termination_message.read(ended.get("message") or "")
    how = f"exit code {code} ({said.cause})" if said.cause else f"exit code {code}"
    how = f"the {context.container} ended with {how}"
    numbers = {"exitCode": str(code)}
    if said.finding.message:
        finding = dataclasses.replace(
            said.finding,
            message=f"{how}: {said.finding.message}",
            subject=context.name,
            affected_pods=1,
            numbers={**said.finding.numbers, **numbers},
        )
        return Problem(said.kind, finding)
    if code not in KILLED:
        return problem(
            reasons.CRASHED,
            context.name,
            f"{how} and no termination message",
            numbers=numbers,
            alternative="the cause at the end of the log",
            fix=f"see `kubectl logs {context.name} --previous`",
        )
    if _ended_by_probe(context) == "liveness":
        return problem(
            reasons.CRASHED,
            context.name,
            f"{how}: the kubelet stopped it because GET /health had not been answered for a minute",
            cause=reasons.UNRESPONSIVE,
            numbers=numbers,
            fix=f"see `kubectl logs {context.name} --previous`; if it was only busy, increase spec.resources.cpu",
        )
    return problem(
        reasons.CRASHED,
        context.name,
        f"{how}: a signal from outside the container stopped it",
        cause=reasons.KILLED,
        numbers=numbers,
        alternative="its liveness probe (GET /health) or a lack of memory stopped it",
        fix=f"see `kubectl describe pod {context.name}`",
    )


def _unknown_exit(context: PodContext) -> Problem | None:
    """The kubelet waits before it restarts the container and no longer reports the last exit."""
    if context.waiting.get("reason") != "CrashLoopBackOff":
        return None
    return problem(
        reasons.CRASHED,
        context.name,
        f"the {context.container} is in CrashLoopBackOff and the kubelet no longer reports its last exit",
        alternative="the cause that its next exit reports",
        fix=f"see `kubectl logs {context.name} --previous`",
    )


def _used_up(lasted: float, budget: int) -> bool:
    return 0.95 * budget <= lasted <= 1.2 * budget + 120


def _ended_by_probe(context: PodContext) -> str:
    """The probe because of which the kubelet stopped the container, by its Events; empty if there is none."""
    end = timestamps.parse(context.ended.get("finishedAt"))
    for event in context.reported("Killing"):
        near = end is None or event.time is None or abs(event.time - end) <= PROBE_WITHIN
        if near and (found := _PROBE.search(event.note)):
            return found[1]
    return ""
