"""What keeps one pod from serving: ordered checks, the first that finds something counts.

A problem has a class, by which decisions are made, and a cause, which is told; what can't be told more exactly is told
by its class. Messages say what does not change from second to second: no counts of restarts, no ages but in steps.
"""

from collections.abc import Callable

from llmservice_operator.planner.diagnosis import container_exit, image_pull, kubelet, readiness
from llmservice_operator.planner.diagnosis.pod_context import PodContext
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.report.problem import Problem

__all__ = ["CHECKS", "PodContext", "Problem", "diagnose"]

CHECKS: tuple[Callable[[PodContext], Problem | None], ...] = (
    kubelet.pod_failed,
    kubelet.not_bound,
    image_pull.not_pulled,
    kubelet.container_config,
    container_exit.out_of_memory,
    container_exit.wrong_platform,
    container_exit.loading_too_long,
    container_exit.crashed,
    kubelet.given_up_before,
    kubelet.mount_failed,
    kubelet.sandbox_failed,
    kubelet.starting,
    readiness.loading,
    readiness.not_ready,
)


def diagnose(context: PodContext) -> Problem | None:
    """The first problem found; None for a pod that is ready."""
    if pods.ready(context.pod):
        return None
    found = (check(context) for check in CHECKS)
    return next((problem for problem in found if problem is not None), None)
