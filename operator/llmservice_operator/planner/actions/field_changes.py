"""What follows from fields of children that others have changed: what is applied, and what is reported.

This is not a condition: accepted changes delay nothing.
"""

from collections.abc import Iterator

from llmservice_contract.finding import Finding
from llmservice_operator.planner.actions.decision import decide
from llmservice_operator.planner.model import foreign_changes
from llmservice_operator.planner.model.drift import Difference
from llmservice_operator.planner.model.foreign_changes import ForeignChange
from llmservice_operator.planner.model.replicas_owner import OPERATOR
from llmservice_operator.planner.model.result import Result, earliest
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import CONFIGMAP

MOST_FIELDS = 4
"""Maximum number of fields in one finding."""
LONGEST_VALUE = 80
"""Maximum length of a value in a finding, in characters."""


def accepted(state: ServiceState) -> frozenset[tuple[str, str]]:
    """Kind and name of the desired children that need not be applied: they differ from the live ones only in accepted
    values. A client that calls itself as the operator's field manager looks like an admission webhook. So those that
    protect a service are applied anyway; the executor does it once for each version that another client has made."""
    return frozenset(
        each.key
        for each in state.once(decide).foreign_changes
        if each.same and each.kind not in foreign_changes.PROTECTIVE and foreign_changes.is_accepted(state, each)
    )


def corrected(state: ServiceState) -> dict[tuple[str, str], tuple[str, ...]]:
    """Paths of the fields that are applied again because others changed them, by kind and name of the child."""
    found = {}
    for change in state.once(decide).foreign_changes:
        if foreign_changes.is_accepted(state, change) is False:
            fields = foreign_changes.by_others(state, change) or ()
            again = [each for each in fields if foreign_changes.contested_until(state, change.key, each) is None]
            found[change.key] = tuple(foreign_changes.text_of(path) for path in again)
    return found


def evaluate(state: ServiceState) -> Result:
    """A finding for each child whose changed values are accepted."""
    changes = state.once(decide).foreign_changes
    findings = (*_unstable(state), *(finding for each in changes for finding in _findings(state, each)))
    ends = [
        foreign_changes.contested_until(state, each.key, path)
        for each in changes
        for path in foreign_changes.by_others(state, each) or ()
    ]
    verdict = Verdict("True", reasons.FIELDS_CHANGED_ELSEWHERE, "", findings=findings) if findings else None
    return Result(verdict, foreign_changes.required(state, changes), earliest(*ends))


def _unstable(state: ServiceState) -> Iterator[Finding]:
    name = names.engine_statefulset(state.owner.name)
    if field := foreign_changes.unstable_field(state, name):
        yield Finding(
            reasons.FIELDS_CHANGED_ELSEWHERE,
            f"an admission webhook or policy sets another value with each write of StatefulSet {name}: {field}; each "
            "change of its pod template restarts pods, so rollouts have no surge pod and are not rolled back",
            fix=f"make the webhook or policy set the same value each time, or exclude StatefulSet {name} from it",
        )


def _findings(state: ServiceState, change: ForeignChange) -> Iterator[Finding]:
    managers = foreign_changes.managers_of(state, change)
    if managers is None or not foreign_changes.is_accepted(state, change):
        return
    for manager in dict.fromkeys(managers.values()):
        fields = [each for each in change.fields if managers[each.path] == manager]
        shown = phrases.join_truncated([_shown(change, each) for each in fields], MOST_FIELDS)
        subject, path = f"{change.kind} {change.name}", foreign_changes.text_of(fields[0].path)
        if manager == OPERATOR:
            message = f"an admission webhook or policy changes {subject}: {shown}; the changed values are in use"
            fix = f"if they are not intended, exclude {subject} from the webhook or policy"
        else:
            who = f"field manager {manager}" if manager else "another client"
            until = earliest(*(foreign_changes.contested_until(state, change.key, each.path) for each in fields))
            again = f", and the operator sets them back at {until:%Y-%m-%d %H:%M} UTC" if until is not None else ""
            message = (
                f"{who} changed {subject} again after each of {foreign_changes.MOST_CORRECTIONS} corrections: {shown}; "
                f"the changed values are in use{again}"
            )
            fix = f"stop {who} from writing {path} of {subject}"
        yield Finding(reasons.FIELDS_CHANGED_ELSEWHERE, message, numbers={"changedFields": str(len(fields))}, fix=fix)


def _shown(change: ForeignChange, field: Difference) -> str:
    path = foreign_changes.text_of(field.path)
    scalars = all(value is None or isinstance(value, (str, int, bool)) for value in (field.desired, field.live))
    if change.kind == CONFIGMAP.kind or not scalars:
        return path + (" is removed" if field.live is None else "")
    return f"{path} from {_text(field.desired)} to {_text(field.live)}"


def _text(value: object) -> str:
    if value is None:
        return "nothing"
    plain = "".join(each if each.isprintable() else " " for each in str(value)[: LONGEST_VALUE + 1])
    return phrases.head(plain, LONGEST_VALUE) or '""'
