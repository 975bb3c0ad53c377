"""Whose a request is. The services' replicas check keys; the gateway says whether one of a namespace accepts a key."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from llmservice_operator.batches.model import Owner

NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
KNOWN_SECONDS = 10.0
"""How long an answer of the gateway holds."""
REMEMBERED_SECONDS = 86_400.0
"""How long a key that was accepted may read what is its own while no replica can say whether it still is."""
MOST_KNOWN = 10_000
KEY_BYTES = 512
ASKING_AT_ONCE = 32
ASK_SECONDS = 10.0
WITHOUT_REPLICA = "X-Services-Without-Replica"
"""Header of the gateway's GET /v1/models: services that could not be asked."""


class Unaccepted(Exception):
    """The request is refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    owner: Owner
    key: str
    """Empty: the request has none."""


class Callers:
    """Knows callers by their headers."""

    def __init__(self, session: aiohttp.ClientSession, gateway: str) -> None:
        self._session, self._gateway = session, gateway
        self._accepted: OrderedDict[Owner, float] = OrderedDict()
        """When a key was accepted last."""
        self._refused: OrderedDict[Owner, float] = OrderedDict()
        self._asking = asyncio.Semaphore(ASKING_AT_ONCE)

    async def caller(self, namespace: str, headers: Mapping[str, str], reads: bool) -> Caller:
        """The caller. ``reads``: the request changes nothing. Raises Unaccepted."""
        if not NAMESPACE.fullmatch(namespace):
            raise Unaccepted(404, "no_namespace", "The path has no valid namespace.")
        key = _key(headers)
        owner = Owner(namespace, hashlib.sha256(key.encode()).hexdigest())
        now = asyncio.get_running_loop().time()
        if now - self._refused.get(owner, -KNOWN_SECONDS) < KNOWN_SECONDS / 2:
            raise _not_accepted()
        if now - self._accepted.get(owner, -KNOWN_SECONDS) < KNOWN_SECONDS:
            return Caller(owner, key)
        accepted = await self._ask(namespace, key)
        if accepted is None:
            if reads and now - self._accepted.get(owner, -REMEMBERED_SECONDS) < REMEMBERED_SECONDS:
                return Caller(owner, key)
            raise Unaccepted(
                503,
                "no_ready_replica",
                "No replica is ready that could check the key. Retry when a service of the namespace is ready.",
            )
        _remember(self._accepted if accepted else self._refused, owner, now)
        if not accepted:
            self._accepted.pop(owner, None)
            raise _not_accepted()
        return Caller(owner, key)

    async def _ask(self, namespace: str, key: str) -> bool | None:
        """Whether a service of the namespace accepts the key; None if that can't be known now. Raises Unaccepted."""
        url = f"{self._gateway}/namespaces/{namespace}/v1/models"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with (
                self._asking,
                asyncio.timeout(ASK_SECONDS),
                self._session.get(url, headers=headers, allow_redirects=False) as response,
            ):
                status, unknown = response.status, response.headers.get(WITHOUT_REPLICA, "0")
                found = status == 200 and b'"id"' in await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        if status == 404:
            raise Unaccepted(404, "no_service", f"No LLMService of namespace {namespace} is served here.")
        if status in (401, 403):
            return False
        if status != 200:
            return None
        return True if found else False if unknown == "0" else None


def _key(headers: Mapping[str, str]) -> str:
    """The key as the services' replicas read it. Raises Unaccepted if there are two."""
    authorization, other = headers.get("Authorization", ""), headers.get("x-api-key", "")
    kind, _, bearer = authorization.partition(" ")
    bearer = bearer.strip() if kind.lower() == "bearer" else ""
    if authorization and not bearer:
        raise _not_accepted()
    if bearer and other and bearer != other:
        raise _not_accepted()
    key = bearer or other.strip()
    if len(key) > KEY_BYTES or not key.isascii() or not key.isprintable():
        raise _not_accepted()
    return key


def _not_accepted() -> Unaccepted:
    return Unaccepted(401, "invalid_api_key", "No service here accepts this key.")


def _remember(known: OrderedDict[Owner, float], owner: Owner, now: float) -> None:
    known[owner] = now
    known.move_to_end(owner)
    while len(known) > MOST_KNOWN:
        known.popitem(last=False)
