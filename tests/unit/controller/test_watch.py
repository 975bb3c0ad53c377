"""What kopf does to the rest of the process when its watches end. A stand-in for the API server answers kopf itself."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from llmservice_operator.controller.informer import watch
from llmservice_operator.controller.informer.store import Cache
from llmservice_operator.resources.kinds import CONFIGMAP, SERVICE

ERROR = {"kind": "Status", "apiVersion": "v1", "code": 500, "reason": "InternalError"}


class ApiServer:
    """An API server without objects. It has Services and ConfigMaps alone."""

    def __init__(self) -> None:
        self.watched = asyncio.Event()
        self.fails = asyncio.Event()
        """Then the watch of Services ends with an error."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A list, a watch that sends nothing, or what the server offers."""
        if request.query.get("watch") == "true":
            response = web.StreamResponse()
            await response.prepare(request)
            self.watched.set()
            await (self.fails if request.path.endswith("services") else asyncio.Event()).wait()
            await response.write(json.dumps({"type": "ERROR", "object": ERROR}).encode() + b"\n")
        verbs = ["list", "watch", "patch"]
        services = {
            "name": "services",
            "singularName": "service",
            "kind": "Service",
            "namespaced": True,
            "verbs": verbs,
        }
        namespaces = {**services, "name": "namespaces", "singularName": "", "kind": "Namespace", "namespaced": False}
        configs = {**services, "name": "configmaps", "singularName": "configmap", "kind": "ConfigMap"}
        known = {
            "/api": {"versions": ["v1"]},
            "/apis": {"groups": []},
            "/api/v1": {"resources": [services, configs, namespaces]},
            "/api/v1/services": {"items": [], "metadata": {"resourceVersion": "1"}},
            "/api/v1/configmaps": {"items": [], "metadata": {"resourceVersion": "1"}},
        }
        found = known.get(request.path)
        return web.json_response(found or {}, status=200 if found else 404)


@contextlib.asynccontextmanager
async def watching(
    server: ApiServer, stop: asyncio.Event
) -> AsyncIterator[tuple["asyncio.Task[None]", aiohttp.ClientSession]]:
    """The watches of Services and ConfigMaps, which have begun, and their session."""
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    watched = [SERVICE, CONFIGMAP]
    try:
        async with aiohttp.ClientSession() as session:
            handlers = watch.registry(
                Cache(2**20, 10),
                lambda _: None,
                watched=watched,
                on_listed=lambda: None,
                server=f"http://127.0.0.1:{runner.addresses[0][1]}",
                session=session,
                on_login=lambda: None,
            )
            streaming = asyncio.create_task(watch.stream(handlers, watched=watched, namespaces=(), stop=stop))
            await asyncio.wait_for(server.watched.wait(), 20)
            yield streaming, session
    finally:
        await runner.cleanup()


def of_kopf() -> list["asyncio.Task[Any]"]:
    """Tasks of kopf that run."""
    return [task for task in asyncio.all_tasks() if "/kopf/" in str(getattr(task.get_coro(), "cr_code", ""))]


async def test_the_end_of_the_watches_ends_no_other_task() -> None:
    server, stop = ApiServer(), asyncio.Event()
    async with watching(server, stop) as (streaming, _):
        assert of_kopf()
        other = asyncio.create_task(asyncio.Event().wait())
        stop.set()
        await asyncio.wait_for(streaming, 20)
        await watch.end(streaming)
        assert not other.done()
        assert not of_kopf()
        other.cancel()


async def test_after_a_failure_all_watches_are_ended_and_no_other_task() -> None:
    """kopf does not always return then."""
    server = ApiServer()
    async with watching(server, asyncio.Event()) as (streaming, session):
        other = asyncio.create_task(asyncio.Event().wait())
        server.fails.set()
        async with asyncio.timeout(20):
            while not (session.closed or streaming.done()):  # noqa: ASYNC110 (a session has no event)
                await asyncio.sleep(0.01)
            await watch.end(streaming)
        assert not other.done()
        assert not of_kopf()
        other.cancel()
