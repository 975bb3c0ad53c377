"""Recent Events of a namespace, read only if something is wrong: Events are not streamed.

One list of a namespace serves all services there that ask at about the same time: to the API server one of a single
object would cost the same, as it looks through all of the namespace's. What every healthy pod leaves is left out there.
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
"""How long one reading serves everybody who asks."""
MOST = 2000
"""Events of one namespace that are read; of more, some are not seen."""
MOST_BYTES = 4 * 1024 * 1024
"""Memory that those take: 2000 usual ones take a third of it."""
KEPT_BYTES = 64 * 1024 * 1024
"""Memory for the last readings of all namespaces; those that were asked for longest ago are dropped."""
OBJECT_BYTES = 512
"""Memory of an Event, or of a reading, beside its texts."""
LONGEST_NAME, LONGEST_NOTE = 256, 2048
"""Maximum number of characters that are read of an Event's texts: users may write long ones."""
USUAL = ("Scheduled", "Pulling", "Pulled", "Created", "Started", "SuccessfulCreate", "SuccessfulDelete", "NoPods")
"""Reasons of Events that tell of nothing wrong."""
SELECTOR = ",".join([f"reportingController!={FIELD_MANAGER}", *(f"reason!={reason}" for reason in USUAL)])

logger = logging.getLogger(__name__)


class NamespaceEvents:
    """The Events of namespaces, shared by all services that ask."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._readings = SharedReads[Sequence[ObservedEvent]](KEPT_BYTES, size_of)

    async def of(self, namespace: str) -> Sequence[ObservedEvent] | None:
        """In the order of time, at most FRESH_SECONDS old. None where the operator may not read Events."""
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
    """Bytes of memory, about: one character beyond Latin-1 makes a text of any length two or four times as large."""
    texts = (text for each in found or () for text in (each.kind, each.name, each.uid, each.reason, each.note))
    return sum(map(sys.getsizeof, texts)) + OBJECT_BYTES * max(1, len(found or ()))


def _in_order(found: list[ObservedEvent]) -> Sequence[ObservedEvent]:
    return sorted(found, key=lambda each: each.time.timestamp() if each.time is not None else 0)


def event_of(event: Mapping[str, Any]) -> ObservedEvent:
    """An Event of events.k8s.io/v1, by whichever version of the API it was made."""
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
