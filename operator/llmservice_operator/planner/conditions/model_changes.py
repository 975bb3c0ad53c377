"""When known facts about a model are read again, because the files of its source may have changed.

A volume claim or a bucket can get other files under the same path, and a branch of a hub another commit. The facts are
read again after a restart of a pod, which loads the files of now; if the annotation ``llmservice.dev/refresh`` changes;
after a rollout that failed because credentials were refused, to find out whether they have been corrected; and while a
check that follows from them fails. Pauses between two readings grow with the time that the trouble lasts.

A commit that pods use is never exchanged: see ``revisions``.
"""

import datetime
from collections.abc import Iterator

from llmservice_contract.source import Repository
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import ModelFacts
from llmservice_operator.planner.conditions import accepted
from llmservice_operator.planner.model import pods, revisions, timestamps
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.result import earliest
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import reasons
from llmservice_operator.resources import names

LEAST_SECONDS, MOST_SECONDS = 300, 3600
"""Minimum and maximum time between two readings."""


def read_again_at(state: ServiceState, spec: LLMServiceSpec, known: ModelFacts) -> datetime.datetime | None:
    """When the facts are read again; None if nothing says that the files have changed, or they can't change."""
    read_at = timestamps.parse(known.read_at)
    return earliest(_credentials_at(state, spec, read_at), _files_at(state, spec, known, read_at))


def tells_credentials(state: ServiceState, spec: LLMServiceSpec) -> bool:
    """Whether the model can be read only to find out whether the credentials are accepted: not while pods use the
    commit of a branch, which another reading might exchange."""
    return not (revisions.moves(spec) and revisions.pods_use_model(state, spec))


def _credentials_at(
    state: ServiceState, spec: LLMServiceSpec, read_at: datetime.datetime | None
) -> datetime.datetime | None:
    """When to find out whether the credentials with which a rollout failed have been corrected."""
    record = Record.of(state.statefulset) if state.statefulset is not None else None
    if record is None or record.failure is None or not tells_credentials(state, spec):
        return None
    at = timestamps.parse(record.failure.retry_at)
    refused = reasons.of(record.failure.finding.reason).credentials_refused
    return at if refused and at is not None and (read_at is None or read_at < at) else None


def _files_at(
    state: ServiceState, spec: LLMServiceSpec, known: ModelFacts, read_at: datetime.datetime | None
) -> datetime.datetime | None:
    if not _may_change(state, spec):
        return None
    failing = _failing_since(state, spec, known)
    if refresh(state) != known.refresh:
        # Without a failure some minutes later, because each change of a key sets the annotation.
        return state.observed.now if failing is not None or read_at is None else _pause(read_at, read_at)
    if read_at is None:  # by an earlier version of the operator
        return None if failing is None else _pause(failing, failing)
    restarted = max(_starts(state, read_at), default=None)
    unready = _since(state, "Serving") or read_at
    return earliest(
        None if failing is None else _pause(read_at, failing),
        None if restarted is None else max(restarted, _pause(read_at, unready)),
    )


def refresh(state: ServiceState) -> str | None:
    """A digest of the annotation ``llmservice.dev/refresh``, because its value can be long; None without it."""
    value = pods.annotations(state.observed.service).get(names.REFRESH_ANNOTATION)
    return None if value is None else names.digest(value)


def _may_change(state: ServiceState, spec: LLMServiceSpec) -> bool:
    if not isinstance(spec.model.parsed_source, Repository):
        return True
    return revisions.moves(spec) and not revisions.pods_use_model(state, spec)


def _failing_since(state: ServiceState, spec: LLMServiceSpec, known: ModelFacts) -> datetime.datetime | None:
    """Since when a check that follows from the facts fails; None if none fails."""
    if accepted.check_model(spec, known) is not None:
        return _since(state, "Accepted") or state.observed.now
    return _since(state, "Fits")


def _since(state: ServiceState, kind: str) -> datetime.datetime | None:
    """Since when the condition is False for this spec."""
    found = state.previous.get(kind, {})
    if found.get("status") != "False" or found.get("observedGeneration") != state.generation:
        return None
    return timestamps.parse(found.get("lastTransitionTime"))


def _pause(read_at: datetime.datetime, since: datetime.datetime) -> datetime.datetime:
    seconds = min(MOST_SECONDS, max(LEAST_SECONDS, (read_at - since).total_seconds()))
    return read_at + datetime.timedelta(seconds=seconds)


def _starts(state: ServiceState, read_at: datetime.datetime) -> Iterator[datetime.datetime]:
    """When engines started after the facts were read. The first start of a pod counts only if the pod was created some
    minutes later: pods that are created because the facts are known load the same files."""
    first = read_at + datetime.timedelta(seconds=LEAST_SECONDS)
    for pod in state.engines:
        started = _started(pod)
        if started is not None and started > read_at and (_restarted(pod) or _was_made_after(pod, first)):
            yield started


@pods.read_once
def _started(pod: Object) -> datetime.datetime | None:
    running = (pods.container(pod).get("state") or {}).get("running") or {}
    return timestamps.parse(running.get("startedAt"))


def _was_made_after(pod: Object, time: datetime.datetime) -> bool:
    made = pods.created_at(pod)
    return made is not None and made > time


def _restarted(pod: Object) -> bool:
    return int(pods.container(pod).get("restartCount") or 0) > 0
