"""A stand-in for the API server, only for faults that a real one can't be made to have on demand.

It keeps objects in memory, knows the requests that the shell makes and no others: an unexpected one fails the test.
"""

import copy
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from llmservice_operator.resources import kinds

Answer = tuple[int, dict[str, Any]]
KINDS = {kind.plural: kind.kind for kind in kinds.TABLE}


def refusal(status: int, message: str) -> Answer:
    """An error as the API server words it."""
    return status, {"kind": "Status", "status": "Failure", "code": status, "message": message}


class FakeAPI:
    """The server. ``faults`` maps a request's summary to what happens instead."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.bodies: dict[str, Any] = {}
        """The body of the latest of each call."""
        self.faults: list[Callable[[str], Any]] = []
        self.unexpected: list[str] = []
        self.managers: list[str] = []
        self._version = 100

    def app(self) -> web.Application:
        """The server as an aiohttp application."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    def put(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Put an object there, past the shell."""
        meta = obj["metadata"]
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        meta.setdefault("uid", f"uid-{self._version}")
        self.objects[obj["kind"], meta.get("namespace", ""), meta["name"]] = obj
        return copy.deepcopy(obj)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as it is now."""
        return self.objects.get((kind, namespace, name))

    @property
    def writes(self) -> list[str]:
        """Calls that write."""
        return [call for call in self.calls if not call.startswith(("get ", "list "))]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(parts) > 2 and parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        kind, name, sub = KINDS.get(parts[0], "?"), *(*parts[1:], "", "")[:2]
        content = request.headers.get("Content-Type", "")
        verb = {
            "GET": "get" if name else "list",
            "POST": "create",
            "DELETE": "delete",
            "PATCH": "status" if sub == "status" else "apply" if "apply" in content else "patch",
        }[request.method]
        call = f"{verb} {kind} {name}".strip()
        self.calls.append(call)
        body = await request.json() if request.can_read_body else None
        self.bodies[call] = body
        for fault in list(self.faults):
            outcome = fault(call)
            if outcome is None:
                continue
            self.faults.remove(fault)
            if outcome == "hang up":
                assert request.transport
                request.transport.close()
                return web.Response()
            if outcome == "commit, then hang up":
                getattr(self, f"_{verb}")(request, kind, namespace, name, body)
                assert request.transport
                request.transport.close()
                return web.Response()
            if outcome == "cut":
                _, answer = getattr(self, f"_{verb}")(request, kind, namespace, name, body)
                return web.Response(text=json.dumps(answer)[:-5], content_type="application/json")
            status, answer, *headers = outcome
            return web.json_response(answer, status=status, headers=headers[0] if headers else None)
        if kind == "?":
            self.unexpected.append(call)
        status, answer = getattr(self, f"_{verb}")(request, kind, namespace, name, body)
        return web.json_response(answer, status=status)

    def _get(self, request: web.Request, kind: str, namespace: str, name: str, body: Any) -> Answer:
        found = self.objects.get((kind, namespace, name))
        return (200, found) if found else refusal(404, f"{kind} {name} not found")

    def _list(self, request: web.Request, kind: str, namespace: str, name: str, body: Any) -> Answer:
        items = [obj for key, obj in self.objects.items() if key[0] == kind and namespace in ("", key[1])]
        meta = {"resourceVersion": str(self._version)}
        begin, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", len(items)))
        if begin + limit < len(items):
            meta["continue"] = str(begin + limit)
        return 200, {"metadata": meta, "items": items[begin : begin + limit]}

    def _create(self, request: web.Request, kind: str, namespace: str, name: str, body: Any) -> Answer:
        if (kind, namespace, body["metadata"]["name"]) in self.objects:
            return refusal(409, "already exists")
        return 201, self.put(body)

    def _apply(self, request: web.Request, kind: str, namespace: str, name: str, body: Any) -> Answer:
        manager = request.query["fieldManager"]
        old, meta = self.objects.get((kind, namespace, name)), body["metadata"]
        if meta.get("uid") and (old is None or old["metadata"]["uid"] != meta["uid"]):
            return refusal(409, "uid mismatch: the provided object specified another uid")
        if old is None:
            return 201, self.put({**body, "metadata": {**meta, "managedFields": [{"manager": manager}]}})
        new = _merged(old, body)
        managers = old["metadata"].get("managedFields", [])
        if {"manager": manager} not in managers:
            new["metadata"]["managedFields"] = [*managers, {"manager": manager}]
        return (200, old) if new == old else (200, self.put(new))

    def _status(self, request: web.Request, kind: str, namespace: str, name: str, body: Any) -> Answer:
        old = self.objects.get((kind, namespace, name))
        if old is None:
            return refusal(404, f"{kind} {name} not found")
        if body["metadata"]["uid"] != old["metadata"]["uid"]:
            return refusal(409, "Precondition failed: UID in precondition")
        return 200, self.put(_merged(old, {"status": body["status"]}))

    def _patch(self, request: web.Request, kind: str, namespace: str, name: str, body: Any) -> Answer:
        """A merge into that very object, or what gives up ownership: a test and a removal for each entry."""
        found = self.objects.get((kind, namespace, name))
        if found is None:
            return refusal(404, f"{kind} {name} not found")
        if isinstance(body, dict):
            if body["metadata"]["uid"] != found["metadata"]["uid"]:
                return refusal(409, "Precondition failed: UID in precondition")
            return 200, self.put(_merged(found, body))
        old = copy.deepcopy(found)
        for test, removal in zip(body[::2], body[1::2], strict=True):
            position = int(removal["path"].rpartition("/")[2])
            entries = old["metadata"]["managedFields"]
            if entries[position]["manager"] != test["value"]:
                return refusal(422, "testing path: test failed")
            del entries[position]
        return 200, self.put(old)

    def _delete(self, request: web.Request, kind: str, namespace: str, name: str, body: Any) -> Answer:
        old = self.objects.get((kind, namespace, name))
        if old is None:
            return refusal(404, f"{kind} {name} not found")
        if old["metadata"]["uid"] != body["preconditions"]["uid"]:
            return refusal(409, "Precondition failed: UID in precondition")
        del self.objects[kind, namespace, name]
        return 200, {"kind": "Status", "status": "Success"}


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return copy.deepcopy(new)
    result = {key: value for key, value in copy.deepcopy(old).items() if new.get(key, "") is not None}
    for key, value in new.items():
        if value is not None:
            result[key] = _merged(result.get(key), value)
    return result
