"""Runs files and batches: the API, the worker, and a port for metrics and probes."""

from __future__ import annotations

import asyncio
import logging
import signal
import time

from aiohttp import web
from prometheus_client import generate_latest

from llmservice_operator.batches.api import Api
from llmservice_operator.batches.callers import Callers
from llmservice_operator.batches.credentials import Sealer
from llmservice_operator.batches.disk import Disk
from llmservice_operator.batches.metrics import REGISTRY
from llmservice_operator.batches.sending import line_session
from llmservice_operator.batches.store import Store, StoreInUse
from llmservice_operator.batches.worker import Worker
from llmservice_operator.config.batches import BatchesSettings

CLEAN_SECONDS = 600.0
"""Between two searches for expired files."""
END_SECONDS = 10.0

logger = logging.getLogger(__name__)


async def run(settings: BatchesSettings) -> int:
    """Runs until SIGTERM. Returns the exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        sealer = Sealer(settings.batches_key_file.read_bytes())
    except (OSError, ValueError) as error:
        logger.error("the Secret for API keys, %s, can't be used: %s", settings.batches_key_file, error)
        return 1
    disk = Disk()
    try:
        store = await disk.call(Store, settings.batches_directory)
    except (StoreInUse, OSError) as error:
        logger.error("the directory of files can't be used: %s", error)
        return 1
    async with line_session() as session, line_session() as for_keys:
        worker = Worker(store, disk, sealer, session, settings)
        callers = Callers(for_keys, settings.batches_gateway)
        api = Api(store, disk, worker, callers, sealer, settings).application()
        runners = [web.AppRunner(api, access_log=None, shutdown_timeout=END_SECONDS)]
        runners.append(web.AppRunner(_probes(), access_log=None))
        for runner, port in zip(runners, (settings.batches_port, settings.batches_metrics_port), strict=True):
            await runner.setup()
            await web.TCPSite(runner, None, port, backlog=1024).start()
        work = [asyncio.create_task(worker.run()), asyncio.create_task(_clean(store, disk, settings))]
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *work], return_when=asyncio.FIRST_COMPLETED)
        status = 0 if stop.is_set() else 1
        for task in work:
            if task.done() and not task.cancelled() and task.exception() is not None:
                logger.error("files and batches end", exc_info=task.exception())
            task.cancel()
        stopping.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        for runner in runners:
            await runner.cleanup()
    await disk.call(store.close)
    disk.close()
    return status


def _probes() -> web.Application:
    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": "text/plain; version=0.0.4"})

    made = web.Application()
    made.add_routes([web.get("/livez", fine), web.get("/readyz", fine), web.get("/metrics", metrics)])
    return made


async def _clean(store: Store, disk: Disk, settings: BatchesSettings) -> None:
    while True:
        now = int(time.time())
        try:
            removed = await disk.call(store.delete_expired, now)
            await disk.call(store.delete_batches, now - 86_400 * (settings.batches_file_days + 1))
            if removed:
                logger.info("deleted %d expired files", removed)
        except OSError as error:
            logger.error("expired files can't be deleted: %s", error)
        await asyncio.sleep(CLEAN_SECONDS)
