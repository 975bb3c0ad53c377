"""A proxy in front of the real API server that records every request, and injects faults for tests.

It runs in its own thread, so that requests continue while a test waits. The program under test
gets a kubeconfig without credentials for plain HTTP on 127.0.0.1; the proxy uses the credentials of
the kubeconfig that it was given, or a bearer token.
"""

import asyncio
import base64
import contextlib
import dataclasses
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host", "upgrade"}
WRITES = {"POST", "PUT", "PATCH", "DELETE"}


class Cut(Exception):
    """Raised by a fault: the client's connection ends without an answer."""


class NotServed(Exception):
    """Raised by a fault before a request: the answer is 404, as for a kind that the API server does not have."""


@dataclasses.dataclass
class Request:
    """One request as the API server authorizes it."""

    number: int
    """Counts all requests from 0, in the order in which they came."""
    method: str
    path: str
    query: dict[str, str]
    user_agent: str
    content_type: str
    body: bytes
    verb: str
    """get, list, watch, create, update, patch, delete or deletecollection; the HTTP method for what is no resource."""
    group: str = ""
    resource: str = ""
    """Empty for what is no resource, such as /version."""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    at: float = dataclasses.field(default_factory=time.monotonic)
    """When it came, by the monotonic clock."""
    status: int | None = None
    """HTTP status of the API server's answer; None before it, and where none was asked for."""

    @property
    def write(self) -> bool:
        """Whether it can change anything; a dry run can't."""
        return self.method in WRITES and "dryRun" not in self.query

    @property
    def lease(self) -> bool:
        """Whether it is about the leader's Lease."""
        return self.resource == "leases"

    @property
    def field_manager(self) -> str:
        """Who the write is by."""
        return self.query.get("fieldManager", "")

    @property
    def permissions(self) -> set[tuple[str, str, str]]:
        """(verb, API group, resource or resource/subresource), as a role grants it: a patch that creates needs two."""
        what = self.resource + (f"/{self.subresource}" if self.subresource else "")
        verbs = {self.verb, "create"} if self.verb == "patch" and self.status == 201 else {self.verb}
        return {(verb, self.group, what) for verb in verbs}

    def __str__(self) -> str:
        return f"{self.number} {self.verb} {self.path} -> {self.status}"


class Fault:
    """What a test does to the traffic. Each method is called in the proxy's thread and may block it; here: nothing."""

    def before(self, request: Request) -> None:
        """A request came and has not reached the API server. Raise Cut or NotServed and it never will."""

    def after(self, request: Request, answer: bytes) -> None:
        """The API server answered (watches excepted). Raise Cut and the answer is lost."""

    def event(self, request: Request, event: dict[str, Any]) -> bool | dict[str, Any]:
        """A watch event is on its way: True lets it through, False drops it, another event goes in its place."""
        return True


