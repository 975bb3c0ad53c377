"""What Kubernetes reported lately, read only where something is the matter: Events are not streamed.

One list of a namespace serves all services there that ask at about the same time: to the API server one of a single
object would cost the same, as it looks through all of the namespace's. What every healthy pod leaves is left out there.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_operator.core import times
from llmservice_operator.core.observed import Happening
from llmservice_operator.render.kinds import EVENT
from llmservice_operator.shell.cluster import FIELD_MANAGER, Cluster
from llmservice_operator.shell.errors import Gone
from llmservice_operator.shell.readings import Readings

FRESH_SECONDS = 5.0
"""How long one reading serves everybody who asks."""
MOST = 2000
"""Events of one namespace that are read; of more, some are not seen."""
NAMESPACES = 256
"""Namespaces whose last reading is kept."""
LONGEST_NAME, LONGEST_NOTE = 256, 2048
"""Characters of an Event's texts that are read. Whoever may write Events may write long ones."""
USUAL = ("Scheduled", "Pulling", "Pulled", "Created", "Started", "SuccessfulCreate", "SuccessfulDelete", "NoPods")
"""Reasons of Events that tell of nothing wrong."""
SELECTOR = ",".join([f"reportingController!={FIELD_MANAGER}", *(f"reason!={reason}" for reason in USUAL)])

logger = logging.getLogger(__name__)


class Happenings:
    """The Events of namespaces, shared by all services that ask."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._readings = Readings[Sequence[Happening]](NAMESPACES)

    async def of(self, namespace: str) -> Sequence[Happening] | None:
        """In the order of time, at most FRESH_SECONDS old. None where the operator may not read Events."""
        return await self._readings.get(f"Events in {namespace}", lambda: self._read(namespace), FRESH_SECONDS)

    async def _read(self, namespace: str) -> Sequence[Happening]:
        found: list[Happening] = []
        try:
            async for page, _ in self._cluster.pages(EVENT, namespace, fields=SELECTOR):
                found += map(happening_of, page)
                if len(found) >= MOST:
                    logger.info("%s has more than %d Events that are not usual: not all are read", namespace, MOST)
                    break
        except Gone:
            logger.debug("%s: the rest of the Events is gone", namespace)
        return sorted(found, key=lambda each: each.time.timestamp() if each.time is not None else 0)


def happening_of(event: Mapping[str, Any]) -> Happening:
    """An Event of events.k8s.io/v1, whoever has made it by which version of the API."""
    regarding, series = event.get("regarding") or {}, event.get("series") or {}
    time = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime")
    return Happening(
        kind=str(regarding.get("kind", ""))[:LONGEST_NAME],
        name=str(regarding.get("name", ""))[:LONGEST_NAME],
        uid=str(regarding.get("uid", ""))[:LONGEST_NAME],
        reason=str(event.get("reason", ""))[:LONGEST_NAME],
        note=str(event.get("note", ""))[:LONGEST_NOTE],
        time=times.parse(time or event["metadata"].get("creationTimestamp")),
    )
