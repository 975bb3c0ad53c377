"""Watches vLLM's engine core from the API server's process, and ends it if it hangs (engine_watch decides).

What arrives from the engine core is noted where vLLM queues it: `AsyncMPClient` puts each message into its
`outputs_queue` (vllm/v1/engine/core_client.py of vLLM 0.32). A probe goes to the engine core directly, beside vLLM's
table of requests: no limit, log, usage or latency counts it, and no client can send one. An encoder-decoder model, or
one for which the probe's request is not valid, is only asked whether it sleeps. A vLLM that is built in another way is
not watched, and one log line says so.

A hanging engine core is killed, so that vLLM answers the waiting requests with an error and exits as for any other
death of it. The log line with `MARK` is the cause that the launcher reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from llmservice_contract import metrics
from llmservice_runtime.launcher.launcher import say
from llmservice_runtime.vllm_plugins.engine_watch import TICK_SECONDS, EngineWatch, Hang

MARK = "the engine hangs: "
"""Begins the sentence from which the cause EngineHung is read."""
EXIT_SECONDS = 10.0
"""How long vLLM may take to exit after its engine core was killed."""
AGAIN_SECONDS = 10.0
"""After a probe without an answer, until the next one."""
PROBE_TOKEN = 0
"""The prompt of a probe: the first token of the vocabulary."""


class _Engine:
    """One engine core: with data parallelism there are several, each with its own requests and probes."""

    def __init__(self, rank: int, name: bytes, watch: EngineWatch) -> None:
        self.rank = rank
        self.name = name
        """As vLLM addresses it."""
        self.watch = watch
        self.question: asyncio.Task[None] | None = None
        self.open_probe = ""
        """The name of the last probe, which has not been answered."""
        self.until_next_probe = 0.0
        """Seconds until another one is sent, if this one is lost."""

    @property
    def is_asked(self) -> bool:
        """Whether a question to it is open."""
        return self.question is not None and not self.question.done()


class EngineProbe:
    """Watches the engine cores of one engine client. Create it in the event loop that serves HTTP."""

    def __init__(
        self,
        client: Any,
        make_watch: Callable[[int | None], EngineWatch],
        registry: CollectorRegistry = REGISTRY,
        end_process: Callable[[], None] = lambda: os._exit(1),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`make_watch` makes the watch of an engine core from its pid, which may be unknown. Raises AttributeError if
        the client is built in another way."""
        self._client = client
        self._core = client.engine_core
        self._put: Callable[[Any], None] = self._core.outputs_queue.put_nowait
        self._check_health: Callable[[], Awaitable[None]] = client.check_health
        self._sleeps: Callable[[], Awaitable[bool]] = client.is_sleeping
        self._requests: Callable[[], int] = client.output_processor.get_num_unfinished_requests
        ranks, names, pids = self._core.engine_ranks_managed, self._core.core_engines, _core_pids(self._core)
        known: list[int | None] = [*pids] if len(pids) == len(ranks) else [None for _ in ranks]
        self._engines = {
            rank: _Engine(rank, name, make_watch(pid)) for rank, name, pid in zip(ranks, names, known, strict=True)
        }
        self._call = self._core._call_utility_async if len(self._engines) > 1 else None
        self._end_process = end_process
        self._now = now
        self._sent = 0
        self._make_request: Callable[[str, int | None], Any] | None = None
        self._can_generate = True
        self._was_ready = True
        self.hang: Hang | None = None
        self._probes = Counter(metrics.ENGINE_PROBES, "Tokens that an idle engine had to generate.", registry=registry)
        stalled = Gauge(
            metrics.ENGINE_STALLED,
            "Seconds for which the engine has not answered, or computed nothing, while requests or a probe waited.",
            registry=registry,
        )
        stalled.set_function(lambda: max(each.watch.stalled_seconds for each in self._engines.values()))
        self._core.outputs_queue.put_nowait = self._received
        client.check_health = self._healthy

    @property
    def not_ready(self) -> str | None:
        """Why this replica should get no new requests."""
        found = self.hang or next(filter(None, (each.watch.not_ready for each in self._engines.values())), None)
        return None if found is None else f"The engine does not answer: {found}."

    async def run(self) -> None:
        """Watches until the engine is dead or hangs."""
        try:
            await self._run()
        except Exception as error:
            say(f"A hang of the engine is not noticed any more ({type(error).__name__}: {error}).")

    async def _run(self) -> None:
        last = self._now()
        while not self._client.errored:
            await asyncio.sleep(TICK_SECONDS)
            now = self._now()
            self.tick(now - last)
            last = now
            if self.hang is not None:
                await self._end()
                return

    def tick(self, seconds: float) -> None:
        """One step of `run`, so many seconds after the last one."""
        for engine in self._engines.values():
            engine.watch.tick(seconds, self._requests_of(engine), bool(engine.open_probe) or engine.is_asked)
            engine.until_next_probe -= seconds
            self.hang = self.hang or engine.watch.hang
            if engine.watch.asks and not engine.is_asked:
                engine.question = asyncio.ensure_future(self._ask(engine))
        self._log_readiness()

    def _requests_of(self, engine: _Engine) -> int:
        if self._call is None:
            return self._requests()
        # Of several engines vLLM counts it; if not, their answers to questions have to do.
        return int(getattr(self._core, "engine_inflight", {}).get(engine.name, 0))

    async def _ask(self, engine: _Engine) -> None:
        """Asks the engine core whether it sleeps; one that does not has to generate a token if it is due."""
        with contextlib.suppress(Exception):  # the engine is dead, which vLLM itself handles
            sleeps = await (self._sleeps() if self._call is None else self._call("is_sleeping", engine=engine.name))
            engine.watch.answered()
            if sleeps:
                engine.open_probe = ""
                engine.watch.stepped()
            elif engine.watch.probes and (not engine.open_probe or engine.until_next_probe <= 0):
                await self._probe(engine)

    async def _probe(self, engine: _Engine) -> None:
        if self._make_request is None and self._can_generate:
            self._make_request = await request_maker(self._client)
            self._can_generate = self._make_request is not None
        if self._make_request is None:
            # Nothing can be generated: the answer has to do.
            engine.watch.stepped()
            return
        self._sent += 1
        name = f"llmservice-probe-{self._sent}"
        request = self._make_request(name, None if self._call is None else engine.rank)
        engine.open_probe, engine.until_next_probe = name, AGAIN_SECONDS
        self._probes.inc()
        await self._core.add_request_async(request)

    def _received(self, outputs: Any) -> None:
        self._put(outputs)
        engine = self._engines.get(getattr(outputs, "engine_index", -1))
        if engine is not None and _is_step(outputs):
            # An engine that computes something needs no answered probe.
            engine.open_probe = ""
            engine.watch.stepped()
        elif engine is not None:
            engine.watch.answered()

    async def _healthy(self) -> None:
        if self.hang is not None:
            raise self._client.dead_error
        await self._check_health()

    def _log_readiness(self) -> None:
        reason = self.not_ready
        if (reason is None) is not self._was_ready:
            self._was_ready = reason is None
            say(reason or "The engine answers again.")

    async def _end(self) -> None:
        say(f"{MARK}{self.hang}. The engine core is killed, so that the container restarts.")
        for pid in _core_pids(self._core):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(EXIT_SECONDS)
        sys.stderr.flush()
        self._end_process()