def _resource(method: str, path: str, query: dict[str, str]) -> dict[str, Any]:
    """The attributes by which the API server authorizes a request."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return {"verb": method.lower()}
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    writes = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete" if name else "deletecollection"}
    verb = writes.get(method, "get" if name else "list")
    if verb in ("get", "list") and query.get("watch", "false") in ("true", "1"):
        verb = "watch"
    return {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
        "name": name,
    }


class Proxy:
    """The proxy. A context manager: listens inside, at ``url``."""

    def __init__(self, kubeconfig: Path, *, token: str | None = None, fault: Fault | None = None) -> None:
        self.fault = fault or Fault()
        """May be replaced at any time."""
        self.requests: list[Request] = []
        """Everything that came, oldest first."""
        self.url = ""
        self._target, self._tls, self._token = _credentials(kubeconfig, token)
        self._directory = tempfile.TemporaryDirectory(prefix="proxy-")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._failure: Exception | None = None

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that leads through this proxy."""
        return Path(self._directory.name) / "kubeconfig"

    def writes(self, since: int = 0) -> list[Request]:
        """Requests from number ``since`` on that can change something, the Lease's left out."""
        return [each for each in self.requests[since:] if each.write and not each.lease]

    def permissions(self) -> set[tuple[str, str, str]]:
        """What a role must grant for all that came."""
        return {permission for each in self.requests if each.resource for permission in each.permissions}

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        if self._failure:
            raise self._failure
        context = {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [context],
            "current-context": "proxy",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._directory.cleanup()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:
            self._failure = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls if self._tls else True)
        self._upstream = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**24, auto_decompress=False
        )
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()
        await self._upstream.close()

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        query = dict(incoming.query)
        request = Request(
            number=len(self.requests),
            method=incoming.method,
            path=incoming.path,
            query=query,
            user_agent=incoming.headers.get("User-Agent", ""),
            content_type=incoming.headers.get("Content-Type", ""),
            body=b"",
            **_resource(incoming.method, incoming.path, query),
        )
        self.requests.append(request)
        request.body = await incoming.read()
        try:
            self.fault.before(request)
            return await self._forward(incoming, request)
        except Cut:
            if incoming.transport:
                incoming.transport.abort()
            return web.Response(status=502)
        except NotServed:
            return web.json_response({"kind": "Status", "code": 404, "message": "not served"}, status=404)

    async def _forward(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        headers = {key: value for key, value in incoming.headers.items() if key.lower() not in HOP_BY_HOP}
        headers["Accept-Encoding"] = "identity"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        async with self._upstream.request(
            request.method, self._target + incoming.raw_path, headers=headers, data=request.body or None
        ) as answer:
            request.status = answer.status
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP}
            if request.verb == "watch" and answer.status == 200:
                return await self._stream(incoming, request, answer, kept)
            body = await answer.read()
        self.fault.after(request, body)
        return web.Response(status=answer.status, headers=kept, body=body)

    async def _stream(
        self, incoming: web.Request, request: Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=200, headers=headers)
        as_json = answer.content_type == "application/json"
        with contextlib.suppress(ConnectionResetError):  # the client has gone
            await response.prepare(incoming)
            while line := await answer.content.readline():
                verdict = self.fault.event(request, json.loads(line)) if as_json else True
                if verdict:
                    await response.write(json.dumps(verdict).encode() + b"\n" if isinstance(verdict, dict) else line)
        return response


def _credentials(kubeconfig: Path, token: str | None) -> tuple[str, ssl.SSLContext | None, str | None]:
    """The API server's URL, how to speak to it, and as whom: by ``token``, else by the kubeconfig's current context."""
    config = yaml.safe_load(kubeconfig.read_text())

    def named(kind: str, name: str) -> dict[str, Any]:
        return next(each for each in config[f"{kind}s"] if each["name"] == name)[kind] or {}

    context = named("context", config["current-context"])
    cluster, user = named("cluster", context["cluster"]), named("user", context["user"])
    server = str(cluster["server"]).rstrip("/")
    if server.startswith("http://"):
        return server, None, token
    with tempfile.TemporaryDirectory() as scratch:
        tls = ssl.create_default_context(
            cafile=_file(cluster, "certificate-authority", kubeconfig, scratch),
        )
        certificate = _file(user, "client-certificate", kubeconfig, scratch)
        if certificate and not token:
            tls.load_cert_chain(certificate, _file(user, "client-key", kubeconfig, scratch))
    return server, tls, token or user.get("token")


def _file(entry: dict[str, Any], key: str, kubeconfig: Path, scratch: str) -> str | None:
    """A kubeconfig's file, or its inline data written to one."""
    if inline := entry.get(f"{key}-data"):
        path = Path(scratch) / key
        path.write_bytes(base64.b64decode(inline))
        return str(path)
    return str(kubeconfig.parent / entry[key]) if key in entry else None


def counted(requests: Iterable[Request]) -> dict[str, int]:
    """How many requests of each kind, for a message that a person reads."""
    counts: dict[str, int] = {}
    for each in requests:
        key = f"{each.verb} {each.resource}" + (f"/{each.subresource}" if each.subresource else "")
        counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items()))
