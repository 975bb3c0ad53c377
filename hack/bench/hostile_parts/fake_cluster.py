"""A stand-in for the API server for the operator as a process: that of the tests with discovery and watches, and with a
kubelet that ends each inspection Job's pod with the message of the case.

It runs in its own thread. Objects are created and changed with ``apply`` and ``delete`` from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from llmservice_operator.resources import kinds
from llmservice_operator.resources.platform import Adapter
from support.fake_api import KINDS as KNOWN
from support.fake_api import Answer, FakeAPI, Request

Object = dict[str, Any]
OWNER = "LLMService"
SERVED = (*kinds.watched(Adapter.NONE), kinds.NODE, kinds.RESOURCE_QUOTA, kinds.EVENT)
GROUPS: Mapping[str, tuple[str, ...]] = {
    version: tuple(kind.plural for kind in SERVED if kind.api_version == version)
    + (("namespaces", "serviceaccounts") if version == "v1" else ())
    for version in {kind.api_version: None for kind in SERVED}
}
"""What discovery tells, by API version."""
KINDS = KNOWN | {"serviceaccounts": "ServiceAccount", "namespaces": "Namespace"}
INSPECTION = "inspect"


class FakeCluster(FakeAPI):
    """Start it with ``with``. ``message`` gives the termination message of the inspection of a service by its name;
    None leaves its pod unmade."""

    def __init__(self, directory: Path, message: Callable[[str], str | None]) -> None:
        super().__init__()
        self.delivered: dict[str, float] = {}
        """When a service's inspection ended, on the loop's clock."""
        self.ready = 0
        """Replicas of each StatefulSet that serve."""
        self._directory = directory
        self._message = message
        self._log: list[tuple[int, str, str, Object]] = []
        """Version, kind, type and object of each change."""
        self._forgotten = 0
        self._changed: asyncio.Event = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="fake-cluster", daemon=True)
        self._ready = threading.Event()
        self.url = ""

    @property
    def kubeconfig(self) -> Path:
        """For the operator."""
        return self._directory / "kubeconfig"

    def __enter__(self) -> FakeCluster:
        self._thread.start()
        self._ready.wait()
        user = {"name": "operator", "user": {"token": "none"}}
        context = {"name": "fake", "context": {"cluster": "fake", "user": "operator"}}
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "fake",
                    "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
                    "users": [user],
                    "contexts": [context],
                }
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def apply(self, service: Object) -> None:
        """Create a service, or change its spec."""

        def do() -> None:
            old = self.get(OWNER, service["metadata"]["namespace"], service["metadata"]["name"])
            new = copy.deepcopy(service)
            if old is not None:
                new = {**old, "spec": new["spec"], "metadata": dict(old["metadata"])}
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
            else:
                new["metadata"]["generation"] = 1
            self.put(new)

        self._do(do)

    def remove(self, namespace: str, name: str) -> None:
        """Delete a service, and what it owns, as the garbage collector does."""
        self._do(lambda: self._collect(OWNER, namespace, name))

    def read(self, kind: str, namespace: str, name: str) -> Object | None:
        """A copy of an object as it is now."""
        found = self.get(kind, namespace, name)
        return copy.deepcopy(found)

    def put(self, obj: Object) -> Object:
        """As the stand-in does, and as an event."""
        name = (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        kind = "MODIFIED" if name in self.objects else "ADDED"
        if obj["kind"] == "StatefulSet":  # its controller
            counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), self.ready)
            obj.setdefault("status", counts)
            obj["metadata"].setdefault("generation", 1)
        made = super().put(obj)
        self._tell(kind, made)
        if obj["kind"] == "Job" and kind == "ADDED":
            self._loop.call_soon(self._inspect, made)
        if obj["kind"] == "StatefulSet" and kind == "ADDED":
            for ordinal in range(self.ready):
                self._loop.call_soon(self._serve_one, made, ordinal)
        return made

    def _create(self, request: Request) -> Answer:
        if "dryRun" in request.query:
            return 201, request.body
        meta = request.body["metadata"]
        meta.setdefault("name", f"{meta.get('generateName', request.kind.lower())}{self._version}")
        return super()._create(request)

    def _delete(self, request: Request) -> Answer:
        old = self.objects.get(request[1:4])
        answer = super()._delete(request)
        if answer[0] == 200 and old is not None:
            self._gone(old)
        return answer

    def _inspect(self, job: Object) -> None:
        """The kubelet: the Job's pod has ended."""
        meta = job["metadata"]
        owner = next((ref["name"] for ref in meta.get("ownerReferences", ()) if ref["kind"] == OWNER), "")
        message = self._message(owner)
        if message is None or self.get("Job", meta["namespace"], meta["name"]) is None:
            return
        template = job["spec"]["template"]
        names = [each["name"] for each in template["spec"]["containers"]]
        ended = {"exitCode": 0, "reason": "Completed", "finishedAt": "2026-01-01T00:00:00Z", "message": message}
        self.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "namespace": meta["namespace"],
                    "name": f"{meta['name']}-x",
                    "labels": dict(template["metadata"]["labels"]),
                    "ownerReferences": [{"kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}],
                },
                "spec": copy.deepcopy(template["spec"]) | {"nodeName": "node"},
                "status": {
                    "phase": "Succeeded",
                    "containerStatuses": [{"name": each, "state": {"terminated": ended}} for each in names],
                },
            }
        )
        self.delivered[owner] = self._loop.time()

    def _serve_one(self, statefulset: Object, ordinal: int) -> None:
        """The kubelet: a replica is ready, on this machine."""
        meta, template = statefulset["metadata"], statefulset["spec"]["template"]
        states = [
            {"name": each["name"], "ready": True, "state": {"running": {}}} for each in template["spec"]["containers"]
        ]
        self.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "namespace": meta["namespace"],
                    "name": f"{meta['name']}-{ordinal}",
                    "labels": dict(template["metadata"]["labels"]),
                    "ownerReferences": [
                        {"kind": "StatefulSet", "name": meta["name"], "uid": meta["uid"], "controller": True}
                    ],
                },
                "spec": copy.deepcopy(template["spec"]) | {"nodeName": "node"},
                "status": {
                    "phase": "Running",
                    "podIPs": [{"ip": "127.0.0.1"}],
                    "conditions": [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready")],
                    "containerStatuses": states,
                },
            }
        )

    def _collect(self, kind: str, namespace: str, name: str) -> None:
        obj = self.objects.pop((kind, namespace, name), None)
        if obj is not None:
            self._gone(obj)

    def _gone(self, obj: Object) -> None:
        self._version += 1
        last = copy.deepcopy(obj)
        last["metadata"]["resourceVersion"] = str(self._version)
        self._tell("DELETED", last)
        uid = obj["metadata"]["uid"]
        owned = [
            key
            for key, each in self.objects.items()
            if any(ref.get("uid") == uid for ref in each["metadata"].get("ownerReferences") or ())
        ]
        for key in owned:
            self._collect(*key)

    def _tell(self, kind: str, obj: Object) -> None:
        self._log.append((self._version, obj["kind"], kind, obj))
        if len(self._log) > 20_000:
            self._log = self._log[10_000:]
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        if request.method == "GET" and (found := _discovered(parts)) is not None:
            return web.json_response(found)
        plural = parts[-1] if parts[-1] in KINDS else ""
        if request.method == "GET" and request.query.get("watch") and plural:
            return await self._watch(request, KINDS[plural])
        return await super()._handle(request)

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        since = int(request.query.get("resourceVersion") or 0)
        selector = _selector(request.query.get("labelSelector", ""))
        while not request.transport or not request.transport.is_closing():
            changed = self._changed
            for version, its_kind, what, obj in [each for each in self._log if each[0] > since]:
                since = version
                if its_kind == kind and _selected(obj, selector):
                    line = json.dumps({"type": what, "object": _typed(obj)})
                    with contextlib.suppress(ConnectionError):
                        await response.write(line.encode() + b"\n")
            await changed.wait()
        return response

    def _list(self, request: Request) -> Answer:
        status, found, *_ = super()._list(request)
        selector = _selector(request.query.get("labelSelector", ""))
        items = [_typed(each) for each in found["items"] if _selected(each, selector)]
        return status, {"kind": "List", "apiVersion": "v1", **found, "items": items}

    def _do(self, what: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            what()
            done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def start() -> None:
            # Bodies of any length: the operator's own are what is looked at.
            app = web.Application(client_max_size=1 << 28)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._ready.set()

        self._loop.run_until_complete(start())
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def _discovered(parts: list[str]) -> Object | None:
    """Answers to questions on what there is; None for any other path."""
    if parts == ["version"]:
        return {"major": "1", "minor": "37", "gitVersion": "v1.37.2"}
    if parts == ["api"]:
        return {"versions": ["v1"]}
    if parts == ["apis"]:
        groups = [version.split("/") for version in GROUPS if "/" in version]
        named = [{"groupVersion": f"{group}/{version}", "version": version} for group, version in groups]
        return {
            "groups": [
                {"name": group, "versions": [which], "preferredVersion": which}
                for (group, _), which in zip(groups, named, strict=True)
            ]
        }
    version = "/".join(parts[1:])
    if version not in GROUPS or parts[0] not in ("api", "apis"):
        return None
    verbs = ["get", "list", "watch", "create", "patch", "delete"]
    return {
        "resources": [
            {
                "name": plural,
                "singularName": "",
                "namespaced": plural not in ("nodes", "namespaces"),
                "kind": KINDS[plural],
                "verbs": verbs,
            }
            for plural in GROUPS[version]
        ]
    }


def _selector(text: str) -> Mapping[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def _selected(obj: Mapping[str, Any], selector: Mapping[str, str]) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in selector.items())


_VERSIONS = {KINDS[plural]: version for version, plurals in GROUPS.items() for plural in plurals}


def _typed(obj: Object) -> Object:
    return {"apiVersion": _VERSIONS.get(obj["kind"], "v1"), **obj}