def _is_step(outputs: Any) -> bool:
    """Whether these EngineCoreOutputs show that the engine computes."""
    return bool(getattr(outputs, "outputs", None)) or (
        getattr(getattr(outputs, "scheduler_stats", None), "num_running_reqs", 0) > 0
    )


def _core_pids(core: Any) -> list[int]:
    """The processes of the engine cores, in the order of their ranks. Their workers end with them."""
    processes = getattr(getattr(getattr(core, "resources", None), "engine_manager", None), "processes", ())
    return [each.pid for each in processes if each.pid]


async def request_maker(client: Any) -> Callable[[str, int | None], Any] | None:
    """Makes requests of one token, by their names, for one of several engines by its rank. None if the model takes no
    such request."""
    try:
        if client.model_config.is_encoder_decoder:
            return None
        tasks = await client.get_supported_tasks()
        params = _params(client.model_config, tasks)
        if params is None:
            return None
        prompt = {"type": "token", "prompt_token_ids": [PROBE_TOKEN]}

        def make(name: str, rank: int | None) -> Any:
            request = client.input_processor.process_inputs(
                name, prompt, params, supported_tasks=tasks, data_parallel_rank=rank
            )
            request.external_req_id = name
            return request

        make("llmservice-probe", None)
    except Exception as error:
        say(f"No token is generated to probe an idle engine ({type(error).__name__}: {error}).")
        return None
    return make


def _params(model_config: Any, tasks: Any) -> Any:
    from vllm import PoolingParams, SamplingParams

    if "generate" in tasks:
        return SamplingParams(temperature=0.0, max_tokens=1, detokenize=False, skip_reading_prefix_cache=True)
    task = model_config.get_pooling_task(tasks)
    return PoolingParams(task=task, skip_reading_prefix_cache=True) if task in ("embed", "classify") else None
