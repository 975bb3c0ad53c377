"""HTTP requests to one source: redirects are followed one by one, and a server that is unavailable is asked again.

The headers with credentials go to the source's own host alone. Whatever the server does, everything is bounded: number
of redirects, size of an answer, and the time in which nothing arrives.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from llmservice_contract import causes
from llmservice_contract.causes import Cause
from llmservice_runtime.fetch.addresses import AddressRefused, Guard, GuardedResolver, proxy_hosts
from llmservice_runtime.launcher.launcher import say
from llmservice_runtime.model.unreadable import ModelUnreadable, one_line

MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
CONNECTIONS = 8
"""Parallel requests."""
READ_SECONDS = 60
"""A connection on which nothing arrives for so long is lost."""
PATIENCE_SECONDS = 600.0
"""One request may take so long. The fetch fails if in this time no piece of a file and no list is complete. The next
attempt continues there."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
MOST_RETRY_AFTER = 600.0
CREDENTIALS = "spec.model.credentialsRef"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of source is reported."""

    name: str
    refused: Cause
    unreachable: Cause


HUB = Kind("hub", causes.HUB_REFUSED, causes.HUB_UNREACHABLE)
STORE = Kind("store", causes.STORE_REFUSED, causes.STORE_UNREACHABLE)


class Unavailable(Exception):
    """The server does not answer or is overloaded: the request is sent again."""

    def __init__(self, message: str, status: int = 0, retry_after: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


@dataclass(slots=True)
class Client:
    """Requests to the source at `origin`."""

    kind: Kind
    origin: str
    """URL of the source."""
    secret_headers: Mapping[str, str] = field(default_factory=dict)
    """Sent to the host of `origin` alone."""
    trusted: frozenset[str] = frozenset()
    """Hosts whose addresses are not checked."""
    patience: float = PATIENCE_SECONDS
    first_pause: float = FIRST_PAUSE
    _session: aiohttp.ClientSession | None = None
    _guard: Guard = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._guard = Guard(URL(self.origin).host or "", self.trusted | proxy_hosts(os.environ))
        self._last = time.monotonic()

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=GuardedResolver(self._guard), limit=CONNECTIONS * 2),
            timeout=aiohttp.ClientTimeout(total=self.patience, sock_connect=20, sock_read=READ_SECONDS),
            headers={"Accept-Encoding": "identity", "User-Agent": "llmservice-fetch"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def arrived(self) -> None:
        """A list or a piece of a file is complete: the patience begins anew."""
        self._last = time.monotonic()

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer 200 or 206. Raises Unavailable and ModelUnreadable; an error while the body is read is Unavailable
        too."""
        try:
            async with self._follow(URL(url, encoded=True), headers or {}) as response:
                yield response
        except AddressRefused as error:
            raise self.refusal(
                f"{one_line(error)}.", fix="Set spec.model.source to a server that is reachable."
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(one_line(error)) from error

    async def read(self, url: str, most: int) -> bytes:
        """The whole answer, asked for again while the server is unavailable. Raises ModelUnreadable."""

        async def once() -> bytes:
            async with self.get(url) as response:
                content = bytearray()
                async for part in response.content.iter_chunked(1 << 16):
                    content += part
                    if len(content) > most:
                        raise self.refusal(f"The {self.kind.name}'s answer is longer than {most} bytes.")
                return bytes(content)

        pause = self.first_pause
        while True:
            try:
                found = await once()
                self.arrived()
                return found
            except Unavailable as error:
                pause = await self.wait(error, pause)

    async def wait(self, error: Unavailable, pause: float) -> float:
        """Waits before the next try; returns the pause after that. Raises ModelUnreadable if nothing has arrived for
        too long."""
        seconds = max(min(error.retry_after, MOST_RETRY_AFTER), pause * random.uniform(0.8, 1.2))  # noqa: S311
        if time.monotonic() + seconds - self._last > self.patience:
            numbers = {"status": str(error.status)} if error.status else {}
            raise ModelUnreadable(
                self.kind.unreachable,
                f"The {self.kind.name} at {self._guard.origin} is unavailable: {error}.",
                fix="It is tried again automatically, from the bytes that are on the disk. If it does not pass: check "
                "the address of the source, network policies and the chart value runtime.proxy.",
                numbers=numbers,
                retry_after=error.retry_after,
            ) from error
        say(f"{error}. Next try in {seconds:.0f} s.")
        await asyncio.sleep(seconds)
        return min(LONGEST_PAUSE, pause * 2)

    def refusal(self, message: str, *, field: str = "spec.model.source", fix: str = "") -> ModelUnreadable:
        """An error of this kind of source that a retry does not correct."""
        return ModelUnreadable(self.kind.refused, message, field=field, fix=fix)

    @asynccontextmanager
    async def _follow(self, url: URL, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None  # noqa: S101 - inside of `async with`
        origin = URL(self.origin)
        for _ in range(MOST_REDIRECTS + 1):
            if (
                url.host is None
                or url.scheme not in ("http", "https")
                or (url.scheme, origin.scheme) == ("http", "https")
            ):
                raise self.refusal(f"The {self.kind.name} at {origin.host} redirects to a URL without TLS.")
            self._guard.check_url(url.host)
            own = self.secret_headers if url.origin() == origin.origin() else {}
            async with self._session.get(url, headers={**headers, **own}, allow_redirects=False) as response:
                if response.status not in REDIRECTS:
                    await self._check(response)
                    yield response
                    return
                location = response.headers.get("Location", "")
            try:
                url = url.join(URL(location, encoded=True))
            except ValueError:
                raise self.refusal(f"The {self.kind.name} at {origin.host} redirects to an invalid URL.") from None
        raise self.refusal(f"The {self.kind.name} at {origin.host} redirects more than {MOST_REDIRECTS} times.")

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        status, host = response.status, response.url.host
        if status in (200, 206):
            return
        said = f"The {self.kind.name} at {host} answered {status}"
        if status in (408, 425, 429) or status >= 500:
            raise Unavailable(said, status, _retry_after(response.headers.get("Retry-After", "")))
        code = response.headers.get("X-Error-Code", "")
        match status:
            case 401 | 403:
                gated = " The model is gated: accept its licence on the hub." if code == "GatedRepo" else ""
                raise self.refusal(
                    f"{said}: these credentials may not read the model.{gated}",
                    field=CREDENTIALS,
                    fix=f"Put credentials that may read it into the Secret of {CREDENTIALS}.",
                )
            case 404:
                raise self.refusal(
                    f"{said}: there is no such model, revision or file.",
                    fix="Check spec.model.source and spec.model.revision; a private model needs credentials in "
                    f"{CREDENTIALS}.",
                )
            case 412:
                raise ModelUnreadable(
                    causes.BROKEN_WEIGHTS,
                    f"A file changed at {host} while it was fetched.",
                    fix="Leave the files of a revision as they are; put changed ones under another path.",
                )
        raise self.refusal(f"{said}.")


def _retry_after(text: str) -> float:
    return min(MOST_RETRY_AFTER, float(text)) if text.isdecimal() and len(text) < 8 else 0.0
