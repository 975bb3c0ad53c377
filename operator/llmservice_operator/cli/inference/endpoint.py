"""The destination of requests to a model: the Service of an LLMService through the API server's proxy, or a URL.

The API server removes the header Authorization from what its proxy passes on, because it holds the user's credentials
for the cluster. So the API key of a service is sent as X-Api-Key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from llmservice_contract.container import HTTP_PORT_NAME
from llmservice_operator import __version__
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure, Uncertain
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import SERVICE

KEY_HEADER = "X-Api-Key"
CONNECT_SECONDS = 5.0
_PIECE_BYTES = 1 << 16


class Lost(Failure):
    """There was no response, or its connection broke."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body is still being read."""

    status: int
    pieces: Iterator[bytes]
    """Its body as it arrives. Iteration raises Lost."""


class Endpoint(Protocol):
    """The destination of requests to a model."""

    def post(self, path: str, body: Mapping[str, Any], seconds: float) -> AbstractContextManager[Response]:
        """Send a request to a path such as /v1/completions; each part of the response has ``seconds`` to arrive. Raises
        Lost or another Failure."""


class ServiceProxy:
    """The Service of an LLMService, through the API server."""

    def __init__(self, cluster: KubernetesClient, namespace: str, service: str, key: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._service = service
        self._name = f"{names.client_service(service)}:{HTTP_PORT_NAME}"
        self._headers = {KEY_HEADER: key} if key else {}

    def post(self, path: str, body: Mapping[str, Any], seconds: float) -> AbstractContextManager[Response]:
        """See Endpoint."""
        return self._post(self.thing(path), body, seconds)

    def thing(self, path: str) -> ObjectRef:
        """A path of the model's API, as a subresource of the Service."""
        return ObjectRef(SERVICE.root, SERVICE.kind, SERVICE.plural, self._namespace, self._name, f"proxy{path}")

    @contextmanager
    def _post(self, thing: ObjectRef, body: Mapping[str, Any], seconds: float) -> Iterator[Response]:
        try:
            response = self._cluster.send(thing, body, self._headers, (CONNECT_SECONDS, seconds))
        except Uncertain:
            raise Lost(
                f"the service {self._service} did not respond within {seconds:.0f} s, or the connection to the API "
                "server broke: try again"
            ) from None
        try:
            yield Response(response.status, _pieces(response))
        finally:
            response.close()


class Url:
    """A server with the model's API at a URL."""

    def __init__(self, url: str, key: str, connections: int) -> None:
        import urllib3

        self._url = url
        self._headers = {"User-Agent": f"kubectl-llm/{__version__}"}
        self._headers |= {"Authorization": f"Bearer {key}"} if key else {}
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False)

    @contextmanager
    def post(self, path: str, body: Mapping[str, Any], seconds: float) -> Iterator[Response]:
        """See Endpoint."""
        import urllib3

        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds)
        try:
            response = self._pool.request(
                "POST",
                f"{self._url}{path}",
                json=body,
                headers=self._headers,
                timeout=timeout,
                preload_content=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Lost(f"{self._url} did not respond ({_reason(error)})") from None
        try:
            yield Response(response.status, _pieces(response))
        finally:
            response.close()


def _pieces(response: Any) -> Iterator[bytes]:
    import urllib3

    try:
        while piece := response.read1(_PIECE_BYTES, decode_content=True):
            yield piece
        response.release_conn()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Lost(f"the connection broke before the response was complete ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", None) or error).split())[:300]
