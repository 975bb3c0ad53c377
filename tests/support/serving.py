"""A namespace in which tests apply, watch and use services."""

from __future__ import annotations

import dataclasses
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import yaml

from llmservice_operator.resources import kinds
from llmservice_operator.resources.platform import Adapter
from support.cluster import APPLY, Cluster, wait_until
from support.web import answers, host

KINDS = tuple(kind.kind for kind in kinds.watched(Adapter.OWN))
"""The service and all that it can have."""
READY_SECONDS = 300.0
"""A small model on a busy two-core machine is ready well within this."""
ROUTE_SECONDS = 30.0
"""Time that kube-proxy may need from an endpoint change to its routing."""


@dataclasses.dataclass(frozen=True)
class Serving:
    """One namespace of one cluster."""

    cluster: Cluster
    namespace: str

    def path(self, kind: str, name: str = "") -> str:
        """The API server's path of a kind or an object in this namespace."""
        return kinds.named(kind).path(self.namespace, name)

    def apply(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Server-side apply, as `kubectl apply --server-side` does it. Returns the live object."""
        path = self.path(obj["kind"], obj["metadata"]["name"])
        answer = self.cluster.request(
            "PATCH", path, obj, content_type=APPLY, fieldManager="kubectl", fieldValidation="Strict", force="true"
        )
        assert answer.ok, answer.message
        return dict(answer.body)

    def apply_text(self, text: str) -> None:
        """Apply every document of a YAML text."""
        for document in yaml.safe_load_all(text):
            self.apply(document)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The live object, or None."""
        answer = self.cluster.request("GET", self.path(kind, name))
        return dict(answer.body) if answer.ok else None

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind, or those of a label selector."""
        query = {"labelSelector": selector} if selector else {}
        return list(self.cluster.request("GET", self.path(kind), **query).body.get("items") or ())

    def delete(self, kind: str, name: str) -> None:
        """Delete one object; it may be gone already."""
        self.cluster.request("DELETE", self.path(kind, name))

    def job_done(self, name: str) -> bool:
        """Whether a job has succeeded; AssertionError once it has failed."""
        status = (self.get("Job", name) or {}).get("status", {})
        assert not status.get("failed"), f"the job {name} failed: {json.dumps(self.everything())[:8000]}"
        return bool(status.get("succeeded"))

    def condition(self, service: str, kind: str) -> dict[str, Any] | None:
        """A condition of the service, if it is on the newest spec."""
        found = self.get("LLMService", service)
        assert found is not None, f"LLMService {service} is gone"
        for each in found.get("status", {}).get("conditions", ()):
            if each["type"] == kind and each.get("observedGeneration") == found["metadata"]["generation"]:
                return dict(each)
        return None

    def wait_for(
        self, service: str, kind: str, status: str, reason: str | None = None, timeout: float = READY_SECONDS
    ) -> dict[str, Any]:
        """The condition once it has this status (and reason) on the newest spec."""
        seen: list[Any] = [None]

        def look() -> dict[str, Any] | None:
            found = seen[0] = self.condition(service, kind)
            matches = found and found["status"] == status and reason in (None, found["reason"])
            return found if matches else None

        try:
            return wait_until(look, "", timeout=timeout, every=0.25) or {}
        except AssertionError:
            wanted = f"{kind}={status}" + (f" with reason {reason}" if reason else "")
            raise AssertionError(f"{service}: not {wanted} within {timeout:g} s, but {seen[0]}") from None

    def pods(self, service: str) -> list[dict[str, Any]]:
        """The service's engines."""
        return self.list("Pod", f"app.kubernetes.io/instance={service},app.kubernetes.io/component=engine")

    def post(self, service: str, body: dict[str, Any], route: str = "/v1/completions") -> dict[str, Any]:
        """Ask the service through its Service's address."""
        with urllib.request.urlopen(self._request(service, body, route), timeout=120) as answer:
            return dict(json.load(answer))

    def stream(self, service: str, body: dict[str, Any]) -> Iterator[tuple[float, str]]:
        """Each piece of a streamed completion with the time at which it came."""
        request = self._request(service, {**body, "stream": True}, "/v1/completions")
        with urllib.request.urlopen(request, timeout=120) as answer:
            for line in answer:
                data = line.decode().strip().removeprefix("data: ")
                if data and data != "[DONE]":
                    yield time.monotonic(), json.loads(data)["choices"][0]["text"]

    def address(self, service: str) -> str:
        """URL of the service, from the node."""
        found = self.get("Service", service)
        assert found is not None, f"the Service {service} is missing"
        return f"http://{host(found['spec']['clusterIP'])}:{found['spec']['ports'][0]['port']}"

    def _request(self, service: str, body: dict[str, Any], route: str) -> urllib.request.Request:
        """To be sent at once: the node's proxy knows of an endpoint that was there when this began."""
        address = self.address(service)
        routed = f"the node routes to {service}"
        wait_until(lambda: answers(f"{address}/ping"), routed, timeout=ROUTE_SECONDS, every=0.1)
        payload = json.dumps({"model": service, **body}).encode()
        return urllib.request.Request(address + route, payload, {"Content-Type": "application/json"})

    def is_refused(self, address: str, port: int) -> bool:
        """Whether nothing answers at this address any more."""
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return True
        return False

    def everything(self) -> dict[str, Any]:
        """All objects, for a person who looks into a failure."""
        found = {kind: self.list(kind) for kind in KINDS}
        for objects in found.values():
            for obj in objects:
                obj["metadata"].pop("managedFields", None)
        return found
