"""Containers and readiness gates that an admission webhook adds to pods, such as those of a service mesh."""

from collections.abc import Iterator
from typing import Any

from llmservice_operator.planner.diagnosis.pod_context import PodContext
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.problem import Problem, problem

_STARTS = ("ContainerCreating", "PodInitializing", "")
LONGEST = 200
"""Maximum length of what others wrote, in characters."""


def init_container(context: PodContext) -> Problem | None:
    """An init container fails or has not completed, so the engine's container waits. The operator adds none."""
    if context.status.get("state", {}).get("running") or context.ended:
        return None
    for each in _statuses(context, "initContainerStatuses"):
        name, failure = _name(each), _failure(each)
        if failure:
            return problem(
                reasons.STARTING,
                context.name,
                f"init container {name}, which is not the operator's, fails: {failure}; the engine waits for it",
                cause=reasons.INIT_CONTAINER_FAILS,
                fix=f"see `kubectl logs {context.name} -c {name}`, and the webhook or policy that adds it",
            )
        if (each.get("state") or {}).get("running") and not each.get("started"):
            return problem(
                reasons.STARTING,
                context.name,
                f"its init container {name}, which is not the operator's, is running; the engine waits for it",
            )
    return None


def sidecar(context: PodContext) -> Problem | None:
    """The engine is ready, and another container or a readiness gate of the pod is not."""
    if context.status.get("ready") is not True:
        return None
    for each in (*_statuses(context, "containerStatuses"), *_statuses(context, "initContainerStatuses")):
        name = _name(each)
        ended = (each.get("state") or {}).get("terminated") or {}
        if each.get("ready") is True or (ended.get("exitCode") == 0 and ended):
            continue
        return problem(
            reasons.NOT_READY,
            context.name,
            f"the engine is ready, and container {name}, which is not the operator's, is not"
            + (f": {failure}" if (failure := _failure(each)) else ""),
            cause=reasons.CONTAINER_NOT_READY,
            fix=f"see `kubectl logs {context.name} -c {name}`, and the webhook or policy that adds it",
        )
    ready = pods.condition(context.pod, "Ready")
    if ready.get("reason") != "ReadinessGatesNotReady":
        return None
    said = phrases.head(str(ready.get("message") or "it has no condition"), LONGEST)
    return problem(
        reasons.NOT_READY,
        context.name,
        f"the engine is ready, and a readiness gate of the pod is not: {said}",
        cause=reasons.CONTAINER_NOT_READY,
        fix="see the controller that sets the gate's condition, such as that of a load balancer",
    )


def _statuses(context: PodContext, field: str) -> Iterator[dict[str, Any]]:
    """The statuses of the other containers."""
    for each in context.pod.get("status", {}).get(field) or ():
        if each.get("name") != context.container:
            yield dict(each)


def _name(status: dict[str, Any]) -> str:
    return phrases.head(str(status.get("name")), 63)


def _failure(status: dict[str, Any]) -> str:
    """Why the container does not run, without numbers that change by themselves; empty if it may still start."""
    state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    code = (ended or last).get("exitCode")
    exited = f"exit code {code}" if type(code) is int and code else ""
    reason = phrases.head(str(waiting.get("reason") or ""), 63)
    if reason not in _STARTS:
        return ", ".join(each for each in (reason, exited) if each)
    return exited if ended else ""
