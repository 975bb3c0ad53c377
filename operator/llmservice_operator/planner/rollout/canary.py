"""A canary: the pause of a rollout after its first new replica, in which the gateway sends it some of the requests.

The split is announced in the status before the first replica is replaced, so that the gateway never takes a new replica
for an old one. The record stores the canary's revision, since when it is compared, and the result.
"""

import dataclasses
import datetime
import math

from llmservice_operator.api.rollout import Canary, OnFewRequests, RolloutStrategy
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import CanaryStatus
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.canary_counts import NO_COUNTS, CanaryCounts, RequestCounts
from llmservice_operator.planner.model.observed import NOTHING, Input, Observed
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.problem import Problem
from llmservice_operator.planner.report.problem import problem as a_problem
from llmservice_operator.planner.rollout import evidence, steps
from llmservice_operator.planner.rollout.state import RolloutState

POLL_SECONDS = 5
"""How often the gateway's counts are read while a canary is compared."""
LEAST_RATIO = 0.01
"""Minimum ratio of failures that is compared with; as in split.lua."""
STEP_PERCENT = 16
"""Percent of its weight that a canary gets first: of a weight of 5, 0.8 % of the requests."""
BAD_RATIO = 0.1
"""The canary gets its whole weight once it likely fails less than this above the others, or than twice what is
allowed."""
MOST_RATIO = 0.9
SLOW_RATIO = 0.5
"""And once it is likely slow less often than this, if its times were compared."""
QUANTILE = 2.326
"""Of the normal distribution, for 99 % confidence."""
LEAST_TIMED = 10
"""Minimum number of times on each side for a comparison of their means."""


@dataclasses.dataclass(frozen=True)
class CanaryStep:
    """What the canary means for this step of the rollout."""

    record: Record
    holds: bool = False
    """Whether no other replica may be updated now."""
    problem: Problem | None = None
    """Why the canary has failed."""
    progress: str = ""
    """What is known of it, or why there is none, as part of a sentence."""
    requires: frozenset[Input] = NOTHING
    recheck_at: datetime.datetime | None = None


def check(fleet: RolloutState, spec: LLMServiceSpec, record: Record) -> CanaryStep:
    """The canary's state. ``record`` has the strategy of the rollout."""
    wish = spec.rollout.canary
    if wish is None or record.canary_passed or not fleet.outdated or not fleet.ready:
        return CanaryStep(record)
    if fleet.good is None or fleet.newest == fleet.last_good:
        # There is nothing to return to, or this is the return.
        return CanaryStep(record)
    if not _has_gateway(fleet.state.observed):
        return CanaryStep(record, progress="no canary: no NGINX gateway serves this namespace")
    others = [pod for pod in fleet.outdated if fleet.answers(pod)]
    if not fleet.updated_replicas and record.strategy is RolloutStrategy.IN_PLACE and len(others) < 2:
        return CanaryStep(record, progress="no canary: no other replica would be ready beside it")
    if record.canary != fleet.newest:
        record = dataclasses.replace(
            record, canary=fleet.newest, canary_since="", canary_failed="", canary_raised=False
        )
    if _announced(fleet.state.observed) != fleet.newest:
        return CanaryStep(record, holds=True)
    new = fleet.updated_replicas & fleet.answering_replicas
    if not new or not others:
        return CanaryStep(record, holds=bool(fleet.updated_replicas) and steps.busy(fleet, record.placed))
    if not record.canary_since:
        record = dataclasses.replace(record, canary_since=timestamps.show(fleet.state.observed.now))
    return _compare(fleet, wish, record, pods.name(fleet.pods[max(new)]))


def split(fleet: RolloutState, spec: LLMServiceSpec, record: Record | None) -> CanaryStatus | None:
    """How the gateway splits requests now; None if all replicas are equal."""
    if record is None or record.done:
        return None
    # The gateway may hear of the status before it hears of a pod's deletion.
    there = {pods.revision(pod) for pod in (*fleet.pods.values(), *fleet.state.leaving)}
    wish = spec.rollout.canary
    if record.failure is None and wish is not None and record.canary and not record.canary_passed:
        failed = bool(record.canary_failed)
        return CanaryStatus(
            revision=record.canary,
            weight=0 if failed else wish.weight,
            header=None if failed else wish.header,
            max_added_error_percent=wish.max_added_error_percent,
            step_percent=100 if record.canary_raised else STEP_PERCENT,
            max_latency_percent=wish.max_latency_percent,
            excluded_revision=record.canary_before if record.canary_before in there else None,
        )
    rejected = record.canary if record.failure is not None and not record.canary_passed else ""
    before = record.canary_before if wish is not None else ""
    left = next((each for each in (rejected, before) if each in there), None)
    return CanaryStatus(revision=left, weight=0) if left else None


def _has_gateway(observed: Observed) -> bool:
    platform, namespace = observed.platform, observed.service["metadata"]["namespace"]
    return bool(platform.gateway_url) and (not platform.gateway_namespaces or namespace in platform.gateway_namespaces)


def _announced(observed: Observed) -> str:
    """The canary's revision in the status, which the gateway reads."""
    status = observed.service.get("status") or {}
    return str((status.get("canary") or {}).get("revision") or "")


