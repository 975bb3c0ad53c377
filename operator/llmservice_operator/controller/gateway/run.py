"""Runs the gateway: NGINX, the watches, and what carries changes from these to that."""

import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import socket
from collections.abc import Sequence

from llmservice_operator.config.gateway import GatewaySettings
from llmservice_operator.controller.client.session import Connection, connect
from llmservice_operator.controller.gateway.nginx import Nginx, Refused
from llmservice_operator.controller.gateway.reflector import Reflector
from llmservice_operator.controller.gateway.waker import Waker
from llmservice_operator.gateway.configuration import Configuration
from llmservice_operator.gateway.routes import (
    BatchesAddress,
    ReadyReplica,
    ServedService,
    document,
    hidden_models,
    read_replica,
    read_service,
)
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import LLMSERVICE, POD, SELECTOR

BETWEEN_CHANGES = 0.1
"""Minimum time between two documents, in seconds: a rollout of many pods makes many changes."""
RETRY_SECONDS = 1.0
RESOLVE_SECONDS = 10.0
"""Interval at which the address of files and batches is looked up."""
CERTIFICATE_SECONDS = 5.0
"""Interval at which the certificate is read."""
ENGINES = f"{SELECTOR},{names.COMPONENT_LABEL}={names.ENGINE_COMPONENT}"

logger = logging.getLogger(__name__)


class Routes:
    """Carries services and replicas to NGINX when they change."""

    def __init__(self, connection: Connection, settings: GatewaySettings, nginx: Nginx) -> None:
        self._nginx = nginx
        self._batches: BatchesAddress | None = None
        self._batches_name = settings.gateway_batches
        namespaces = settings.namespaces
        self._changed = asyncio.Event()
        scopes: Sequence[str | None] = namespaces or (None,)
        report = self._changed.set
        read = functools.partial(read_service, node_seconds=settings.gateway_node_provision)
        self.services = [
            Reflector(connection, LLMSERVICE, each, selector="", read=read, on_change=report) for each in scopes
        ]
        self.replicas = [
            Reflector(connection, POD, each, selector=ENGINES, read=read_replica, on_change=report) for each in scopes
        ]
        self._hidden: set[tuple[ServedService, str]] = set()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for services in self.services:
                tasks.create_task(services.run())
            for replicas in self.replicas:
                tasks.create_task(replicas.run())
            tasks.create_task(self._publish())
            if self._batches_name:
                tasks.create_task(self._resolve_batches())

    async def _resolve_batches(self) -> None:
        """Keeps the address of files and batches. A Service has the same one as long as it exists."""
        host, _, port = self._batches_name.rpartition(":")
        while True:
            try:
                found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
            except OSError as error:
                logger.warning("files and batches: %s has no address: %s", host, error)
            else:
                ip = str(found[0][4][0])
                address = BatchesAddress(f"[{ip}]" if ":" in ip else ip, int(port))
                if address != self._batches:
                    self._batches = address
                    self._changed.set()
            await asyncio.sleep(RESOLVE_SECONDS)

    def served(self) -> list[ServedService]:
        """All services."""
        return [found for each in self.services for found in each.values]

    async def _publish(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not all([*(each.listed for each in self.services), *(each.listed for each in self.replicas)]):
                continue
            services = self.served()
            replicas: list[ReadyReplica] = [found for each in self.replicas for found in each.values]
            self._report_hidden(services)
            try:
                await self._nginx.post("/routes", json.dumps(document(services, replicas, self._batches)).encode())
            except (Refused, OSError) as error:
                logger.error("NGINX has not taken the routes, and keeps those of before: %s", error)
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(BETWEEN_CHANGES)

    def _report_hidden(self, services: Sequence[ServedService]) -> None:
        hidden = set(hidden_models(services))
        for service, model in hidden - self._hidden:
            logger.warning(
                "LLMService %s/%s: an older service of its namespace serves the model name %s, too. Requests by "
                "model go there. Change spec.model.servedNames, or use the path /services/%s.",
                service.namespace,
                service.name,
                model,
                service.name,
            )
        self._hidden = hidden


async def run(settings: GatewaySettings) -> int:
    """Runs until SIGTERM, or until NGINX ends. Returns the exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    nginx = Nginx(configuration(settings), settings.gateway_tls_directory)
    try:
        await nginx.start()
    except (Refused, OSError) as error:
        logger.error("NGINX does not start: %s", error)
        return 1
    connection = await connect(streams=2 * max(1, len(settings.namespaces)))
    ended = asyncio.create_task(nginx.wait())
    routes = Routes(connection, settings, nginx)
    work = [
        asyncio.create_task(routes.run()),
        asyncio.create_task(_follow_certificate(nginx)),
    ]
    waking = asyncio.create_task(Waker(connection, nginx, routes.served).run()) if settings.gateway_hold else None
    if waking is not None:
        work.append(waking)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([ended, stopping, *work], return_when=asyncio.FIRST_COMPLETED)
    status = 0
    if not stop.is_set():
        status = 1
        for task in work:
            if task.done() and task.exception() is not None:
                logger.error("the gateway ends", exc_info=task.exception())
    elif not ended.done():
        # Clients and load balancers still send requests for a moment. Replicas still change meanwhile.
        await asyncio.wait([ended], timeout=settings.gateway_drain_delay)
        if waking is not None:
            waking.cancel()
        with contextlib.suppress(Refused, OSError):
            await nginx.post("/stop", b"")  # it gets no more routes, so that requests can't wait for a replica
    nginx.stop()
    done, _ = await asyncio.wait([ended], timeout=settings.gateway_shutdown)
    if not done:
        nginx.kill()
        await ended
    stopping.cancel()
    for task in work:
        task.cancel()
    await connection.session.close()
    return status


def configuration(settings: GatewaySettings) -> Configuration:
    """NGINX's configuration for these settings on this machine."""
    return Configuration(
        directory=settings.gateway_directory,
        namespace=settings.gateway_namespace,
        domain=settings.gateway_domain,
        batches_bytes=settings.gateway_batches_max_file if settings.gateway_batches else 0,
        ipv6=_has_ipv6(),
        port=settings.gateway_port,
        metrics_port=settings.gateway_metrics_port,
        workers=settings.gateway_workers,
        body_bytes=settings.gateway_max_body,
        held_bytes=settings.gateway_held_bodies,
        hold_seconds=settings.gateway_hold,
        hold_requests=settings.gateway_hold_requests,
        client_requests=settings.gateway_client_requests,
        trusted_proxies=settings.gateway_trusted_proxies,
        affinity_megabytes=settings.gateway_affinity,
        read_seconds=settings.gateway_read_timeout,
        shutdown_seconds=settings.gateway_shutdown,
        user="root" if os.geteuid() == 0 else "",
    )


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as opened:
            opened.bind(("::", 0))
    except OSError:
        return False
    return True


async def _follow_certificate(nginx: Nginx) -> None:
    while True:
        await asyncio.sleep(CERTIFICATE_SECONDS)
        try:
            if await nginx.reload():
                logger.info("NGINX serves the new certificate")
            else:
                continue
            valid = b"1"
        except (Refused, OSError) as error:
            logger.error("NGINX refuses the new certificate, and serves the one of before: %s", error)
            valid = b"0"
        try:
            await nginx.post("/configuration", valid)
        except (Refused, OSError) as error:
            logger.error("NGINX does not answer: %s", error)
