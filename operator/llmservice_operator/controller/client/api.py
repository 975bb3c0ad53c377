"""Typed requests to the API server, through the transport of the Kubernetes client.

Every request has a timeout, and every failure is an ApiError. A write to an existing object includes its uid, so that
an object that was deleted and created again is not changed.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client

from llmservice_operator import metrics
from llmservice_operator.controller.client import bounded_json
from llmservice_operator.controller.client.errors import ApiError, NotFound, TooLong, Unreachable, error_type
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources.kinds import Kind, kind_of

FIELD_MANAGER = "llmservice-operator"
REQUEST_SECONDS = 20.0
"""Timeout of one request, including its response."""
PAGE = 500
"""Maximum number of objects in one page of a list."""
LONGEST = 16 * 1024 * 1024
"""Maximum length of a response in bytes. A longer page is requested with fewer objects. One object has at most 3
MiB."""

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Cluster:
    """The API server. Objects are plain mappings."""

    def __init__(self, api: client.ApiClient) -> None:
        self._rest = api.rest_client
        self._host = api.configuration.host.rstrip("/")

    async def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any] | None:
        """The live object; None if it does not exist."""
        try:
            return await self._request("GET", kind.path(namespace, name))
        except NotFound:
            return None

    async def get_text(self, kind: Kind, namespace: str | None, name: str) -> bytes:
        """The JSON of the live object with its ``managedFields``, which other methods leave out; empty if it does not
        exist."""
        try:
            return await self._text("GET", kind.path(namespace, name))
        except NotFound:
            return b""

    async def pages(
        self,
        kind: Kind,
        namespace: str | None,
        *,
        selector: str = "",
        fields: str = "",
        metadata_only: bool = False,
        limit: int = PAGE,
    ) -> AsyncIterator[tuple[Sequence[dict[str, Any]], str]]:
        """All objects, page by page, each page with the resourceVersion of the list. If a page is too long, or the API
        server can't produce it in time, fewer objects are requested.

        Raises Gone if paging took too long and has to start again.
        """
        query = {"limit": str(limit)}
        if selector:
            query["labelSelector"] = selector
        if fields:
            query["fieldSelector"] = fields
        while True:
            try:
                page = await self._request(
                    "GET", kind.path(namespace), query=query, accept=_METADATA if metadata_only else _JSON
                )
            except (TooLong, Unreachable) as error:
                late = isinstance(error.__cause__, TimeoutError)
                if limit == 1 or not (late or isinstance(error, TooLong)):
                    raise
                limit = max(1, limit // 8)
                query["limit"] = str(limit)
                continue
            meta = page.get("metadata", {})
            yield page.get("items") or (), meta.get("resourceVersion", "0")
            if not meta.get("continue"):
                return
            query["continue"] = meta["continue"]

    async def apply(
        self, desired: Object, *, uid: str | None, force: bool = True, manager: str = FIELD_MANAGER
    ) -> dict[str, Any]:
        """Server-side apply. With ``uid`` only to that object; without, only to an object that does not exist.

        Raises Conflict if another object has the name, or if another manager owns a field and ``force`` is false.
        """
        kind, meta = kind_of(desired["apiVersion"], desired["kind"]), desired["metadata"]
        body = {**desired, "metadata": {**meta, "uid": uid}} if uid else desired
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        path = kind.path(meta.get("namespace"), meta["name"])
        return await self._write("apply", kind, "PATCH", path, query=query, body=body, content=_APPLY)

    async def patch_status(self, service: Object, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Merges ``patch`` into the status of this service."""
        kind, meta = kind_of(service["apiVersion"], service["kind"]), service["metadata"]
        body = {"metadata": {"uid": meta["uid"]}, "status": patch}
        path = kind.path(meta["namespace"], meta["name"], "status")
        query = {"fieldManager": FIELD_MANAGER}
        return await self._write("status", kind, "PATCH", path, query=query, body=body, content=_MERGE)

    async def patch_scale(self, service: Object, count: int) -> dict[str, Any]:
        """Sets the replica count of this service through its scale subresource."""
        kind, meta = kind_of(service["apiVersion"], service["kind"]), service["metadata"]
        body = {"metadata": {"uid": meta["uid"]}, "spec": {"replicas": count}}
        path = kind.path(meta["namespace"], meta["name"], "scale")
        return await self._write("scale", kind, "PATCH", path, body=body, content=_MERGE)

    async def wake(self, service: Object, manager: str) -> dict[str, Any]:
        """Scales this service, which was read at zero, to 1. Raises Conflict if it has changed since."""
        kind, meta = kind_of(service["apiVersion"], service["kind"]), service["metadata"]
        body = {
            "metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]},
            "spec": {"replicas": 1},
        }
        path, query = kind.path(meta["namespace"], meta["name"], "scale"), {"fieldManager": manager}
        return await self._write("scale", kind, "PATCH", path, query=query, body=body, content=_MERGE)

    async def resize(self, obj: Object, count: int) -> dict[str, Any]:
        """Sets only ``spec.replicas`` of this object."""
        kind, meta = kind_of(obj["apiVersion"], obj["kind"]), obj["metadata"]
        body = {"metadata": {"uid": meta["uid"]}, "spec": {"replicas": count}}
        path, query = kind.path(meta["namespace"], meta["name"]), {"fieldManager": FIELD_MANAGER}
        return await self._write("resize", kind, "PATCH", path, query=query, body=body, content=_MERGE)

    async def replace_spec(self, desired: Object, *, uid: str, manager: str) -> dict[str, Any]:
        """Merges the desired spec into this object. Lists are replaced as a whole; apply would merge their items."""
        kind, meta = kind_of(desired["apiVersion"], desired["kind"]), desired["metadata"]
        body = {"metadata": {"uid": uid}, "spec": desired["spec"]}
        path = kind.path(meta["namespace"], meta["name"])
        return await self._write(
            "patch", kind, "PATCH", path, query={"fieldManager": manager}, body=body, content=_MERGE
        )

    async def annotate(self, obj: Object, values: Mapping[str, str]) -> dict[str, Any]:
        """Adds these annotations to this object."""
        kind, meta = kind_of(obj["apiVersion"], obj["kind"]), obj["metadata"]
        body = {"metadata": {"uid": meta["uid"], "annotations": values}}
        path = kind.path(meta["namespace"], meta["name"])
        query = {"fieldManager": FIELD_MANAGER}
        return await self._write("annotate", kind, "PATCH", path, query=query, body=body, content=_MERGE)

    async def admit(self, pod: Object, gates: Sequence[Mapping[str, str]], values: Mapping[str, str]) -> dict[str, Any]:
        """Removes all scheduling gates of this pod except ``gates``, and adds these annotations."""
        kind, meta = kind_of(pod["apiVersion"], pod["kind"]), pod["metadata"]
        body = {"metadata": {"uid": meta["uid"], "annotations": values}, "spec": {"schedulingGates": list(gates)}}
        path, query = kind.path(meta["namespace"], meta["name"]), {"fieldManager": FIELD_MANAGER}
        return await self._write("admit", kind, "PATCH", path, query=query, body=body, content=_MERGE)

    async def patch_json(self, obj: Object, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Applies a JSON patch (RFC 6902) to one object. Raises RequestRefused if a ``test`` in it fails."""
        kind, meta = kind_of(obj["apiVersion"], obj["kind"]), obj["metadata"]
        path = kind.path(meta["namespace"], meta["name"])
        query = {"fieldManager": FIELD_MANAGER}
        return await self._write("patch", kind, "PATCH", path, query=query, body=operations, content=_JSON_PATCH)

    async def create(self, obj: Object, *, dry_run: bool = False) -> dict[str, Any]:
        """Creates one object, or with ``dry_run`` returns what the API server would create. Raises Conflict if the name
        is in use."""
        kind = kind_of(obj["apiVersion"], obj["kind"])
        path = kind.path(obj["metadata"].get("namespace"))
        query = {"fieldManager": FIELD_MANAGER}
        if dry_run:
            return await self._request("POST", path, query={**query, "dryRun": "All"}, body=obj)
        return await self._write("create", kind, "POST", path, query=query, body=obj)

    async def review(self, kind: Kind, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Status of a review, such as a SubjectAccessReview. Nothing is stored."""
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": spec}
        answer = await self._request("POST", kind.path(), body=body)
        status: dict[str, Any] = answer.get("status") or {}
        return status

    async def delete(
        self, kind: Kind, namespace: str, name: str, uid: str, *, orphan: bool = False, force: bool = False
    ) -> dict[str, Any] | None:
        """Deletes this object and the objects that it owns; with ``orphan`` these stay without an owner. With ``force``
        a pod is deleted without its node's confirmation. Returns None if it is gone, otherwise the terminating object.

        Raises Conflict if another object has the name now.
        """
        body: dict[str, Any] = {
            "preconditions": {"uid": uid},
            "propagationPolicy": "Orphan" if orphan else "Background",
            **({"gracePeriodSeconds": 0} if force else {}),
        }
        try:
            answer = await self._write("delete", kind, "DELETE", kind.path(namespace, name), body=body)
        except NotFound:
            return None
        return answer if answer.get("kind") == kind.kind else None

    async def _write(self, verb: str, kind: Kind, method: str, path: str, **more: Any) -> dict[str, Any]:
        metrics.API_WRITES.labels(kind.kind, verb).inc()
        return await self._request(method, path, **more)

    async def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The object in a successful response. ``options``: as of ``_text``."""
        data = await self._text(method, path, **options)
        try:
            answer: dict[str, Any] = bounded_json.loads(data)
        except bounded_json.Unreadable as error:
            metrics.API_ERRORS.labels(Unreachable.__name__).inc()
            text = f"the response is truncated or not valid JSON ({error})"
            raise Unreachable(text[:200], what=f"{method} {path}") from error
        return answer

    async def _text(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = _JSON,
        accept: str = _JSON,
    ) -> bytes:
        """The body of a successful response."""
        url = f"{self._host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": content}
        limit = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        started, code = time.perf_counter(), "none"
        try:
            response = await self._rest.request(method, url, headers=headers, body=body, _request_timeout=limit)
            data = await _body(response.response, f"{method} {path}")
            code = str(response.status)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            metrics.API_ERRORS.labels(Unreachable.__name__).inc()
            raise Unreachable(f"{type(error).__name__}: {error}", what=f"{method} {path}") from error
        finally:
            metrics.API_REQUESTS.labels(method, code).inc()
            metrics.API_SECONDS.labels(method).observe(time.perf_counter() - started)
        if response.status < 400:
            return data
        try:
            answer: dict[str, Any] = bounded_json.loads(data)
        except bounded_json.Unreadable:
            answer = {"message": data.decode(errors="replace")[:500]}
        failure = _failure(response.status, response.headers, answer, f"{method} {path}")
        if not (method == "GET" and isinstance(failure, NotFound)):
            metrics.API_ERRORS.labels(type(failure).__name__).inc()
        raise failure


async def _body(response: aiohttp.ClientResponse, what: str) -> bytes:
    """The whole response. Raises TooLong without reading the rest."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LONGEST:
            response.close()
            raise TooLong(f"the response is longer than {LONGEST >> 20} MiB", what=what)
    return bytes(body)


def _failure(status: int, headers: Mapping[str, str], answer: Mapping[str, Any], what: str) -> ApiError:
    wait = headers.get("Retry-After") or (answer.get("details") or {}).get("retryAfterSeconds")
    try:
        retry_after = float(wait) if wait else None
    except ValueError:
        retry_after = None
    message = answer.get("message") or f"HTTP status {status}"
    return error_type(status)(message, status=status, what=what, retry_after=retry_after)
