"""Client of the API server with the user's credentials: objects are plain mappings, and every error is a Failure.

Requests are not retried and have a time limit, so that each failure is reported once and soon.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmservice_operator import __version__
from llmservice_operator.cli.api_errors import failure_of
from llmservice_operator.cli.failure import Failure, TooLong, Uncertain
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.cli.reading import MOST_BYTES, document

if TYPE_CHECKING:
    import urllib3
    from kubernetes import client


FIELD_MANAGER = "kubectl-llm"
_PAGES = (500, 50, 5, 1)
"""Page sizes of a list: smaller ones are used if the response is too long."""
_SECONDS = (5.0, 30.0)
"""Timeouts to connect, and to read more of a response."""
_WHOLE_SECONDS = 60.0
_PART_BYTES = 1 << 20


class KubernetesClient:
    """One API server and the way to it."""

    def __init__(self, configuration: client.Configuration) -> None:
        from kubernetes import client

        configuration.retries = False
        self._api = client.ApiClient(configuration)

    def get(self, thing: ObjectRef) -> dict[str, Any]:
        """The object as it is now. Raises Failure."""
        return self._request("get", thing, "GET", thing.path)

    def text(self, thing: ObjectRef, query: str = "") -> str:
        """The content of the object's subresource, as text. Raises Failure."""
        path = f"{thing.path}?{query}" if query else thing.path
        status, text = self._exchange("get", thing, "GET", path, None)
        if 200 <= status < 300:
            return text.decode(errors="replace")
        answer = document(text)
        if answer is None or answer.get("kind") != "Status":
            raise Failure(f"the {thing} responded with status {status}: {_clipped(text)}")
        raise failure_of("get", thing, status, answer)

    def list(
        self, api: str, kind: str, plural: str, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """All objects of a kind in one namespace or in all that match these selectors. Raises Failure."""
        everywhere = ObjectRef(api, kind, plural, namespace or "", "")
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        chosen = "".join(f"&{name}={quote(text, safe='')}" for name, text in selectors.items() if text)
        path = everywhere.collection
        found: list[dict[str, Any]] = []
        rest = ""
        while True:
            answer = self._page(everywhere, path, chosen + rest)
            found += answer.get("items") or []
            token = (answer.get("metadata") or {}).get("continue")
            if not token:
                return found
            rest = f"&continue={quote(token, safe='')}"

    def _page(self, everywhere: ObjectRef, path: str, rest: str) -> dict[str, Any]:
        for size in _PAGES[:-1]:
            try:
                return self._request("list", everywhere, "GET", f"{path}?limit={size}{rest}")
            except TooLong:
                continue
        return self._request("list", everywhere, "GET", f"{path}?limit={_PAGES[-1]}{rest}")

    def create(self, thing: ObjectRef, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create the object. Raises Clash if it exists already, or another Failure."""
        return self._request("create", thing, "POST", f"{thing.collection}?fieldManager={FIELD_MANAGER}", body)

    def merge(self, thing: ObjectRef, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Merge the patch (RFC 7386); returns the new object. Raises Missing, Clash or another Failure."""
        return self._request("patch", thing, "PATCH", f"{thing.path}?fieldManager={FIELD_MANAGER}", patch)

    def read(self, path: str, what: str) -> dict[str, Any]:
        """A document of the API server itself, such as its version. Raises Failure."""
        return self._request("get", ObjectRef("", what, what, "", ""), "GET", path)

    def try_out(
        self, verb: str, thing: ObjectRef, path: str, body: Mapping[str, Any], content: str
    ) -> tuple[int, dict[str, Any]]:
        """Send a dry run (``path`` must have ``dryRun=All``); returns the status and the response, whatever it is.
        Raises Failure if there is no response."""
        method = "POST" if verb == "create" else "PATCH"
        status, text = self._exchange(verb, thing, method, path, body, content)
        return status, document(text) or {"message": _clipped(text)}

    def send(
        self, thing: ObjectRef, body: Mapping[str, Any], headers: Mapping[str, str], seconds: tuple[float, float]
    ) -> urllib3.BaseHTTPResponse:
        """POST to the object's subresource, such as a proxy; returns the response, whatever its status, before its body
        is read. ``seconds``: to connect, and for each part of the response. Raises Failure.

        The body goes in chunks. With a Content-Length, proxies in Go, as the API server is one, look once more for the
        end of the body, and break the connection if the response has begun before (golang/go#40747).
        """
        sent = {"Accept": "text/event-stream, application/json", "Transfer-Encoding": "chunked", **headers}
        response: urllib3.BaseHTTPResponse = self._open(
            "create", thing, "POST", thing.path, body, "application/json", sent, seconds
        )
        return response

    def _request(
        self, verb: str, thing: ObjectRef, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        status, text = self._exchange(verb, thing, method, path, body)
        answer = document(text)
        if 200 <= status < 300 and answer is not None:
            return answer
        raise failure_of(verb, thing, status, answer or {"message": _clipped(text)})

    def _exchange(
        self, verb: str, thing: ObjectRef, method: str, path: str, body: Mapping[str, Any] | None, content: str = ""
    ) -> tuple[int, bytes]:
        import urllib3

        content = content or ("application/merge-patch+json" if method == "PATCH" else "application/json")
        response = self._open(verb, thing, method, path, body, content, {"Accept": "application/json"}, _SECONDS)
        try:
            text = _read(response)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._broken(verb, thing, method, error) from None
        if text is None:
            raise TooLong(
                f"the response to `{verb}` of the {thing} is larger than {MOST_BYTES >> 20} MiB, or takes longer than "
                f"{_WHOLE_SECONDS:g} s: choose one namespace or one object"
            )
        return response.status, text

    def _open(
        self,
        verb: str,
        thing: ObjectRef,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        content: str,
        headers: Mapping[str, str],
        seconds: tuple[float, float],
    ) -> Any:
        """Send a request; returns urllib3's response before its body is read."""
        import urllib3
        from kubernetes.client.exceptions import ApiException

        sent = {"Content-Type": content, "User-Agent": f"kubectl-llm/{__version__}", **headers}
        self._api.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        try:
            return self._api.call_api(method, f"{self._host}{path}", sent, body, _request_timeout=seconds).response
        except (ApiException, urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise Failure(
                f"the cluster at {self._host} can't be reached ({_reason(error)}): check that it is running and that "
                "it is the cluster that you mean; --context and --kubeconfig choose another"
            ) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._broken(verb, thing, method, error) from None

    @property
    def _host(self) -> str:
        return str(self._api.configuration.host).rstrip("/")

    def _broken(self, verb: str, thing: ObjectRef, method: str, error: Exception) -> Failure:
        """The failure of a request without a complete response."""
        said = f"the cluster at {self._host} did not respond to `{verb}` of the {thing} ({_reason(error)})"
        if method == "GET":
            return Failure(f"{said}: try again")
        return Uncertain(f"{said}: it may have been done nevertheless")


def _read(response: urllib3.BaseHTTPResponse) -> bytes | None:
    """The whole response; None if it has too many bytes or takes too long: a pod sets the pace of its own response."""
    deadline, found, size = time.monotonic() + _WHOLE_SECONDS, [], 0
    while part := response.read1(_PART_BYTES, decode_content=True):
        found.append(part)
        size += len(part)
        if size > MOST_BYTES or time.monotonic() > deadline:
            response.close()
            return None
    response.release_conn()
    return b"".join(found)


def _reason(error: Exception) -> str:
    return _clipped(str(getattr(error, "reason", None) or error).encode())


def _clipped(text: bytes) -> str:
    return " ".join(text.decode(errors="replace").split())[:300]
