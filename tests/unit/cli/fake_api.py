"""A stand-in for the API server: LLMServices and Secrets in memory, what is around a service where a test puts it, and
the requests of `kubectl llm` alone.

A request that it does not know is answered with 418 and kept in ``unexpected``.
"""

import contextlib
import copy
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

Answer = tuple[int, Any]
MERGE = "application/merge-patch+json"
MAX_SECRET = 1024 * 1024
_PATHS = {
    re.compile(r"/apis/llmservice\.dev/v1alpha1/namespaces/([^/?]+)/llmservices/([^/?]+)"): "LLMService",
    re.compile(r"/api/v1/namespaces/([^/?]+)/secrets/?([^/?]*)"): "Secret",
}

_AROUND = re.compile(r"/api(?:s/[^/]+)?/v[12](?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/?]+))?(?:/(log|proxy/metrics))?")
_LISTS = re.compile(r"/apis/llmservice\.dev/v1alpha1(?:/namespaces/([^/?]+))?/llmservices")


def refusal(status: int, message: str, reason: str = "", *causes: dict[str, str]) -> Answer:
    """An error as the API server words it."""
    details = {"name": "it", "causes": list(causes)}
    return status, {"kind": "Status", "code": status, "message": message, "reason": reason, "details": details}


class FakeAPI:
    """The server. A fault gets each request's summary, such as "patch Secret", and may answer in its place."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.faults: list[Callable[[str], Answer | str | None]] = []
        self.unexpected: list[str] = []
        self.agents: set[str] = set()
        self.tokens: set[str | None] = set()
        self.around: dict[str, list[dict[str, Any]] | Answer] | None = None
        """By plural: objects of other kinds, or what is answered to every request for them. None: nobody may ask."""
        self.texts: dict[str, Callable[[], str | Answer]] = {}
        """What is at an object's subresource, such as pods/chat-0/log."""
        self._version = 0
        self._lock = threading.Lock()

    def put(self, kind: str, namespace: str, name: str, **content: Any) -> None:
        """Put an object there, past the client."""
        self._keep(kind, namespace, {"metadata": {"name": name, "namespace": namespace}, **content})

    def secret(self, name: str = "chat-keys", namespace: str = "team-a") -> dict[str, Any]:
        """A Secret as it is now."""
        return copy.deepcopy(self.objects["Secret", namespace, name])

    def service(self, name: str = "chat", namespace: str = "team-a") -> dict[str, Any]:
        """A service as it is now."""
        return copy.deepcopy(self.objects["LLMService", namespace, name])

    def answer(self, method: str, target: str, content: str, body: Any) -> Answer | str:
        """What is said to a request; a text names what is done to the connection instead."""
        path, _, query = unquote(target).partition("?")
        if method == "GET" and (listed := _LISTS.fullmatch(path)):
            return self._listed(listed[1], query)
        found = next(((kind, match) for pattern, kind in _PATHS.items() if (match := pattern.fullmatch(path))), None)
        if found is None and method == "GET" and self.around is not None and (match := _AROUND.fullmatch(path)):
            return self._around(*match.groups(), parse_qs(query))
        if found is None or (method != "GET" and query != "fieldManager=kubectl-llm"):
            self.unexpected.append(f"{method} {target}")
            return 418, {}
        kind, (namespace, name) = found[0], found[1].groups()
        call = f"{ {'GET': 'get', 'POST': 'create', 'PATCH': 'patch'}.get(method, method) } {kind}"
        self.calls.append(call)
        outcome = next((outcome for fault in self.faults if (outcome := fault(call)) is not None), None)
        if outcome is not None and outcome != "commit, then hang up":
            return outcome
        with self._lock:
            answer = self._done(call, kind, namespace, name, content, body)
        return "hang up" if outcome else answer

    def _listed(self, namespace: str | None, query: str) -> Answer:
        """LLMServices, one on a page."""
        found = [
            obj
            for (kind, inside, _), obj in sorted(self.objects.items())
            if kind == "LLMService" and namespace in (None, inside)
        ]
        at = int(query.partition("&continue=")[2] or 0)
        more = {"continue": str(at + 1)} if at + 1 < len(found) else {}
        self.calls.append("list LLMService")
        return 200, {"items": found[at : at + 1], "metadata": more}

    def _around(
        self, namespace: str | None, plural: str, name: str | None, below: str | None, query: Mapping[str, list[str]]
    ) -> Answer:
        self.calls.append(f"{'get' if name else 'list'} {plural}" + (f"/{below}" if below else ""))
        found = (self.around or {}).get(plural, [])
        if isinstance(found, tuple):
            return found
        if below:
            told = self.texts.get(f"{plural}/{name}/{below}", lambda: refusal(404, "not found", "NotFound"))()
            return (200, told) if isinstance(told, str) else told
        inside = [obj for obj in found if namespace in (None, obj["metadata"].get("namespace", namespace))]
        if name:
            named = [obj for obj in inside if obj["metadata"]["name"] == name]
            return (200, named[0]) if named else refusal(404, f'{plural} "{name}" not found', "NotFound")
        labels, fields = (query.get(each, [""])[0] for each in ("labelSelector", "fieldSelector"))
        return 200, {"items": [obj for obj in inside if selected(obj, labels, fields)], "metadata": {}}

    def _done(self, call: str, kind: str, namespace: str, name: str, content: str, body: Any) -> Answer:
        old = self.objects.get((kind, namespace, name))
        match call.split()[0]:
            case "get" if old:
                return 200, old
            case "create" if (kind, namespace, body["metadata"]["name"]) in self.objects:
                return refusal(409, "already exists", "AlreadyExists")
            case "create":
                return self._checked(kind, namespace, body)
            case "patch" if old and content == MERGE:
                version = body.get("metadata", {}).get("resourceVersion")
                if version not in (None, old["metadata"]["resourceVersion"]):
                    return refusal(409, "the object has been modified", "Conflict")
                return self._checked(kind, namespace, _merged(old, body))
        return refusal(404, f'{kind.lower()}s "{name}" not found', "NotFound")

    def _checked(self, kind: str, namespace: str, obj: dict[str, Any]) -> Answer:
        if sum(len(value) * 3 // 4 for value in obj.get("data", {}).values()) > MAX_SECRET:
            cause = {"reason": "FieldValueTooLong", "field": "data", "message": "Too long"}
            return refusal(422, f"data: Too long: may not be more than {MAX_SECRET} bytes", "Invalid", cause)
        self._keep(kind, namespace, obj)
        return 200, obj

    def _keep(self, kind: str, namespace: str, obj: dict[str, Any]) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        self.objects[kind, namespace, obj["metadata"]["name"]] = obj


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


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


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
            status, document = answer
            text = (document if isinstance(document, str) else json.dumps(document)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _handle  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not api.unexpected
