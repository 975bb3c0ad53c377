"""What the operator remembers of its writes against changes by others: see ``planner.model.foreign_changes``.

It is in memory only: after a restart of the operator the counts begin anew.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence, Set

from llmservice_operator.controller.informer.store import ServiceKey
from llmservice_operator.planner.model import foreign_changes
from llmservice_operator.planner.model.observed import Object, TemplateChange

Child = tuple[str, str]
"""Kind and name of a child."""


class CorrectionHistory:
    """Corrections of fields that others had changed, and unintended changes of pod templates, by service."""

    def __init__(self, now: Callable[[], datetime.datetime]) -> None:
        self._now = now
        self._corrections: dict[ServiceKey, dict[Child, dict[str, list[datetime.datetime]]]] = {}
        self._template_changes: dict[ServiceKey, dict[str, list[TemplateChange]]] = {}

    def corrections(self, key: ServiceKey) -> Mapping[Child, Mapping[str, Sequence[datetime.datetime]]]:
        """When fields were corrected, the oldest first, by child and by path of the field; the last few."""
        known = self._corrections.get(key, {})
        return {child: {field: tuple(times) for field, times in each.items()} for child, each in known.items()}

    def template_changes(self, key: ServiceKey) -> Mapping[str, Sequence[TemplateChange]]:
        """Unintended changes of pod templates by the operator's writes, the oldest first, by StatefulSet; the last
        few."""
        return {name: tuple(found) for name, found in self._template_changes.get(key, {}).items()}

    def corrected(self, key: ServiceKey, child: Child, fields: Sequence[str]) -> None:
        """Notes that these fields of the child were set back."""
        now = self._now()
        known = self._corrections.setdefault(key, {}).setdefault(child, {})
        for field in [each for each, times in known.items() if now - times[-1] > foreign_changes.PAUSE]:
            del known[field]
        for field in fields:
            if field in known or len(known) < foreign_changes.MOST_CORRECTED_FIELDS:
                times = known.setdefault(field, [])
                times.append(now)
                del times[: -foreign_changes.MOST_CORRECTIONS]

    def applied(self, key: ServiceKey, before: Object, after: Object | None) -> None:
        """Notes whether a write of a child changed its pod template although the same one was desired."""
        field = foreign_changes.changed_template_field(before, after) if after is not None else ""
        if field:
            changes = self._template_changes.setdefault(key, {}).setdefault(before["metadata"]["name"], [])
            changes.append(TemplateChange(self._now(), field))
            del changes[: -foreign_changes.MOST_TEMPLATES]

    def keep(self, key: ServiceKey, children: Set[Child]) -> None:
        """Forgets children that are no longer desired."""
        known = self._corrections.pop(key, {})
        if left := {child: fields for child, fields in known.items() if child in children}:
            self._corrections[key] = left

    def forget(self, key: ServiceKey) -> None:
        """Forgets a deleted service."""
        self._corrections.pop(key, None)
        self._template_changes.pop(key, None)
