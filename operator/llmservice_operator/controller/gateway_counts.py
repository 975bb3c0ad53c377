"""Reads how requests to canaries ended, from all pods of the NGINX gateway.

The URL's host is a name that has the addresses of all of them, as a headless Service has. One read serves all services.
"""

import asyncio
import json
import logging
import math
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from llmservice_operator.planner.model.canary_counts import CanaryCounts, RequestCounts

FRESH_SECONDS = 2.0
"""How long a read serves other services."""
TIMEOUT_SECONDS = 3.0
MOST_GATEWAYS = 64
LONGEST_ANSWER = 4 * 1024 * 1024
MOST_REQUESTS = 10**15
MOST_SUM = 1e15
PATH = "/canaries"

ServiceKey = tuple[str, str]
Counts = Mapping[ServiceKey, Mapping[str, CanaryCounts]]

logger = logging.getLogger(__name__)


class GatewayCounts:
    """The counts of one gateway. Without a URL there is none."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._lock = asyncio.Lock()
        self._found: Counts | None = None
        self._read_at = -math.inf
        self._said = ""

    async def of(self, key: ServiceKey) -> Mapping[str, CanaryCounts] | None:
        """The counts of a service's canaries by revision; None if no pod of the gateway could be read."""
        async with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._found = await self._read()
                self._read_at = time.monotonic()
        return None if self._found is None else self._found.get(key, {})

    async def _read(self) -> Counts | None:
        host, port = self._url.hostname, self._url.port or 80
        if not host:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as error:
            self._report(f"{host} has no address: {error or type(error).__name__}")
            return None
        addresses = sorted({str(each[4][0]) for each in found})[:MOST_GATEWAYS]
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            answers = await asyncio.gather(*(self._of_pod(session, each, port) for each in addresses))
        read = [each for each in answers if isinstance(each, list)]
        self._report("; ".join(each for each in answers if isinstance(each, str)))
        return _summed(read) if read else None

    async def _of_pod(self, session: aiohttp.ClientSession, address: str, port: int) -> list[Any] | str:
        """The list that one pod answers with, or why there is none."""
        url = f"http://{f'[{address}]' if ':' in address else address}:{port}{PATH}"
        try:
            async with session.get(url, allow_redirects=False) as response:
                text = await response.content.read(LONGEST_ANSWER)
                while text and not response.content.at_eof() and len(text) < LONGEST_ANSWER:
                    text += await response.content.read(LONGEST_ANSWER - len(text))
                if response.status != 200:
                    return f"{url}: HTTP status {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"{url}: {error or type(error).__name__}"
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            return f"{url}: the answer is not JSON"
        return answer if isinstance(answer, list) else f"{url}: the answer is no list"

    def _report(self, problem: str) -> None:
        """Logs a problem once."""
        if problem and problem != self._said:
            logger.warning("cannot read all counts of canaries from the gateway: %s", problem)
        self._said = problem


def _summed(answers: list[list[Any]]) -> Counts:
    found: dict[ServiceKey, dict[str, CanaryCounts]] = {}
    for answer in answers:
        for key, revision, counts in _entries(answer):
            of_service = found.setdefault(key, {})
            of_service[revision] = of_service.get(revision, CanaryCounts()) + counts
    return found


def _entries(answer: list[Any]) -> Iterator[tuple[ServiceKey, str, CanaryCounts]]:
    """What is valid in the answer of one pod."""
    for each in answer:
        if not isinstance(each, dict):
            continue
        names = [each.get(name) for name in ("namespace", "service", "revision")]
        sides = [_side(each.get(name)) for name in ("canary", "old")]
        canary, old = sides
        if all(isinstance(name, str) and name for name in names) and canary is not None and old is not None:
            namespace, service, revision = map(str, names)
            ranked, slow = _whole(each.get("ranked")), _whole(each.get("slow"))
            counts = CanaryCounts(canary, old, each.get("braked") is True, ranked, min(slow, ranked))
            yield (namespace, service), revision, counts


def _side(found: Any) -> RequestCounts | None:
    if not isinstance(found, dict):
        return None
    whole = [
        each for name in ("requests", "failed", "timed") if 0 <= (each := _number(found.get(name))) <= MOST_REQUESTS
    ]
    sums = [each for name in ("logSum", "logSquares") if abs(each := _number(found.get(name))) <= MOST_SUM]
    if len(whole) != 3 or len(sums) != 2:
        return None
    requests, failed, timed = map(int, whole)
    return RequestCounts(requests, min(failed, requests), min(timed, requests), *sums)


def _whole(value: Any) -> int:
    """The count; 0 for anything else, as of a gateway that does not count it."""
    found = _number(value)
    return int(found) if 0 <= found <= MOST_REQUESTS else 0


def _number(value: Any) -> float:
    """The number; not a number for anything else."""
    return float(value) if type(value) is float or (type(value) is int and abs(value) <= MOST_SUM) else math.nan
