"""The operator's HTTP endpoints: /healthz and /readyz on one port, /metrics on another."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from llmservice_operator import metrics


class Servers:
    """Both ports, open from ``start`` to ``stop``. ``problem`` returns why the process should be restarted, or an empty
    string."""

    def __init__(self, *, health_port: int, metrics_port: int, problem: Callable[[], str]) -> None:
        self._ports = (health_port, metrics_port)
        self._problem = problem
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Opens the ports. Raises OSError if one is in use."""
        health = web.Application()
        health.router.add_get("/healthz", self._healthz)
        health.router.add_get("/readyz", self._readyz)
        scraped = web.Application()
        scraped.router.add_get("/metrics", self._metrics)
        for port, app in zip(self._ports, (health, scraped), strict=True):
            if port:
                runner = web.AppRunner(app, access_log=None, keepalive_timeout=0, shutdown_timeout=1)
                await runner.setup()
                self._runners.append(runner)
                await web.TCPSite(runner, None, port).start()

    async def stop(self) -> None:
        """Closes the ports."""
        for runner in self._runners:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        problem = self._problem()
        return web.Response(text=f"{problem or 'ok'}\n", status=500 if problem else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})
