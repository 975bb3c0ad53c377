"""The whole metrics API: its port, its certificates, its trust in the front proxy, and its registration."""

import asyncio
import datetime
import logging
import ssl
from collections.abc import Callable

from aiohttp import web

from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.config.scaling import ScalingSettings
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import ApiError, RequestRefused
from llmservice_operator.controller.clock import utc_now
from llmservice_operator.controller.metrics_api.authentication import Authentication
from llmservice_operator.controller.metrics_api.authorization import Authorization
from llmservice_operator.controller.metrics_api.certificates import Certificates
from llmservice_operator.controller.metrics_api.registration import Registration
from llmservice_operator.controller.metrics_api.request_header import CONFIG_MAP, RequestHeaderConfig, trust_of
from llmservice_operator.controller.metrics_api.server import Server
from llmservice_operator.controller.metrics_api.source import MetricSource
from llmservice_operator.controller.metrics_api.tls import ReloadableTLSContext
from llmservice_operator.resources.kinds import CONFIGMAP

KEEPALIVE_SECONDS = 90.0
"""How long a connection may be idle: longer than the interval of HPAs."""
STOP_SECONDS = 1.0
MAX_HEADERS = 2048
"""Maximum number of headers. Each group of a user is one header."""

logger = logging.getLogger(__name__)


class MetricsAPI:
    """Open from ``start`` to ``stop``. Call ``ensure`` several times a minute."""

    def __init__(
        self,
        cluster: Cluster,
        settings: ScalingSettings,
        namespace: str,
        source: MetricSource,
        now: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        self._cluster = cluster
        self._port = settings.api_port
        self._now = now
        self._certificates = Certificates(f"{settings.api_service}.{namespace}.svc", now())
        self._handshakes = ReloadableTLSContext()
        self._authentication = Authentication(cluster, trusted=self._handshakes.is_current)
        self._handler = Server(self._authentication, Authorization(cluster), source).handle
        self._registration = Registration(cluster, settings, namespace, lambda: self._certificates.bundle)
        self._server: web.Server | None = None
        self._runner: web.ServerRunner | None = None
        self._problem: MetricsUnavailable | None = None

    async def start(self) -> None:
        """Opens the port. Raises OSError if it is in use."""
        self._handshakes.replace(self._certificates.serving, "")
        await self._ensure_trust()
        self._server = web.Server(
            self._handler, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, max_headers=MAX_HEADERS
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._port, ssl_context=self._handshakes.context).start()

    async def ensure(self) -> MetricsUnavailable | None:
        """Renews certificates, reads the trust again, and registers. Returns why HPAs get no metrics, or None."""
        if self._certificates.renew(self._now()):
            await self._replace_trust(self._authentication.trust)
        await self._ensure_trust()
        return await self._registration.ensure() or self._problem

    async def stop(self) -> None:
        """Closes the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _ensure_trust(self) -> None:
        """Reads the CA of the API server's front proxy. If it can't be read, the trust stays as it is."""
        try:
            found = await self._cluster.get(CONFIGMAP, *CONFIG_MAP)
            trust = trust_of((found or {}).get("data") or {})
            if trust != self._authentication.trust:
                await self._replace_trust(trust)
                logger.info("Read the CA of the API server's front proxy from ConfigMap %s/%s", *CONFIG_MAP)
        except RequestRefused as error:
            self._problem = _untrusted(f"may not be read by the operator: {error.message}")
            return
        except ApiError as error:
            logger.warning("Could not read the CA of the API server's front proxy: %s", error)
            return
        except (ValueError, ssl.SSLError) as error:
            self._problem = _untrusted(f"has invalid content: {error}")
            return
        self._problem = None
        if not trust.authority:
            self._problem = _untrusted(
                "has no requestheader-client-ca-file; start the API server with --requestheader-client-ca-file"
            )

    async def _replace_trust(self, trust: RequestHeaderConfig) -> None:
        """Raises ssl.SSLError if the CA can't be read; then everything stays as it is."""
        self._handshakes.replace(self._certificates.serving, trust.authority)
        self._authentication.trust = trust
        if self._server is None:
            return
        # Existing connections are closed: idle ones at once, the others after the current response.
        before = self._server.connections
        self._server.pre_shutdown()
        await asyncio.gather(*(each.shutdown(STOP_SECONDS) for each in before))


def _untrusted(problem: str) -> MetricsUnavailable:
    return MetricsUnavailable(
        metrics_unavailable.ADAPTER_UNAVAILABLE,
        f"The metrics API can't authenticate the API server: ConfigMap {'/'.join(CONFIG_MAP)} {problem}",
    )
