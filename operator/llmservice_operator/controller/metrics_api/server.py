"""The HTTP handler of the metrics API: paths and their responses.

Paths are compared as they were sent, without decoding or normalization; any other path is not found. Everything except
health needs a user, and every resource needs the permission to read it.
"""

import functools
import logging
import re
from urllib.parse import parse_qsl

from aiohttp import web

from llmservice_operator import metrics
from llmservice_operator.autoscaling.external_metrics import API_GROUP
from llmservice_operator.controller.client.errors import ApiError
from llmservice_operator.controller.client.single_flight import Busy
from llmservice_operator.controller.metrics_api import documents, selectors
from llmservice_operator.controller.metrics_api.authentication import Authentication
from llmservice_operator.controller.metrics_api.authorization import Authorization, Metric, Path
from llmservice_operator.controller.metrics_api.documents import StatusError
from llmservice_operator.controller.metrics_api.source import MetricSource, Unavailable

ROOT = f"/apis/{documents.GROUP_VERSION}"
HEALTH = frozenset({"/healthz", "/livez", "/readyz"})

_METRIC = re.compile(
    re.escape(ROOT)
    + r"/namespaces/(?P<namespace>[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/(?P<name>[A-Za-z0-9_:.-]{1,253})"
)
_DOCUMENTS = {
    "/apis": documents.GROUPS,
    f"/apis/{API_GROUP}": documents.GROUP,
    "/openapi/v2": documents.OPENAPI_2,
    "/openapi/v3": documents.OPENAPI_3,
}
_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-cache, private", "Server": "llmservice-operator"}

logger = logging.getLogger(__name__)


class Server:
    """Handles the requests of all connections."""

    def __init__(self, authentication: Authentication, authorization: Authorization, source: MetricSource) -> None:
        self._authentication = authentication
        self._authorization = authorization
        self._source = source

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """The response to one request, including errors."""
        try:
            return _answer(await self._body(request))
        except StatusError as refusal:
            found = refusal
        except Busy:
            found = StatusError(429, "too many users or permissions are being looked up: try again")
        except ApiError as error:
            logger.warning("Could not check the permissions of a metrics client: %s", error)
            found = StatusError(503, f"could not check the permissions with the API server: {error.message}")
        except Exception:
            logger.exception("Internal error of the metrics API")
            found = StatusError(500, "the operator's metrics API failed: see the operator's log")
        return _answer(found.body, found.code)

    async def _body(self, request: web.BaseRequest) -> bytes:
        path, _, query = request.raw_path.partition("?")
        if path in HEALTH and request.method == "GET":
            return b'"ok"'
        user = await self._authentication.user(request)
        if request.method != "GET":
            raise StatusError(405, f"{request.method} is not allowed: external metrics are read-only")
        metric = _METRIC.fullmatch(path)
        if metric:
            asked = Metric(metric["namespace"], metric["name"])
            await self._authorization.check(user, asked)
            return self._values(asked, query)
        document = self._document(path)
        await self._authorization.check(user, Path(path))
        return document

    def _document(self, path: str) -> bytes:
        if path == ROOT:
            return documents.resources(tuple(self._source.names()))
        try:
            return _DOCUMENTS[path]
        except KeyError:
            raise StatusError(404, "the server could not find the requested resource") from None

    def _values(self, asked: Metric, query: str) -> bytes:
        selector = _selector(query)
        try:
            return documents.values(self._source.samples(asked.namespace, asked.name, selector))
        except KeyError:
            known = ", ".join(self._source.names())
            raise StatusError(404, f"there is no external metric {asked.name}: LLMService has {known}") from None
        except Unavailable as error:
            raise StatusError(503, str(error)) from error


@functools.lru_cache(maxsize=4096)
def _selector(query: str) -> selectors.Selector:
    """The label selector in a query. Raises StatusError."""
    parameters = parse_qsl(query, keep_blank_values=True)
    if any(name == "watch" and value not in ("", "0", "false") for name, value in parameters):
        raise StatusError(405, "external metrics can't be watched")
    wanted = [value for name, value in parameters if name == "labelSelector"]
    if len(wanted) > 1:
        raise StatusError(400, "there is more than one labelSelector")
    try:
        return selectors.parse(wanted[0] if wanted else "")
    except selectors.SelectorError as error:
        raise StatusError(400, str(error)) from error


def _answer(body: bytes, code: int = 200) -> web.Response:
    metrics.METRICS_API_REQUESTS.labels(str(code)).inc()
    return web.Response(body=body, status=code, headers=_HEADERS)
