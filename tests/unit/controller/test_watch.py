"""What kopf does to the rest of the process when its watches end. A stand-in for the API server answers kopf itself."""

import asyncio

import aiohttp
from aiohttp import web

from llmservice_operator.controller.informer import watch
from llmservice_operator.controller.informer.store import Cache
from llmservice_operator.resources.kinds import SERVICE


class ApiServer:
    """An API server without objects. It has Services alone."""

    def __init__(self) -> None:
        self.watched = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A list, a watch that sends nothing, or what the server offers."""
        if request.query.get("watch") == "true":
            response = web.StreamResponse()
            await response.prepare(request)
            self.watched.set()
            await asyncio.Event().wait()
        verbs = ["list", "watch", "patch"]
        services = {
            "name": "services",
            "singularName": "service",
            "kind": "Service",
            "namespaced": True,
            "verbs": verbs,
        }
        namespaces = {**services, "name": "namespaces", "singularName": "", "kind": "Namespace", "namespaced": False}
        known = {
            "/api": {"versions": ["v1"]},
            "/apis": {"groups": []},
            "/api/v1": {"resources": [services, namespaces]},
            "/api/v1/services": {"items": [], "metadata": {"resourceVersion": "1"}},
        }
        found = known.get(request.path)
        return web.json_response(found or {}, status=200 if found else 404)


async def test_the_end_of_the_watches_cancels_no_other_task() -> None:
    server = ApiServer()
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stop = asyncio.Event()
    try:
        async with aiohttp.ClientSession() as session:
            handlers = watch.registry(
                Cache(2**20, 10),
                lambda _: None,
                watched=[SERVICE],
                on_listed=lambda: None,
                server=f"http://127.0.0.1:{runner.addresses[0][1]}",
                session=session,
                on_login=lambda: None,
            )
            streaming = asyncio.create_task(watch.stream(handlers, watched=[SERVICE], namespaces=(), stop=stop))
            await asyncio.wait_for(server.watched.wait(), 20)
            other = asyncio.create_task(asyncio.Event().wait())
            stop.set()
            await asyncio.wait_for(streaming, 20)
            assert not other.done()
            other.cancel()
            assert asyncio.all_tasks() - {asyncio.current_task(), other} == {
                task for task in asyncio.all_tasks() if "aiohttp.web" in repr(task.get_coro())
            }
    finally:
        await runner.cleanup()
