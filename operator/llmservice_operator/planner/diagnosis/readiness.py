"""Running engines that are not ready: they are loading, or they served before and do not answer."""

import datetime

from llmservice_operator.planner.diagnosis.pod_context import PodContext
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.problem import Problem, problem

STEP_SECONDS = 30
STEPS = 10
PROBE_LEAD = datetime.timedelta(seconds=20)
"""How long before a pod becomes unready its probe may have failed first."""
APART_FACTOR = 1.2
"""Share of the budget after which a multi-node replica is not loading: its ranks wait for each other."""


def loading(context: PodContext) -> Problem | None:
    """The engine runs and has never been ready. The message has its start, and the used part of its budget in steps."""
    since = timestamps.parse(context.status["state"]["running"].get("startedAt"))
    unready_since = timestamps.parse(pods.condition(context.pod, "Ready").get("lastTransitionTime"))
    was_ready = since is None or unready_since is None or unready_since > since
    if context.status.get("started") and was_ready:
        return None
    if since is None:
        return problem(reasons.LOADING, context.name, "it is loading the model")
    text = f"it has been loading the model since {timestamps.show(since)}"
    if context.budget_seconds is None:
        return problem(reasons.LOADING, context.name, text)
    most = phrases.duration(context.budget_seconds)
    if pods.nodes(context.pod) > 1 and (context.now - since).total_seconds() > APART_FACTOR * context.budget_seconds:
        return problem(
            reasons.LOADING,
            context.name,
            f"it has been running since {timestamps.show(since)} and has not started to load within {most}",
            cause=reasons.RANKS_APART,
            alternative="the engine hangs",
            fix=f"find in `kubectl logs {context.name}` which rank it waits for, and allow all ports between the "
            f"replica's pods (network policies)",
        )
    step = max(STEP_SECONDS, context.budget_seconds // STEPS)
    steps = max(0, int((context.now - since).total_seconds() // step))
    used = f", {phrases.duration(steps * step)} of" if steps else "; it may take"
    return problem(
        reasons.LOADING,
        context.name,
        f"{text}{used} at most {most}",
        changes_at=since + datetime.timedelta(seconds=(steps + 1) * step),
    )


def not_ready(context: PodContext) -> Problem | None:
    """The engine was ready before and does not answer now."""
    said = _of_probe(context) or pods.condition(context.pod, "Ready").get("message")
    return problem(
        reasons.NOT_READY,
        context.name,
        f"it is running and does not answer: {phrases.tail(said or 'GET /health does not return 200')}",
        alternative="the network path from its node's kubelet is blocked",
        fix=f"see `kubectl logs {context.name}`; its liveness probe restarts a dead engine",
    )


def _of_probe(context: PodContext) -> str:
    """The failure of the readiness probe since the pod is not ready; empty if it is not known. Of several alternating
    failures it is always the same one, so that the message does not change."""
    since = timestamps.parse(pods.condition(context.pod, "Ready").get("lastTransitionTime"))
    met = (event for event in context.reported("Unhealthy") if event.note.startswith("Readiness probe"))
    notes = [event.note for event in met if since is None or event.time is None or event.time >= since - PROBE_LEAD]
    return min(notes, default="")
