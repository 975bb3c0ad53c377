"""A stand-in for the API server, for the gateway's process."""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from llmservice_operator.resources import names
from support.gateway_process import GatewayProcess
from support.http_server import serving

NAMESPACE = "team-a"


class Watched:
    """Objects of a stand-in for the API server: lists, and watches that send what changes."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {"llmservices": {}, "pods": {}}
        self.watches: list[tuple[str, queue.Queue[Any]]] = []
        self.selectors: dict[str, str] = {}
        self.down = False
        """Whether connections end without an answer."""
        self.scaled: list[dict[str, Any]] = []
        """Bodies of the writes to the scale subresource that were accepted."""
        self.refused = 0
        """How many further writes are refused."""
        self.secrets: dict[str, dict[str, str]] = {}
        """Entries of Secrets that the gateway may read, by name; others may not be read."""
        self.secret_reads: list[str] = []
        self._lock = threading.Lock()
        self._version = 1
        self._history: list[tuple[int, str, Any]] = []

    def put(self, plural: str, obj: dict[str, Any], event: str = "") -> None:
        """Creates, changes or deletes an object."""
        with self._lock:
            self._version += 1
            obj["metadata"]["resourceVersion"] = str(self._version)
            name = obj["metadata"]["name"]
            kind = event or ("MODIFIED" if name in self.objects[plural] else "ADDED")
            if kind == "DELETED":
                self.objects[plural].pop(name, None)
            else:
                self.objects[plural][name] = obj
            self._history.append((self._version, plural, {"type": kind, "object": obj}))
            for watched, events in self.watches:
                if watched == plural:
                    events.put(self._history[-1][2])

    def list(self, plural: str) -> dict[str, Any]:
        """All objects."""
        with self._lock:
            items = list(self.objects[plural].values())
            return {"kind": "List", "metadata": {"resourceVersion": str(self._version)}, "items": items}

    def watch(self, plural: str, version: int) -> queue.Queue[Any]:
        """Changes after this version."""
        events: queue.Queue[Any] = queue.Queue()
        with self._lock:
            for of, watched, event in self._history:
                if of > version and watched == plural:
                    events.put(event)
            self.watches.append((plural, events))
        return events

    def scale(self, name: str, body: dict[str, Any]) -> int:
        """Writes to the scale subresource; the status."""
        obj = self.objects["llmservices"][name]
        if self.refused:
            self.refused -= 1
            return 500
        if body["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            return 409
        self.scaled.append(body)
        self.put("llmservices", {**obj, "spec": {**obj["spec"], "replicas": body["spec"]["replicas"]}})
        return 200

    def end_watches(self) -> None:
        """Ends all watches, as an API server that restarts."""
        with self._lock:
            for _, events in self.watches:
                events.put(None)
            self.watches.clear()


def handler(watched: Watched) -> type[BaseHTTPRequestHandler]:
    """Answers lists and watches."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if watched.down:
                self.close_connection = True
                return
            url = urlsplit(self.path)
            query, plural = parse_qs(url.query), url.path.rpartition("/")[2]
            assert f"/namespaces/{NAMESPACE}/" in url.path
            if plural not in watched.objects:
                self._one(*url.path.split("/")[-2:])
                return
            watched.selectors[plural] = query.get("labelSelector", [""])[0]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            if "watch" not in query:
                text = json.dumps(watched.list(plural)).encode()
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            events = watched.watch(plural, int(query["resourceVersion"][0]))
            while (event := events.get()) is not None:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")

        def do_PATCH(self) -> None:
            assert urlsplit(self.path).path.endswith("/scale")
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(watched.scale(urlsplit(self.path).path.split("/")[-2], body), {"kind": "Scale"})

        def _one(self, plural: str, name: str) -> None:
            if plural == "secrets":
                watched.secret_reads.append(name)
                entries = watched.secrets.get(name)
                data = {key: base64.b64encode(text.encode()).decode() for key, text in (entries or {}).items()}
                self._answer(403 if entries is None else 200, {"kind": "Secret", "data": data})
            else:
                self._answer(200, watched.objects[plural][name])

        def _answer(self, status: int, answer: object) -> None:
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def llmservice(name: str = "chat", **spec: Any) -> dict[str, Any]:
    """A service."""
    meta = {"name": name, "namespace": NAMESPACE, "uid": name, "creationTimestamp": "2026-11-30T00:00:00Z"}
    header = {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService"}
    return {**header, "metadata": meta, "spec": {"model": {"source": "hf://org/name"}, **spec}}


def pod(number: int = 0, *, ready: bool = True, deleted: bool = False, address: str = "10.0.0.1") -> dict[str, Any]:
    """A pod of the service chat."""
    labels = names.labels("chat", names.ENGINE_COMPONENT)
    meta: dict[str, Any] = {"name": f"chat-{number}", "namespace": NAMESPACE, "labels": labels}
    meta["ownerReferences"] = [{"kind": "StatefulSet", "name": "chat", "controller": True}]
    if deleted:
        meta["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    condition = {"type": "Ready", "status": str(ready)}
    return {"metadata": meta, "status": {"podIP": address, "conditions": [condition]}}


@contextlib.contextmanager
def running(directory: Path, watched: Watched, **variables: str) -> Iterator[GatewayProcess]:
    """A gateway that watches these objects."""
    with serving(handler(watched)) as server:
        process = GatewayProcess(directory, {"server": server}, "token", NAMESPACE, **variables)
        try:
            yield process
        finally:
            watched.end_watches()
            if process.popen.poll() is None:
                process.stop()
