"""Why one pod does not serve. The checks run in order; the first that finds a problem counts.

A problem has a category, by which decisions are made, and a reason, which is reported. Without a more exact reason the
category is reported. Messages have no values that change every second, such as restart counts; ages change in steps.
"""

from collections.abc import Callable

from llmservice_operator.planner.diagnosis import container_exit, image_pull, injected, kubelet, readiness
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
    kubelet.predecessor_terminated,
    kubelet.mount_failed,
    kubelet.devices_not_prepared,
    kubelet.sandbox_failed,
    injected.init_container,
    kubelet.starting,
    injected.sidecar,
    readiness.loading,
    readiness.not_ready,
)


def diagnose(context: PodContext) -> Problem | None:
    """The first problem; None if the pod is ready."""
    if pods.ready(context.pod):
        return None
    found = (check(context) for check in CHECKS)
    return next((problem for problem in found if problem is not None), None)
