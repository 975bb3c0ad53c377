"""Fields of children that others have changed: admission webhooks and policies, other controllers, and people.

The operator applies a child with server-side apply, and the API server records in ``managedFields`` that the operator
owns the applied fields. A client that writes such a field later takes its ownership. An admission webhook or policy
changes the object inside a request, and the ownership stays. So if a field has another value than the operator applied,
and the operator still owns it, an admission webhook or policy changed it: it would do so again with each write. These
changes are accepted. Changes by other clients are corrected, but only a few times an hour, because another controller
would set its value again and again.
"""

import dataclasses
import datetime
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmservice_operator.planner.model import drift, pods
from llmservice_operator.planner.model.drift import Difference, Path
from llmservice_operator.planner.model.observed import NOTHING, Input, Object
from llmservice_operator.planner.model.replicas_owner import FIELDS, OPERATOR, printable
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.model.state import ServiceState, adoptable
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import CONFIGMAP, NETWORK_POLICY, STATEFULSET

NO_MANAGER = ""
"""Instead of a field manager: none owns the field, because it was removed or the owners could not be read."""

MOST_CORRECTIONS = 5
"""Maximum number of corrections of one field within PERIOD. After them, its live value is accepted for PAUSE: each
correction of a pod template may restart pods."""
MOST_CORRECTED_FIELDS = 256
"""Maximum number of fields of one child whose corrections are remembered. After them all its fields count as corrected
too often."""
PERIOD = datetime.timedelta(hours=1)
PAUSE = datetime.timedelta(hours=24)

MOST_TEMPLATES = 3
"""Number of unintended changes of a pod template within PERIOD after which it is unstable for PAUSE. A new policy
changes it once."""

_COUNTS = frozenset(name.removeprefix("f:") for name in FIELDS)
"""Replica counts are always corrected: ``conditions.replicas_writer`` reports who sets them."""
PROTECTIVE = frozenset({CONFIGMAP.kind, NETWORK_POLICY.kind})
"""Kinds that hold who may use a service and who reaches its ports. They are always corrected, too: the corrections
restart no pods, and a client that may write them must not switch the protection off for PAUSE by a few writes."""


