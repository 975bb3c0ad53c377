"""The runtime's own routes in vLLM's HTTP server: POST /v1/batch, GET /v1/models/{id}, GET /ready, POST /drain. And the
metrics port, and the adapters.

vLLM finds this by the entry point `llmservice` of its group for endpoint plug-ins, and only logs an error if it can't
be loaded. So the launcher checks it before it starts vLLM, and a missing route makes the pod not ready. Only this
module and what it installs (`batch`, `pacing`, `engine_counts`, `engine_probe`, `engine_slots`, `fair_sharing`) touch
vLLM, and only through what vLLM hands over: its app, its app's state, its completion server, its engine client.
"""

# Without `from __future__ import annotations`: FastAPI reads the annotations of routes that are made inside a method.

import asyncio
import os
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any

from prometheus_client import REGISTRY

from llmservice_contract import container
from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AcceleratorType
from llmservice_contract.container import DRAIN_PATH, READY_PATH
from llmservice_runtime.cannot_serve import CannotServe
from llmservice_runtime.gateway import engine_counts, engine_slots, fair_sharing, pacing
from llmservice_runtime.gateway.drain import Drain, drain_of_process
from llmservice_runtime.launcher.command import PLUGIN
from llmservice_runtime.launcher.launcher import say
from llmservice_runtime.launcher.settings import Settings, read_settings
from llmservice_runtime.vllm_plugins import adapters, allocator, gpu, start_times
from llmservice_runtime.vllm_plugins.batch import BatchAnswer, Batches, BatchRequest, Refused, Window
from llmservice_runtime.vllm_plugins.engine_activity import EngineActivity
from llmservice_runtime.vllm_plugins.engine_probe import EngineProbe
from llmservice_runtime.vllm_plugins.engine_watch import EngineWatch
from llmservice_runtime.vllm_plugins.metrics_server import MetricsServer

GROUP = "vllm.endpoint_plugins"
BATCH_PATH = "/v1/batch"
MODEL_PATH = "/v1/models/{name:path}"
"""vLLM has only the list."""
_CLIENT_CLOSED_REQUEST = 499
STEP_SECONDS = 300
"""How long one step of the engine may take if STEP_TIMEOUT_SECONDS is absent. vLLM has the same limit for its workers
(VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS)."""
STEP_SECONDS_ON_CPU = 1800
"""The same on a CPU, which needs minutes for a batch of a large model's prompts."""


class PluginMissing(CannotServe):
    """The image is incomplete; the text says what is missing."""


def check_plugin() -> None:
    """Checks that vLLM can load the plug-in. Raises PluginMissing."""
    found = metadata.entry_points(group=GROUP, name=PLUGIN)
    if not found:
        raise PluginMissing(
            f"The runtime is incomplete: no entry point {PLUGIN} of {GROUP}, so vLLM would serve neither /ready nor "
            "/v1/batch. Put llmservice_operator.dist-info beside llmservice_runtime, or install the package with pip."
        )
    try:
        next(iter(found)).load()()
    except Exception as error:
        raise PluginMissing(f"The runtime's plug-in can't be loaded: {type(error).__name__}: {error}") from error


