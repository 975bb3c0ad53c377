"""Records Events about services, which `kubectl describe` shows as their history. Equal Events are sent once.

An Event that can't be sent is dropped, because the status has the same information.
"""

import asyncio
import datetime
import logging
import uuid
from collections.abc import Callable

from cachetools import TTLCache

from llmservice_operator.controller.client.api import FIELD_MANAGER, Cluster
from llmservice_operator.controller.client.errors import ApiError
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.plan import Event
from llmservice_operator.resources.kinds import EVENT

SILENT_SECONDS = 600.0
"""How long an equal Event is not sent again, in seconds."""
REMEMBERED = 10_000
"""Maximum number of Events that are remembered for this."""
MAX_NOTE = 1024
"""Maximum length of an Event's note in the API server, in characters."""

logger = logging.getLogger(__name__)


class Events:
    """Sends Events as the reporter ``identity``."""

    def __init__(self, cluster: Cluster, identity: str, now: Callable[[], datetime.datetime]) -> None:
        self._cluster = cluster
        self._identity = identity
        self._now = now
        self._sent: TTLCache[tuple[str, Event], bool]
        self._sent = TTLCache(REMEMBERED, SILENT_SECONDS, asyncio.get_running_loop().time)

    async def send(self, service: Object, event: Event) -> None:
        """Sends ``event`` about ``service``, unless an equal one was sent within SILENT_SECONDS."""
        meta = service["metadata"]
        key = (meta["uid"], event)
        if key in self._sent:
            return
        self._sent[key] = True
        note = event.message if len(event.message) <= MAX_NOTE else event.message[: MAX_NOTE - 1] + "…"
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:16]}", "namespace": meta["namespace"]},
            "eventTime": self._now().astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": FIELD_MANAGER,
            "reportingInstance": self._identity[:128],
            "action": "Reconcile",
            "type": event.type,
            "reason": event.reason,
            "note": note,
            "regarding": {
                "apiVersion": service["apiVersion"],
                "kind": service["kind"],
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
        }
        try:
            await self._cluster.create(body)
        except ApiError as error:
            logger.info("%s/%s: could not send Event %s: %s", meta["namespace"], meta["name"], event.reason, error)
