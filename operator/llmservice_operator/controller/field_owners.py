"""Reads who owns fields of a child: its ``managedFields``.

The caches do not keep them, because they are large and only needed for fields that others have changed. They are read
once per version of an object.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.informer.store import ServiceKey
from llmservice_operator.planner.model import foreign_changes
from llmservice_operator.planner.model.drift import Path
from llmservice_operator.planner.model.foreign_changes import ForeignChange
from llmservice_operator.resources.kinds import kind_of

DEEPEST = 64
"""Maximum depth of ``fieldsV1`` that is read: more than any kind has."""
MOST_ENTRIES = 64
"""Maximum number of entries of one object. Each writer has one or two."""
MOST_FIELDS = 4096
"""Maximum number of fields and list items of all entries. A StatefulSet of the operator has some hundred."""


@dataclasses.dataclass(frozen=True)
class _Read:
    version: str
    owners: Mapping[Path, str]


class FieldOwners:
    """The owners of changed fields, by service."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[ServiceKey, dict[tuple[str, str], _Read]] = {}

    async def of(
        self, key: ServiceKey, changes: Sequence[ForeignChange]
    ) -> Mapping[tuple[str, str], Mapping[Path, str]]:
        """The owners of the fields of these changes, by kind and name of the object. A field of an object that does
        not exist any more has no owner."""
        before, found = self._known.pop(key, {}), dict[tuple[str, str], _Read]()
        for change in changes:
            wanted = {field.path for field in change.fields}
            known = before.get(change.key)
            if known is None or not change.version or known.version != change.version or wanted - known.owners.keys():
                entries = await self._entries(change)
                known = _Read(change.version, foreign_changes.owners(entries, wanted))
            found[change.key] = known
        if found:
            self._known[key] = found
        return {name: read.owners for name, read in found.items()}

    def forget(self, key: ServiceKey) -> None:
        """Forgets a deleted service."""
        self._known.pop(key, None)

    async def _entries(self, change: ForeignChange) -> list[Any]:
        kind = kind_of(change.api_version, change.kind)
        return entries(await self._cluster.get_text(kind, change.namespace, change.name))


def entries(text: bytes) -> list[Any]:
    """The entries of ``managedFields`` in an object's JSON; empty if they are too many, too large or too deep. Anyone
    who may write the object may have written them. None is left out alone, because what it owns would seem to be of
    the operator."""
    try:
        found = json.loads(text)["metadata"].get("managedFields") or []
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return []
    return found if isinstance(found, list) and len(found) <= MOST_ENTRIES and _is_bounded(found) else []


def _is_bounded(found: list[Any]) -> bool:
    """Whether there are at most MOST_FIELDS keys, nested at most DEEPEST levels."""
    level, count = found, 0
    for _ in range(DEEPEST):
        level = [inner for each in level if isinstance(each, dict) for inner in each.values()]
        count += len(level)
        if not level or count > MOST_FIELDS:
            break
    return not level and count <= MOST_FIELDS