def _compare(fleet: RolloutState, wish: Canary, record: Record, subject: str) -> CanaryStep:
    observed = fleet.state.observed
    if record.canary_failed:
        return CanaryStep(record, holds=True, problem=_problem(subject, record.canary_failed))
    again = fleet.state.after(POLL_SECONDS)
    requires = observed.missing(Input.CANARIES)
    if observed.canaries is None:
        said = "canary: the counts of the gateway can't be read"
        return CanaryStep(record, holds=True, progress=said, requires=requires, recheck_at=again)
    counts = observed.canaries.get(record.canary, NO_COUNTS)
    if not record.canary_raised and _answers_well(wish, counts):
        record = dataclasses.replace(record, canary_raised=True)
    since = timestamps.parse(record.canary_since) or observed.now
    enough = counts.canary.requests >= wish.min_requests
    ends = since + datetime.timedelta(seconds=wish.duration_seconds if enough else wish.deadline_seconds)
    over = ends <= observed.now
    why = (
        _failed_requests(wish, counts, over=over) or _slow(wish, counts) or _latency(wish, counts, over=over and enough)
    )
    if why:
        return CanaryStep(
            dataclasses.replace(record, canary_failed=why), holds=True, problem=_problem(subject, why), progress=""
        )
    if over and (enough or wish.on_few_requests is OnFewRequests.CONTINUE):
        return CanaryStep(dataclasses.replace(record, canary_passed=True))
    return CanaryStep(record, holds=True, progress=_progress(wish, counts, record, subject), recheck_at=again)


def _problem(subject: str, why: str) -> Problem:
    return a_problem(
        reasons.CANARY_FAILED,
        subject,
        why,
        field="spec.rollout.canary",
        fix="Correct the spec. If the limits are too low, change them in spec.rollout.canary.",
    )


def _progress(wish: Canary, counts: CanaryCounts, record: Record, subject: str) -> str:
    done = f"canary {subject}: {_shown(counts.canary)} failed, others {_shown(counts.old)}"
    if wish.weight and not record.canary_raised:
        done += f"; {STEP_PERCENT} % of its weight until it has answered more"
    since = timestamps.parse(record.canary_since)
    until = timestamps.show(since + datetime.timedelta(seconds=wish.duration_seconds)) if since else "its end"
    return f"{done}; compared until {until} and {wish.min_requests} requests at least"


def _failed_requests(wish: Canary, counts: CanaryCounts, *, over: bool) -> str:
    """Why the canary fails too many requests; empty if it does not. Before ``over`` it must be certain."""
    canary, old = counts.canary, counts.old
    allowed = wish.max_added_error_percent / 100 + old.failed_ratio
    certain = evidence.above(canary.requests, canary.failed, _tested_ratio(wish, old))
    certain = certain or (counts.braked and not _is_slow(wish, counts))
    if not certain and not (over and canary.failed_ratio > allowed):
        return ""
    return (
        f"{_shown(canary)} requests to it failed, and {_shown(old)} to the other replicas; a ratio that is "
        f"{wish.max_added_error_percent} % of all requests higher is allowed"
    )


def _tested_ratio(wish: Canary, old: RequestCounts) -> float:
    """The ratio of failures that is allowed; as in split.lua."""
    return max(LEAST_RATIO, wish.max_added_error_percent / 100) + old.failed_ratio


def _answers_well(wish: Canary, counts: CanaryCounts) -> bool:
    """Whether the canary is likely not much worse than the others."""
    bad = min(MOST_RATIO, max(BAD_RATIO, 2 * wish.max_added_error_percent / 100) + counts.old.failed_ratio)
    fast = counts.ranked < LEAST_TIMED or evidence.below(counts.ranked, counts.slow, SLOW_RATIO)
    return fast and evidence.below(counts.canary.requests, counts.canary.failed, bad)


def _is_slow(wish: Canary, counts: CanaryCounts) -> bool:
    """Whether it is certainly too slow, or a gateway has found so."""
    failed_ratio = counts.old.failed_ratio + wish.max_added_error_percent / 100
    found = counts.braked and counts.canary.failed_ratio <= failed_ratio
    return evidence.above(counts.ranked, counts.slow, evidence.SLOW_RATIO) or (
        found and counts.slow > counts.ranked * evidence.SLOW_RATIO
    )


def _slow(wish: Canary, counts: CanaryCounts) -> str:
    """Why the canary is certainly too slow; empty if it is not."""
    if not _is_slow(wish, counts):
        return ""
    return (
        f"{counts.slow} of {counts.ranked} times to its first byte are above {wish.max_latency_percent} % of those of "
        f"similar requests to the other replicas, the longest quarter left out; {evidence.SLOW_RATIO:.0%} are expected "
        "if it is as fast as allowed"
    )


def _latency(wish: Canary, counts: CanaryCounts, *, over: bool) -> str:
    """Why the canary is too slow; empty if it is not. Before ``over`` it must be certain."""
    canary, old = counts.canary, counts.old
    if min(canary.timed, old.timed) < LEAST_TIMED:
        return ""
    mean, other = canary.log_sum / canary.timed, old.log_sum / old.timed
    error = math.sqrt(_variance(canary) / canary.timed + _variance(old) / old.timed)
    if mean - other - (0 if over else QUANTILE * error) <= math.log(wish.max_latency_percent / 100):
        return ""
    return (
        f"the time to the first byte is {_seconds(mean)} s (geometric mean of {canary.timed} requests), that of the "
        f"other replicas {_seconds(other)} s; {wish.max_latency_percent} % of it are allowed"
    )


def _variance(counts: RequestCounts) -> float:
    mean = counts.log_sum / counts.timed
    return max(0.0, counts.log_squares / counts.timed - mean * mean) * counts.timed / (counts.timed - 1)


def _seconds(logarithm: float) -> str:
    return f"{math.exp(min(logarithm, 50)):.3g}"


def _shown(counts: RequestCounts) -> str:
    return f"{counts.failed} of {counts.requests}"
