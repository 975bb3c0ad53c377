"""Starts a replica of each service at zero that requests wait for, and tells NGINX which of their keys are valid.

The only write is spec.replicas from 0 to 1, through the scale subresource and only if the service has not changed since
it was read. The gateway may read a Secret with keys only if the Secret's owner has granted that. Without it
requests start no replica of the service.
"""

import asyncio
import base64
import binascii
import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from llmservice_contract.keys import BadKey, read_entry
from llmservice_operator.controller.client import bounded_json
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import ApiError, Conflict, RequestRefused
from llmservice_operator.controller.client.session import Connection
from llmservice_operator.controller.gateway.nginx import Nginx, Refused
from llmservice_operator.gateway.routes import ServedService
from llmservice_operator.resources.kinds import LLMSERVICE, Kind

FIELD_MANAGER = "llmservice-gateway"
SECRET = Kind("v1", "Secret", "secrets")
INTERVAL = 0.2
"""Minimum time between two questions to NGINX, in seconds."""
IDLE_INTERVAL = 1.0
"""Interval at which it is checked whether a service scales to zero, in seconds."""
AGAIN_SECONDS = 2.0
"""How long a service that was woken may still look as if it were at zero."""
LONGEST_BACK_OFF = 30.0
"""Maximum pause after failures for one service, in seconds."""
KEYS_SECONDS = 5.0
"""How long the keys of a Secret that was read are used."""
AT_ONCE = 8
LONGEST_ENTRY = 4096
"""Maximum size of an entry with a key, as in the pods."""

SERVICE, KEY = "service:", "key:"
"""What NGINX' lines begin with."""

_API_ERRORS = (ApiError, aiohttp.ClientError, OSError, TimeoutError, bounded_json.Unreadable)
_QUESTION = re.compile(r"([^/:]+/[^/:]+):([a-z0-9]{4,32}):([0-9a-f]{64})")

logger = logging.getLogger(__name__)


@dataclass
class _Attempts:
    """Attempts to wake one service."""

    next_at: float = 0.0
    failures: int = 0


@dataclass
class _Keys:
    """The keys of one Secret: SHA-256 by id. None: the gateway may not read it."""

    found: Mapping[str, str] | None
    read_at: float = field(default_factory=time.monotonic)


class Waker:
    """Wakes services at zero, and checks keys of requests that wait."""

    def __init__(self, connection: Connection, nginx: Nginx, services: Callable[[], Iterable[ServedService]]) -> None:
        self._cluster = Cluster(connection.api)
        self._nginx = nginx
        self._services = services
        self._attempts: dict[str, _Attempts] = {}
        self._keys: dict[tuple[str, str], _Keys] = {}
        self._unreadable: set[tuple[str, str]] = set()
        self._limit = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            services = {f"{each.namespace}/{each.name}": each for each in self._services() if each.scales_to_zero}
            if not services:
                await asyncio.sleep(IDLE_INTERVAL)
                continue
            try:
                wanted = (await self._nginx.get("/wanted")).decode(errors="replace").splitlines()
            except (Refused, OSError) as error:
                logger.error("NGINX does not say which requests wait: %s", error)
                await asyncio.sleep(IDLE_INTERVAL)
                continue
            services = {f"{each.namespace}/{each.name}": each for each in self._services() if each.scales_to_zero}
            names = {each.removeprefix(SERVICE) for each in wanted if each.startswith(SERVICE)}
            await asyncio.gather(
                self._judge([each.removeprefix(KEY) for each in wanted if each.startswith(KEY)], services),
                *(self._wake(services[each]) for each in names if each in services),
            )
            await asyncio.sleep(INTERVAL)

    async def _wake(self, service: ServedService) -> None:
        now, name = time.monotonic(), f"{service.namespace}/{service.name}"
        attempts = self._attempts.setdefault(name, _Attempts())
        if not service.asleep or now < attempts.next_at:
            return
        try:
            async with self._limit:
                woken = await self._start(service)
        except Conflict:
            return  # it has changed since: look again
        except _API_ERRORS as error:
            attempts.failures += 1
            pause = min(LONGEST_BACK_OFF, 0.5 * 2.0 ** min(attempts.failures, 10))
            attempts.next_at = time.monotonic() + pause
            logger.warning("LLMService %s: requests wait, but it can't be scaled to 1; retrying: %s", name, error)
            return
        self._attempts[name] = _Attempts(time.monotonic() + AGAIN_SECONDS)
        if woken:
            logger.info("LLMService %s: requests wait; scaled from 0 to 1", name)

    async def _start(self, service: ServedService) -> bool:
        """Scales it from 0 to 1. False if it is not at zero. Raises Conflict if it changes at the same time."""
        live = await self._cluster.get(LLMSERVICE, service.namespace, service.name)
        if live is None or live["spec"].get("replicas") != 0:
            return False
        await self._cluster.wake(live, FIELD_MANAGER)
        return True

    async def _judge(self, questions: list[str], services: Mapping[str, ServedService]) -> None:
        verdicts = {}
        for question in questions:
            match = _QUESTION.fullmatch(question)
            service = services.get(match[1]) if match else None
            if match is None or service is None or not service.keys_secret:
                continue
            try:
                keys = await self._keys_of(service.namespace, service.keys_secret)
            except _API_ERRORS as error:
                logger.warning("the keys of LLMService %s can't be read: %s", match[1], error)
                continue
            if keys is None:
                verdicts[question] = "unreadable"
            else:
                known = hmac.compare_digest(keys.get(match[2], "0" * 64), match[3]) and match[2] in keys
                verdicts[question] = "valid" if known else "invalid"
        if not verdicts:
            return
        try:
            await self._nginx.post("/verdicts", json.dumps(verdicts).encode())
        except (Refused, OSError) as error:
            logger.error("NGINX has not taken the verdicts on keys: %s", error)

    async def _keys_of(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """SHA-256 of the keys by id. None if the gateway may not read the Secret."""
        where = namespace, name
        known = self._keys.get(where)
        if known is not None and time.monotonic() - known.read_at < KEYS_SECONDS:
            return known.found
        self._keys = {key: each for key, each in self._keys.items() if time.monotonic() - each.read_at < KEYS_SECONDS}
        found: Mapping[str, str] | None = None
        try:
            found = _read_keys(await self._cluster.get(SECRET, namespace, name) or {})
            self._unreadable.discard(where)
        except RequestRefused:
            if where not in self._unreadable:
                self._unreadable.add(where)
                logger.warning(
                    "The gateway may not read the Secret %s/%s, so requests do not start the LLMServices that use it: "
                    "docs/gateway.md, Services with keys, says how to allow it.",
                    namespace,
                    name,
                )
        self._keys[where] = _Keys(found)
        return found


def _read_keys(secret: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 by id, of the valid entries."""
    found = {}
    data = secret.get("data")
    for key_id, encoded in (data if isinstance(data, Mapping) else {}).items():
        try:
            text = base64.b64decode(encoded, validate=True)
            if len(text) <= LONGEST_ENTRY:
                found[key_id] = read_entry(key_id, text.decode().strip()).sha256
        except (BadKey, ValueError, TypeError, binascii.Error):
            continue
    return found