class Plugin:
    """Implements vLLM's interface of endpoint plug-ins; vLLM creates one for its app."""

    name = PLUGIN
    required_tasks = None

    def __init__(self) -> None:
        self._drain = drain_of_process()
        self._batches: Batches | None = None
        self._probe: EngineProbe | None = None
        self._watching: asyncio.Future[None] | None = None
        self._adapters: adapters.Adapters | None = None
        self._following: asyncio.Future[None] | None = None

    def attach_router(self, app: Any) -> None:
        """Adds the routes. And the limits of connections and of kept memory: vLLM makes its HTTP server after this."""
        from fastapi import Request
        from fastapi.responses import JSONResponse

        from llmservice_runtime.vllm_plugins import connections

        connections.install()
        allocator.return_freed_memory()
        settings = read_settings(os.environ)

        async def batch(asked: BatchRequest, raw: Request) -> Any:
            """Answers to many prompts, in their order."""
            if self._batches is None:
                return JSONResponse(_refusal("This model does not answer prompts with text.", 501), 501)
            try:
                answer = await _unless_client_goes(self._batches.answer(asked, raw), raw)
            except Refused as refused:
                return JSONResponse({"error": refused.error.model_dump()}, refused.error.code)
            if answer is None:
                return JSONResponse(_refusal("The client has gone.", _CLIENT_CLOSED_REQUEST), _CLIENT_CLOSED_REQUEST)
            return JSONResponse(answer.model_dump(exclude_none=True))

        async def model(name: str, raw: Request) -> Any:
            """One of the models that GET /v1/models lists."""
            models = await raw.app.state.openai_serving_models.show_available_models()
            found = next((each for each in models.data if each.id == name), None)
            if found is None:
                return JSONResponse(_no_such_model(), 404)
            return JSONResponse(found.model_dump())

        async def ready(raw: Request) -> Any:
            """Whether this pod should get new requests."""
            reason = await _why_not_ready(self._drain, raw.app.state.engine_client, self._probe)
            if reason is None and self._adapters is not None:
                reason = self._adapters.not_ready
            return JSONResponse({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)

        async def drain() -> Any:
            """Returns when no request is in flight, or after the drain time."""
            lame_duck, seconds = settings.values[rows.LAME_DUCK_SECONDS], settings.values[rows.DRAIN_SECONDS]
            return JSONResponse(await self._drain.drain(lame_duck, seconds))

        app.add_api_route(BATCH_PATH, batch, methods=["POST"], responses={200: {"model": BatchAnswer}})
        app.add_api_route(MODEL_PATH, model, methods=["GET"])
        app.add_api_route(READY_PATH, ready, methods=["GET"])
        app.add_api_route(DRAIN_PATH, drain, methods=["POST"])
        self._settings = settings

    async def init_state(self, engine_client: Any, state: Any, _args: Any) -> None:
        """Takes vLLM's completion server, if the model has one, and opens the metrics port. vLLM has registered its
        own metrics before. Raises OSError if the port is taken."""
        start_times.register(REGISTRY, getattr(state, "vllm_config", None))
        self._follow_adapters(engine_client, state)
        _serve_metrics(self._settings.values[rows.METRICS_PORT_ROW], self._adapters)
        server = getattr(state, "openai_serving_completion", None)
        pacing.install(engine_client, server)
        engine_counts.install(engine_client)
        fair_sharing.install(engine_client)
        engine_slots.install(engine_client)
        self._watch_engine(engine_client)
        if server is not None:
            self._batches = _make_batches(server, state.vllm_config.scheduler_config.max_num_seqs, self._settings)

    def _follow_adapters(self, engine_client: Any, state: Any) -> None:
        if self._settings.values.get(rows.ADAPTERS) is not None and engine_client is not None:
            self._adapters = adapters.make(state, engine_client, self._settings, say)
            self._following = asyncio.ensure_future(self._adapters.run())

    def _watch_engine(self, engine_client: Any) -> None:
        """Restarts a hanging engine, unless STEP_TIMEOUT_SECONDS is 0."""
        seconds = step_timeout(self._settings)
        if not seconds or engine_client is None:
            return
        gpu_is_busy = _gpu_is_busy(self._settings)
        try:
            self._probe = EngineProbe(
                engine_client, lambda pid: EngineWatch(seconds, EngineActivity(gpu_is_busy, pid).read)
            )
        except AttributeError as error:
            say(f"A hang of the engine is not noticed: this vLLM is built in another way ({error}).")
        else:
            self._watching = asyncio.ensure_future(self._probe.run())


def _serve_metrics(port: int, served: adapters.Adapters | None) -> None:
    from prometheus_client import generate_latest
    from vllm.v1.metrics.prometheus import get_prometheus_registry

    registry = get_prometheus_registry()
    pages = {} if served is None else {container.ADAPTERS_PATH: served.report}
    MetricsServer(lambda: generate_latest(registry), pages=pages).start(port)


def _make_batches(server: Any, sequences: int, settings: Settings) -> Batches:
    from fastapi import Request
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    def part(raw: Request, at: int) -> Request:
        given = raw.headers.get("x-request-id")
        headers = [each for each in raw.scope["headers"] if each[0] != b"x-request-id"]
        if given:
            headers.append((b"x-request-id", f"{given}-{at}".encode("latin-1")))
        return Request({**raw.scope, "headers": headers, "state": {}}, raw.receive)

    return Batches(server, CompletionRequest, part, Window(settings.values[rows.BATCH_TIMEOUT] / 1000, sequences))


def step_timeout(settings: Settings) -> int:
    """How long one step of the engine may take, in seconds; 0: for ever."""
    given: int | None = settings.values.get(rows.STEP_TIMEOUT_SECONDS)
    if given is not None:
        return given
    return STEP_SECONDS_ON_CPU if settings.accelerator is AcceleratorType.CPU else STEP_SECONDS


def _gpu_is_busy(settings: Settings) -> Callable[[], bool]:
    if settings.accelerator is AcceleratorType.CPU:
        return lambda: False
    use = gpu.find_gpu_use()
    return (lambda: True) if use is None else use.is_busy


async def _why_not_ready(drain: Drain, engine_client: Any, probe: EngineProbe | None = None) -> str | None:
    if not drain.ready:
        left = "1 request is" if drain.active == 1 else f"{drain.active} requests are"
        return f"The engine received a stop signal; {left} still being answered."
    if engine_client is not None:
        try:
            await engine_client.check_health()
        except Exception as error:
            if probe is not None and probe.hang is not None:
                return probe.not_ready
            return f"The engine is dead: {type(error).__name__}."
    return None if probe is None else probe.not_ready


async def _unless_client_goes(work: Awaitable[BatchAnswer], raw: Any) -> BatchAnswer | None:
    """The result of the work; None if the client disconnects first, which cancels the work."""
    worker = asyncio.ensure_future(work)
    listener = asyncio.ensure_future(_client_goes(raw))
    try:
        await asyncio.wait((worker, listener), return_when=asyncio.FIRST_COMPLETED)
        return await worker if worker.done() else None
    finally:
        for task in (worker, listener):
            task.cancel()


async def _client_goes(raw: Any) -> None:
    """Returns when the client disconnects. The body must have been read before."""
    while (await raw.receive())["type"] != "http.disconnect":
        pass


def _refusal(message: str, code: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": "NotImplementedError", "param": None, "code": code}}


def _no_such_model() -> dict[str, Any]:
    message = "This service serves no model of this name. GET /v1/models lists the names."
    return {"error": {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}
