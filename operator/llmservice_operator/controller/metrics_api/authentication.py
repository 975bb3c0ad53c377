"""Authentication: by the headers of the API server's front proxy, or by a bearer token that the API server accepts.

This is what every Kubernetes API server does behind the aggregation layer. Headers that name a user count only on a
connection with the front proxy's client certificate.
"""

import dataclasses
import functools
import hashlib
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.single_flight import SingleFlight
from llmservice_operator.controller.metrics_api.documents import StatusError
from llmservice_operator.controller.metrics_api.request_header import RequestHeaderConfig
from llmservice_operator.resources.kinds import TOKEN_REVIEW

TOKEN_SECONDS = 10.0
"""How long the result of a TokenReview is cached, in seconds."""
MOST_ANSWERS, MOST_ASKED = 4096, 16
"""Maximum number of cached results, and of concurrent reviews."""

_ANONYMOUS = "system:anonymous"
_AUTHENTICATED = "system:authenticated"
_UNAUTHENTICATED = "system:unauthenticated"


@dataclasses.dataclass(frozen=True)
class User:
    """A user in the sense of Kubernetes."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Request(Protocol):
    """The parts of a request that are used here."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """All headers."""
        ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Information about the connection."""
        ...


class Authentication:
    """Authenticates users. ``trusted`` returns whether a connection's certificate was verified with the current CA."""

    def __init__(
        self, cluster: Cluster, trusted: Callable[[ssl.SSLObject], bool], now: Callable[[], float] = time.time
    ) -> None:
        self.trust = RequestHeaderConfig()
        """How to recognize the front proxy; may be replaced at any time."""
        self._cluster = cluster
        self._trusted = trusted
        self._now = now
        self._users: SingleFlight[bytes, User | None] = SingleFlight(MOST_ANSWERS, at_once=MOST_ASKED)

    async def user(self, request: Request) -> User:
        """The user. Raises StatusError 401, and ApiError or Busy if the API server can't be asked."""
        problem = "no credentials: use the API server, or a bearer token"
        name = self._front_proxy(request)
        if name is not None:
            trust = self.trust
            if trust.allowed_names and name not in trust.allowed_names:
                problem = f"the client certificate of {name!r} is not the front proxy's"
            elif user := self._named(request.headers):
                return user
        token = _bearer(request.headers)
        if token:
            digest = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
            found = await self._users.get(digest, lambda: self._review(token), lambda _: TOKEN_SECONDS)
            if found:
                return found
            problem = "the bearer token is not valid"
        raise StatusError(401, f"Unauthorized: {problem}")

    def _front_proxy(self, request: Request) -> str | None:
        """Common name of the connection's client certificate; None if there is none or it is no longer valid."""
        connection, certificate = request.get_extra_info("ssl_object"), request.get_extra_info("peercert")
        if not certificate or connection is None or not self._trusted(connection):
            return None
        if self._now() >= _end_of(certificate["notAfter"]):
            return None
        names = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
        return names[-1] if names else ""

    def _named(self, headers: CIMultiDictProxy[str]) -> User | None:
        trust = self.trust
        name = _first(headers, trust.user_headers)
        if not name:
            return None
        groups = tuple(each for header in trust.group_headers for each in headers.getall(header, ()) if each)
        extra = tuple(item for item in headers.items() if item[0].lower().startswith(trust.extra_prefixes))
        return _user(name, _first(headers, trust.uid_headers), groups, extra, trust.extra_prefixes)

    async def _review(self, token: str) -> User | None:
        status = await self._cluster.review(TOKEN_REVIEW, {"token": token})
        user = status.get("user") or {}
        if status.get("authenticated") is not True or status.get("error") or not user.get("username"):
            return None
        return User(
            name=user["username"],
            uid=user.get("uid") or "",
            groups=_groups(user["username"], user.get("groups") or ()),
            extra=_sorted({key: tuple(values) for key, values in (user.get("extra") or {}).items()}),
        )


_end_of = functools.lru_cache(maxsize=64)(ssl.cert_time_to_seconds)


def _bearer(headers: CIMultiDictProxy[str]) -> str:
    given = headers.getall("Authorization", ())
    if len(given) != 1:
        return ""
    scheme, _, token = given[0].strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" and " " not in token.strip() else ""


def _first(headers: CIMultiDictProxy[str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := headers.get(name, ""))), "")


@functools.lru_cache(maxsize=1024)
def _user(
    name: str, uid: str, groups: tuple[str, ...], extra: tuple[tuple[str, str], ...], prefixes: tuple[str, ...]
) -> User:
    """A user from headers; cached, because the same few users send all requests."""
    return User(name, uid, _groups(name, groups), _extra(extra, prefixes))


def _extra(headers: Iterable[tuple[str, str]], prefixes: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, tuple[str, ...]] = {}
    for header, value in headers:
        for prefix in prefixes:
            if header.lower().startswith(prefix):
                key = unquote(header[len(prefix) :].lower())
                found[key] = (*found.get(key, ()), value)
    return _sorted(found)


def _sorted(extra: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted(extra.items()))


def _groups(user: str, groups: Iterable[str]) -> tuple[str, ...]:
    """The groups with system:authenticated, which every API server adds."""
    found = tuple(groups)
    known = user == _ANONYMOUS or _AUTHENTICATED in found or _UNAUTHENTICATED in found
    return found if known else (*found, _AUTHENTICATED)
