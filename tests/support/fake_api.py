"""A stand-in for the API server, for faults that a real one can't produce on demand.

It keeps objects in memory and knows the requests that its clients make. Other requests are recorded in ``unexpected``,
which must be empty at the end. ``app`` serves it in the event loop of a test, ``serving`` in its own thread.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from aiohttp import web

from llmservice_operator.resources import kinds

Object = dict[str, Any]
Answer = tuple[Any, ...]
"""Status, document (a text is sent as it is) and, where there are any, headers."""
HANG_UP = "hang up"
COMMIT_AND_HANG_UP = "commit, then hang up"
CUT = "cut"
"""Done, and the answer ends too early."""
MERGE = "application/merge-patch+json"
KINDS = {**{kind.plural: kind.kind for kind in kinds.TABLE}, "secrets": "Secret"}
MAX_SECRET = 1024 * 1024


def refusal(status: int, message: str, reason: str = "", *causes: dict[str, str]) -> Answer:
    """An error as the API server words it."""
    details = {"name": "it", "causes": list(causes)}
    about = {"reason": reason, "details": details} if reason else {}
    return status, {"kind": "Status", "status": "Failure", "code": status, "message": message, **about}


class Request(NamedTuple):
    """A request for objects of one kind."""

    verb: str
    kind: str
    namespace: str
    name: str
    query: Mapping[str, str]
    body: Any

    @classmethod
    def of(cls, method: str, target: str, content: str, body: Any) -> Request:
        """The request that this one of HTTP stands for; the kind of an unknown plural is ``?``."""
        path, _, query = target.partition("?")
        parts = unquote(path).strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(parts) > 2 and parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        plural, name, sub = (*parts, "", "", "")[:3]
        verb = {
            "GET": "get" if name else "list",
            "POST": "create",
            "DELETE": "delete",
            "PATCH": "status" if sub == "status" else "apply" if "apply" in content else "patch",
        }.get(method, method)
        values = {key: found[0] for key, found in parse_qs(query).items()}
        return cls(verb, KINDS.get(plural, "?"), namespace, name, values, body)

    @property
    def summary(self) -> str:
        """For tests: verb, kind and name."""
        return f"{self.verb} {self.kind} {self.name}".strip()


class FakeAPI:
    """The server. A fault gets each request's summary, such as "patch Pod chat-0"; what it returns happens instead."""

    needs_uid = True
    """Whether every merge patch has to name the object's uid."""
    page = 0
    """Objects on one page of a list; 0: as many as the request says."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.calls: list[str] = []
        self.bodies: dict[str, Any] = {}
        """The body of the latest of each call."""
        self.faults: list[Callable[[str], Any]] = []
        self.unexpected: list[str] = []
        self.agents: set[str] = set()
        self.tokens: set[str | None] = set()
        self._version = 100
        self._lock = threading.Lock()

    def put(self, obj: Object) -> Object:
        """Put an object there, past the client."""
        meta = obj["metadata"]
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        meta.setdefault("uid", f"uid-{self._version}")
        self.objects[obj["kind"], meta.get("namespace", ""), meta["name"]] = obj
        return copy.deepcopy(obj)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it is now."""
        return self.objects.get((kind, namespace, name))

    def fail_once(self, fault: Callable[[str], Any]) -> None:
        """Add a fault that is removed once it has answered."""

        def once(call: str) -> Any:
            outcome = fault(call)
            if outcome is not None:
                self.faults.remove(once)
            return outcome

        self.faults.append(once)

    @property
    def writes(self) -> list[str]:
        """Calls that write."""
        return [call for call in self.calls if not call.startswith(("get ", "list "))]

    def answer(self, method: str, target: str, content: str, body: Any) -> Answer | str:
        """The answer to a request, or HANG_UP."""
        request = Request.of(method, target, content, body)
        self.calls.append(request.summary)
        self.bodies[request.summary] = body
        outcome = next((found for fault in list(self.faults) if (found := fault(request.summary)) is not None), None)
        if outcome is not None and outcome not in (COMMIT_AND_HANG_UP, CUT):
            return outcome  # type: ignore[no-any-return]
        if request.kind == "?":
            self.unexpected.append(f"{method} {target}")
        with self._lock:
            status, document, *_ = getattr(self, f"_{request.verb}")(request)
            text = json.dumps(document)
        if outcome == COMMIT_AND_HANG_UP:
            return HANG_UP
        return status, text[:-5] if outcome == CUT else text

    def _get(self, request: Request) -> Answer:
        found = self.objects.get(request[1:4])
        return (200, found) if found else _not_found(request)

    def _list(self, request: Request) -> Answer:
        found = [
            obj
            for (kind, namespace, _), obj in self.objects.items()
            if kind == request.kind and request.namespace in ("", namespace)
        ]
        meta = {"resourceVersion": str(self._version)}
        begin = int(request.query.get("continue", 0))
        limit = self.page or int(request.query.get("limit", len(found)))
        if begin + limit < len(found):
            meta["continue"] = str(begin + limit)
        return 200, {"metadata": meta, "items": found[begin : begin + limit]}

    def _create(self, request: Request) -> Answer:
        if (request.kind, request.namespace, request.body["metadata"]["name"]) in self.objects:
            return refusal(409, "already exists", "AlreadyExists")
        return self._kept(201, {"kind": request.kind, **request.body})

    def _apply(self, request: Request) -> Answer:
        manager = request.query["fieldManager"]
        old, meta = self.objects.get(request[1:4]), request.body["metadata"]
        if meta.get("uid") and (old is None or old["metadata"]["uid"] != meta["uid"]):
            return refusal(409, "uid mismatch: the provided object specified another uid")
        if old is None:
            return 201, self.put({**request.body, "metadata": {**meta, "managedFields": [{"manager": manager}]}})
        new = merged(old, request.body)
        managers = old["metadata"].get("managedFields", [])
        if {"manager": manager} not in managers:
            new["metadata"]["managedFields"] = [*managers, {"manager": manager}]
        return (200, old) if new == old else (200, self.put(new))

    def _status(self, request: Request) -> Answer:
        old = self.objects.get(request[1:4])
        if old is None:
            return _not_found(request)
        if request.body["metadata"]["uid"] != old["metadata"]["uid"]:
            return refusal(409, "Precondition failed: UID in precondition")
        return 200, self.put(merged(old, {"status": request.body["status"]}))

    def _patch(self, request: Request) -> Answer:
        """A merge into that very object, or what gives up ownership: a test and a removal for each entry."""
        old, body = self.objects.get(request[1:4]), request.body
        if old is None:
            return _not_found(request)
        if isinstance(body, list):
            return self._patched(copy.deepcopy(old), body)
        meta = body.get("metadata", {})
        if (meta["uid"] if self.needs_uid else meta.get("uid", old["metadata"]["uid"])) != old["metadata"]["uid"]:
            return refusal(409, "Precondition failed: UID in precondition")
        if meta.get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            return refusal(409, "the object has been modified", "Conflict")
        return self._kept(200, merged(old, body))

    def _patched(self, old: Object, body: list[Any]) -> Answer:
        for test, removal in zip(body[::2], body[1::2], strict=True):
            position = int(removal["path"].rpartition("/")[2])
            entries = old["metadata"]["managedFields"]
            if entries[position]["manager"] != test["value"]:
                return refusal(422, "testing path: test failed")
            del entries[position]
        return 200, self.put(old)

    def _delete(self, request: Request) -> Answer:
        old = self.objects.get(request[1:4])
        if old is None:
            return _not_found(request)
        if old["metadata"]["uid"] != request.body["preconditions"]["uid"]:
            return refusal(409, "Precondition failed: UID in precondition")
        del self.objects[request[1:4]]
        return 200, {"kind": "Status", "status": "Success"}

    def _kept(self, status: int, obj: Object) -> Answer:
        if obj["kind"] == "Secret" and sum(len(each) * 3 // 4 for each in obj.get("data", {}).values()) > MAX_SECRET:
            cause = {"reason": "FieldValueTooLong", "field": "data", "message": "Too long"}
            return refusal(422, f"data: Too long: may not be more than {MAX_SECRET} bytes", "Invalid", cause)
        return status, self.put(obj)

    def app(self) -> web.Application:
        """The server as an aiohttp application."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        answer = self.answer(request.method, request.path_qs, request.headers.get("Content-Type", ""), body)
        if isinstance(answer, str):
            assert request.transport
            request.transport.close()
            return web.Response()
        status, text, headers = _sent(answer)
        return web.Response(text=text, status=status, headers=headers, content_type="application/json")


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def selected(obj: Mapping[str, Any], labels: str, fields: str) -> bool:
    """Whether both selectors choose it, of the forms that `kubectl llm` uses."""
    has = obj["metadata"].get("labels") or {}
    for key, value in re.findall(r"([\w./-]+)=([\w.-]+)", labels):
        if has.get(key) != value:
            return False
    for key, values in re.findall(r"([\w./-]+) in \(([^)]*)\)", labels):
        if has.get(key) not in values.split(", "):
            return False
    for path, unequal, value in re.findall(r"([\w.]+)(!?)=([\w.-]+)", fields):
        here: Any = obj
        for step in path.split("."):
            here = here.get(step, {})
        if (here == value) == bool(unequal):
            return False
    return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server on this machine that answers with this handler."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def serving(api: FakeAPI) -> Iterator[str]:
    """It answers at this URL; a request that it does not know fails at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second would wait for a late ACK, 40 ms

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            api.agents.add(self.headers["User-Agent"])
            api.tokens.add(self.headers["Authorization"])
            answer = api.answer(
                self.command, self.path, self.headers.get("Content-Type", ""), json.loads(body) if body else None
            )
            if isinstance(answer, str):
                self.close_connection = True
                return
            status, text, headers = _sent(answer)
            content = text.encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _handle  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with listening(Handler) as url:
        yield url
    assert not api.unexpected


def _sent(answer: Answer) -> tuple[int, str, dict[str, str]]:
    status, document, *headers = answer
    return status, document if isinstance(document, str) else json.dumps(document), headers[0] if headers else {}


def _not_found(request: Request) -> Answer:
    return refusal(404, f"{request.kind} {request.name} not found", "NotFound")
