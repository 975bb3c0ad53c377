"""Reads recent Events of a namespace, only if something is wrong: Events are not watched.

One list of a namespace is shared by all its services. A list for a single object would cost the API server the same,
because it scans all Events of the namespace. Events of healthy pods are excluded by the field selector.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.controller.client.api import FIELD_MANAGER, Cluster
from llmservice_operator.controller.client.errors import Gone
from llmservice_operator.controller.client.shared_reads import SharedReads
from llmservice_operator.planner.model import timestamps
from llmservice_operator.planner.model.observed import ObservedEvent
from llmservice_operator.resources.kinds import EVENT

FRESH_SECONDS = 5.0
"""How long one list is shared, in seconds."""
MOST = 2000
"""Maximum number of Events that are read of one namespace."""
MOST_BYTES = 4 * 1024 * 1024
"""Maximum memory for them; 2000 usual Events need a third of it."""
KEPT_BYTES = 64 * 1024 * 1024
"""Maximum memory for the lists of all namespaces; the least recently used ones are dropped."""
OBJECT_BYTES = 512
"""Memory of an Event, or of a list, in addition to its texts."""
LONGEST_NAME, LONGEST_NOTE = 256, 2048
"""Maximum number of characters of an Event's texts, because users may write long ones."""
USUAL = ("Scheduled", "Pulling", "Pulled", "Created", "Started", "SuccessfulCreate", "SuccessfulDelete", "NoPods")
"""Reasons of Events that report no problem."""
SELECTOR = ",".join([f"reportingController!={FIELD_MANAGER}", *(f"reason!={reason}" for reason in USUAL)])

logger = logging.getLogger(__name__)


class NamespaceEvents:
    """The Events of namespaces, shared by all services."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._readings = SharedReads[Sequence[ObservedEvent]](KEPT_BYTES, size_of)

    async def of(self, namespace: str) -> Sequence[ObservedEvent] | None:
        """The Events, the oldest first, at most FRESH_SECONDS old. None if the operator may not read Events."""
        return await self._readings.get(f"Events in {namespace}", lambda: self._read(namespace), FRESH_SECONDS)

    async def _read(self, namespace: str) -> Sequence[ObservedEvent]:
        found: list[ObservedEvent] = []
        taken = 0
        try:
            async for page, _ in self._cluster.pages(EVENT, namespace, fields=SELECTOR):
                for each in map(event_of, page):
                    taken += size_of((each,))
                    if len(found) >= MOST or taken > MOST_BYTES:
                        text = "%s has more than %d Events that are not Normal, or more than %d bytes: not all are read"
                        logger.info(text, namespace, MOST, MOST_BYTES)
                        return _in_order(found)
                    found.append(each)
        except Gone:
            logger.debug("%s: the remaining pages of Events have expired", namespace)
        return _in_order(found)


def size_of(found: Sequence[ObservedEvent] | None) -> int:
    """Approximate memory in bytes. One character beyond Latin-1 makes a text two or four times as large."""
    texts = (text for each in found or () for text in (each.kind, each.name, each.uid, each.reason, each.note))
    return sum(map(sys.getsizeof, texts)) + OBJECT_BYTES * max(1, len(found or ()))


def _in_order(found: list[ObservedEvent]) -> Sequence[ObservedEvent]:
    return sorted(found, key=lambda each: each.time.timestamp() if each.time is not None else 0)


def event_of(event: Mapping[str, Any]) -> ObservedEvent:
    """The observed form of an Event of events.k8s.io/v1, whichever API version created it."""
    regarding, series = event.get("regarding") or {}, event.get("series") or {}
    time = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime")
    return ObservedEvent(
        kind=str(regarding.get("kind", ""))[:LONGEST_NAME],
        name=str(regarding.get("name", ""))[:LONGEST_NAME],
        uid=str(regarding.get("uid", ""))[:LONGEST_NAME],
        reason=str(event.get("reason", ""))[:LONGEST_NAME],
        note=str(event.get("note", ""))[:LONGEST_NOTE],
        time=timestamps.parse(time or event["metadata"].get("creationTimestamp")),
    )