@dataclasses.dataclass(frozen=True)
class ForeignChange:
    """A child that has other values than the operator applied."""

    api_version: str
    kind: str
    namespace: str
    name: str
    version: str
    """The resourceVersion."""
    same: bool
    """Whether the whole object is the one that is desired now. If not, it is applied in any case."""
    fields: tuple[Difference, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name."""
        return self.kind, self.name


def of_children(state: ServiceState, objects: Iterable[Object]) -> tuple[ForeignChange, ...]:
    """The changes of these desired children."""
    return tuple(found for desired in objects if (found := of_child(state, desired)) is not None)


def of_child(state: ServiceState, desired: Object) -> ForeignChange | None:
    """The changes of one desired child; None if there are none, and if another version of it is live: what of that
    others have changed can't be known. A StatefulSet with another state of its rollout may have the same template."""
    live = state.child(desired["kind"], desired["metadata"]["name"])
    if live is None or not (pods.owned_by(live, state.owner.uid) or adoptable(live)):
        return None
    if live.get("spec") == {}:
        return None  # the cache has only its identity, because it is too large
    mark, applied = (pods.annotations(each).get(names.APPLIED_ANNOTATION) for each in (desired, live))
    if mark == applied or applied is None:
        return _found(live, drift.differences(desired, live), same=mark == applied)
    if desired["kind"] == STATEFULSET.kind and _same_template(desired, live):
        return of_template(desired["spec"]["template"], live)
    return None


def of_template(template: Any, live: Object) -> ForeignChange | None:
    """The changes of the pod template of a StatefulSet that was applied with ``template``."""
    at = ("spec", "template")
    return _found(live, drift.differences(template, live["spec"]["template"], at), same=False)


def has_template(state: ServiceState, template: Any, live: Object) -> bool:
    """Whether a StatefulSet, which was applied with ``template``, has it, apart from accepted changes. A StatefulSet
    without a record may have been applied with another one. True while the owners of the fields are not known."""
    change = of_template(template, live)
    return change is None or (Record.of(live) is not None and is_accepted(state, change) is not False)


def differs(state: ServiceState, desired: Object, live: Object) -> bool:
    """Whether ``live`` has to be applied again: see ``drift.differs``."""
    if not drift.differs(desired, live):
        return False
    change = of_child(state, desired)
    return change is None or not change.same or is_accepted(state, change) is not True


def is_accepted(state: ServiceState, change: ForeignChange) -> bool | None:
    """Whether these live values are accepted; None if the owners of the fields are not known yet."""
    managers = managers_of(state, change)
    if managers is None:
        return None
    return all(
        path[-1] not in _COUNTS and contested_until(state, change.key, path) is not None
        for path, manager in managers.items()
        if manager != OPERATOR
    )


def by_others(state: ServiceState, change: ForeignChange) -> tuple[Path, ...] | None:
    """The changed fields that the operator does not own; None if the owners of the fields are not known yet."""
    managers = managers_of(state, change)
    return None if managers is None else tuple(path for path, manager in managers.items() if manager != OPERATOR)


def contested_until(state: ServiceState, key: tuple[str, str], path: Path) -> datetime.datetime | None:
    """When a field that was corrected too often is corrected again; None if it was not."""
    if key[0] in PROTECTIVE:
        return None
    known = state.observed.corrections.get(key, {})
    if len(known) >= MOST_CORRECTED_FIELDS:
        times: Sequence[datetime.datetime] = (max(each[-1] for each in known.values()),)
    else:
        times = known.get(text_of(path), ())[-MOST_CORRECTIONS:]
        if len(times) < MOST_CORRECTIONS or times[-1] - times[0] >= PERIOD:
            return None
    until = times[-1] + PAUSE
    return until if until > state.observed.now else None


def of_contested(state: ServiceState, rendered: Object) -> ForeignChange | None:
    """The differences of the live pod template of a StatefulSet that was corrected; None for any other."""
    name = rendered["metadata"]["name"]
    live = state.child(STATEFULSET.kind, name)
    if live is None or not state.observed.corrections.get((STATEFULSET.kind, name)):
        return None
    return of_template(rendered["spec"]["template"], live)


def with_values_of_others(state: ServiceState, rendered: dict[str, Any]) -> dict[str, Any]:
    """``rendered`` with the values that others have set of fields that were corrected too often. With its own values,
    each write would change the template back and forth, and each such change restarts pods."""
    change = of_contested(state, rendered)
    managers = managers_of(state, change) if change is not None else None
    if change is None or managers is None:
        return rendered
    result = rendered
    for field in change.fields:
        if managers[field.path] != OPERATOR and contested_until(state, change.key, field.path) is not None:
            result = _with_value(result, field.path, field.live)
    return result


def _with_value(value: Any, path: Path, new: Any) -> Any:
    """A copy of ``value`` with another value at the path, or without it if that is None."""
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        kept = {key: each for key, each in value.items() if key != step}
        inner = _with_value(value[step], rest, new) if rest else new
        return kept if inner is None else {**kept, step: inner}
    found = []
    for item in value:
        here = all(item.get(key) == each for key, each in step)
        inner = (_with_value(item, rest, new) if rest else new) if here else item
        found += [] if inner is None else [inner]
    return found


def managers_of(state: ServiceState, change: ForeignChange) -> Mapping[Path, str] | None:
    """The field manager of each changed field; the operator's if an admission webhook or policy changed it. None if
    not all of them are known."""
    known = (state.observed.field_owners or {}).get(change.key, {})
    found = {each.path: known[each.path] for each in change.fields if each.path in known}
    return found if len(found) == len(change.fields) else None


def required(state: ServiceState, changes: Iterable[ForeignChange]) -> frozenset[Input]:
    """The owners of the fields, if they would tell more of these changes."""
    unknown = any(managers_of(state, each) is None for each in changes)
    return frozenset({Input.FIELD_OWNERS}) if unknown else NOTHING


def unstable_field(state: ServiceState, statefulset: str) -> str:
    """A field that an admission webhook or policy sets to another value with each write of this StatefulSet; empty if
    its pod template is stable."""
    changes = state.observed.template_changes.get(statefulset, ())[-MOST_TEMPLATES:]
    now = state.observed.now
    unstable = (
        len(changes) == MOST_TEMPLATES and changes[-1].at - changes[0].at < PERIOD and now - changes[-1].at < PAUSE
    )
    return changes[-1].field if unstable else ""


def changed_template_field(before: Object, after: Object) -> str:
    """A field in which the pod templates of a StatefulSet before and after a write differ, if the same template was
    desired; empty if there is none."""
    if before["kind"] != STATEFULSET.kind or not _same_template(before, after):
        return ""
    one, other = before["spec"]["template"], after["spec"]["template"]
    at: Path = ("spec", "template")
    for each in (*drift.differences(other, one, at), *drift.differences(one, other, at)):
        return text_of(each.path)
    return ""


class _Items:
    """The list items in fieldsV1 trees. Each key is parsed once, because others may have made up many."""

    def __init__(self) -> None:
        self._known: dict[int, list[tuple[dict[str, Any], Any]]] = {}
        """By identity of the tree of the list."""

    def find(self, tree: Mapping[str, Any], wanted: drift.ItemKey) -> Any:
        """The tree of the item; None if it is not there."""
        known, there = dict(wanted), self._known.get(id(tree))
        if there is None:
            there = self._known[id(tree)] = list(self._parsed(tree))
        return next(
            (inner for key, inner in there if all(known.get(field, value) == value for field, value in key.items())),
            None,
        )

    @staticmethod
    def _parsed(tree: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
        for name, inner in tree.items():
            if name.startswith("k:"):
                try:
                    key = json.loads(name[2:])
                except (ValueError, RecursionError):
                    continue
                if isinstance(key, dict):
                    yield key, inner


def owners(entries: Sequence[Any], paths: Iterable[Path]) -> dict[Path, str]:
    """The field manager of each path, by the ``managedFields`` of an object. It is the operator's only if the operator
    has applied the field and no other manager owns it or a part of it."""
    trees = [
        (str(entry.get("manager") or ""), entry.get("operation") == "Apply", entry["fieldsV1"])
        for entry in entries
        if isinstance(entry, Mapping) and isinstance(entry.get("fieldsV1"), Mapping)
    ]
    found, items = {}, _Items()
    for path in paths:
        holders = [(manager, applied) for manager, applied, tree in trees if _owns(tree, path, items)]
        others = [manager for manager, applied in holders if (manager, applied) != (OPERATOR, True)]
        found[path] = printable(others[-1]) if others else OPERATOR if holders else NO_MANAGER
    return found


def _owns(tree: Mapping[str, Any], path: Path, items: _Items) -> bool:
    """Whether a fieldsV1 tree contains the path, a part of its value, or the value that it is in."""
    at: Any = tree
    for number, step in enumerate(path):
        at = at.get(f"f:{step}") if isinstance(step, str) else items.find(at, step)
        if not isinstance(at, Mapping):
            return False
        if not at and number:
            return True  # a map or list with one owner
    return True


def _same_template(desired: Object, live: Object) -> bool:
    wanted, known = Record.of(desired), Record.of(live)
    if wanted is None or known is None:
        return False
    return wanted.template == known.template and (wanted.failure is None) == (known.failure is None)


def _found(live: Object, differences: Iterator[Difference], *, same: bool) -> ForeignChange | None:
    fields = tuple(differences)
    meta = live["metadata"]
    version = str(meta.get("resourceVersion") or "")
    return (
        ForeignChange(live["apiVersion"], live["kind"], meta["namespace"], meta["name"], version, same, fields)
        if fields
        else None
    )


def text_of(path: Path) -> str:
    """The path for messages, such as ``spec.template.spec.containers[engine].image``."""
    found = ""
    for step in path:
        if isinstance(step, str):
            plain = step.replace("_", "").replace("-", "").isalnum()
            found += f"[{step}]" if not plain else f".{step}" if found else step
        else:
            found += f"[{'/'.join(str(value) for _, value in step)}]"
    return found
