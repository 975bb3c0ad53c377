"""The engine core is watched, probed and ended, with stand-ins for vLLM's objects."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from llmservice_contract import causes, metrics
from llmservice_runtime.diagnosis import End, diagnose
from llmservice_runtime.diagnosis.output_tail import OutputTail
from llmservice_runtime.gateway.drain import Drain
from llmservice_runtime.vllm_plugins import api_server, engine_probe
from llmservice_runtime.vllm_plugins.engine_probe import AGAIN_SECONDS, EngineProbe, request_maker
from llmservice_runtime.vllm_plugins.engine_watch import (
    NOT_READY_SECONDS,
    PROBE_SECONDS,
    QUIET_SECONDS,
    Activity,
    EngineWatch,
    Hang,
)

STEP = 300.0
CORE_PID = 4242


class DeadError(Exception):
    """As vLLM's EngineDeadError."""


@dataclass
class Outputs:
    """As vLLM's EngineCoreOutputs."""

    engine_index: int = 0
    outputs: list[Any] = field(default_factory=list)
    scheduler_stats: Any = None

    @staticmethod
    def of_a_long_prompt(engine: int = 0) -> Outputs:
        return Outputs(engine, scheduler_stats=SimpleNamespace(num_running_reqs=1))


class Core:
    """As vLLM's client of the engine core."""

    def __init__(self, engines: int = 1) -> None:
        self.outputs_queue: asyncio.Queue[Any] = asyncio.Queue()
        self.engine_ranks_managed = list(range(engines))
        self.core_engines = [rank.to_bytes(2, "little") for rank in range(engines)]
        self.engine_inflight = dict.fromkeys(self.core_engines, 0)
        self.hanging: set[bytes] = set()
        self.added: list[Any] = []
        self.works = True
        processes = [SimpleNamespace(pid=CORE_PID + rank) for rank in range(engines)]
        self.resources = SimpleNamespace(engine_manager=SimpleNamespace(processes=processes))

    async def get_output_async(self) -> Any:
        return await self.outputs_queue.get()

    async def add_request_async(self, request: Any) -> None:
        self.added.append(request)
        if self.works:
            self.outputs_queue.put_nowait(Outputs(request.rank or 0, [request.request_id]))

    async def _call_utility_async(self, method: str, *, engine: bytes) -> bool:
        assert method == "is_sleeping"
        if engine in self.hanging:
            await asyncio.Event().wait()
        return False


class Client:
    """As vLLM's AsyncLLM."""

    dead_error = DeadError()
    errored = False

    def __init__(self, engines: int = 1) -> None:
        self.engine_core = Core(engines)
        self.requests = 0
        self.asleep = False
        self.hangs = asyncio.Event()
        self.model_config = SimpleNamespace(is_encoder_decoder=False)
        self.output_processor = SimpleNamespace(get_num_unfinished_requests=lambda: self.requests)
        self.input_processor = self
        self.healthy = 0

    async def check_health(self) -> None:
        self.healthy += 1

    async def is_sleeping(self) -> bool:
        if self.hangs.is_set():
            await asyncio.Event().wait()
        return self.asleep

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return ("generate",)

    def process_inputs(
        self, name: str, prompt: Any, params: Any, supported_tasks: Any, data_parallel_rank: int | None
    ) -> Any:
        return SimpleNamespace(
            request_id=name, prompt=prompt, params=params, external_req_id=None, rank=data_parallel_rank
        )


async def _receive(client: Client) -> None:
    while True:
        await client.engine_core.get_output_async()


class Watched:
    """A client under watch; a stand-in for vLLM's loop receives what its core sends, and began before the watch."""

    @classmethod
    async def make(cls, **options: Any) -> Watched:
        client = Client(options.pop("engines", 1))
        receiving = asyncio.ensure_future(_receive(client))
        await asyncio.sleep(0)
        return cls(client, receiving, **options)

    def __init__(self, client: Client, receiving: asyncio.Future[None], activity: Activity = Activity.QUIET) -> None:
        self.client, self.receiving = client, receiving
        self.registry = CollectorRegistry()
        self.ended = False
        self.probe = EngineProbe(
            self.client, lambda _pid: EngineWatch(STEP, lambda: activity), self.registry, end_process=self._end
        )

    def _end(self) -> None:
        self.ended = True

    async def pass_seconds(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.probe.tick(1.0)
            for _ in range(10):  # tasks that the tick has started
                await asyncio.sleep(0)

    def sample(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)


@pytest.fixture
def generates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_probe, "_params", lambda _model, _tasks: "one token")


@pytest.fixture
async def watched(generates: None) -> Any:
    made = await Watched.make()
    yield made
    made.receiving.cancel()


async def test_an_idle_engine_generates_a_token_now_and_then_and_stays_ready(watched: Watched) -> None:
    await watched.pass_seconds(10 * PROBE_SECONDS)
    names = [each.request_id for each in watched.client.engine_core.added]
    assert 8 <= len(names) <= 10
    assert len(set(names)) == len(names)
    assert watched.sample(metrics.ENGINE_PROBES) == len(names)
    assert watched.probe.not_ready is None
    assert watched.client.engine_core.added[0].prompt["prompt_token_ids"] == [0]


async def test_a_working_engine_is_never_probed(watched: Watched) -> None:
    watched.client.requests = 5
    for _ in range(100):
        await watched.pass_seconds(3)
        watched.client.engine_core.outputs_queue.put_nowait(Outputs.of_a_long_prompt())
    assert not watched.client.engine_core.added


async def test_a_sleeping_engine_is_asked_and_never_probed(watched: Watched) -> None:
    watched.client.asleep, watched.client.requests = True, 2
    await watched.pass_seconds(2000)
    assert not watched.client.engine_core.added
    assert watched.probe.not_ready is None and watched.probe.hang is None


async def test_requests_that_the_engine_has_lost_are_no_hang(watched: Watched) -> None:
    """The API server waits for them for ever; the engine computes what it gets."""
    watched.client.requests = 2
    await watched.pass_seconds(2000)
    assert watched.client.engine_core.added
    assert watched.probe.not_ready is None and watched.probe.hang is None


async def test_an_engine_core_that_accepts_and_never_answers_is_found(watched: Watched) -> None:
    watched.client.hangs.set()
    await watched.pass_seconds(5 + NOT_READY_SECONDS)
    reason = await api_server._why_not_ready(Drain(), watched.client, watched.probe)
    assert reason is not None and "10 s" in reason
    assert await watched.client.check_health() is None
    assert watched.sample(metrics.ENGINE_STALLED) == NOT_READY_SECONDS
    await watched.pass_seconds(QUIET_SECONDS - NOT_READY_SECONDS)
    assert watched.probe.hang is not None
    with pytest.raises(DeadError):
        await watched.client.check_health()
    reason = await api_server._why_not_ready(Drain(), watched.client, watched.probe)
    assert reason is not None and "30 s" in reason


async def test_an_engine_that_answers_and_generates_nothing_is_found(watched: Watched) -> None:
    """A GPU that is lost: the engine core takes the probe, and its token never comes."""
    watched.client.engine_core.works = False
    watched.client.requests = 2
    await watched.pass_seconds(2 * PROBE_SECONDS - 1)
    assert watched.probe.not_ready is None
    await watched.pass_seconds(PROBE_SECONDS + 10)
    assert watched.probe.not_ready is not None
    assert 1 < len(watched.client.engine_core.added) <= (PROBE_SECONDS + PROBE_SECONDS + 10) / AGAIN_SECONDS + 1
    await watched.pass_seconds(STEP)
    assert watched.probe.hang is not None


async def test_one_of_two_engines_hangs_while_the_other_works(generates: None) -> None:
    made = await Watched.make(engines=2)
    core = made.client.engine_core
    core.hanging = {core.core_engines[1]}
    core.engine_inflight[core.core_engines[0]] = 3
    for _ in range(10):
        await made.pass_seconds(2)
        core.outputs_queue.put_nowait(Outputs.of_a_long_prompt(0))
    assert made.probe.not_ready is not None and made.probe.hang is None
    for _ in range(10):
        await made.pass_seconds(2)
        core.outputs_queue.put_nowait(Outputs.of_a_long_prompt(0))
    assert made.probe.hang is not None
    made.receiving.cancel()


async def test_each_of_two_idle_engines_is_probed(generates: None) -> None:
    made = await Watched.make(engines=2)
    await made.pass_seconds(4 * PROBE_SECONDS)
    ranks = [each.rank for each in made.client.engine_core.added]
    assert ranks.count(0) == ranks.count(1) >= 3
    assert made.probe.not_ready is None
    made.receiving.cancel()


async def test_a_lost_probe_is_sent_again(watched: Watched) -> None:
    watched.client.engine_core.works = False
    await watched.pass_seconds(PROBE_SECONDS + 5)
    watched.client.engine_core.works = True
    await watched.pass_seconds(AGAIN_SECONDS)
    assert watched.sample(metrics.ENGINE_STALLED) < AGAIN_SECONDS
    assert watched.probe.not_ready is None


async def test_a_model_that_takes_no_prompt_of_one_token_is_asked_only() -> None:
    made = await Watched.make()
    made.client.model_config.is_encoder_decoder = True
    await made.pass_seconds(1000)
    made.receiving.cancel()
    assert not made.client.engine_core.added
    assert made.probe.not_ready is None


async def test_a_request_that_vllm_refuses_is_not_tried_again(generates: None) -> None:
    client = Client()

    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("no")

    client.process_inputs = refuse  # type: ignore[method-assign]
    assert await request_maker(client) is None


def test_another_vllm_is_not_watched() -> None:
    with pytest.raises(AttributeError):
        EngineProbe(SimpleNamespace(engine_core=SimpleNamespace()), lambda _: EngineWatch(STEP, lambda: Activity.BUSY))


async def test_a_hanging_engine_is_killed_and_the_launcher_reports_why(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: killed.append((pid, number)))
    monkeypatch.setattr(engine_probe, "EXIT_SECONDS", 0)
    monkeypatch.setattr(engine_probe, "TICK_SECONDS", 0)
    seconds = iter(range(1000))
    monkeypatch.setattr(watched.probe, "_now", lambda: float(next(seconds)))
    watched.client.requests = 3
    watched.client.hangs.set()
    await watched.probe.run()
    assert killed == [(CORE_PID, signal.SIGKILL)]
    assert watched.ended
    reported = diagnosis_of(capfd.readouterr().err)
    assert (reported.finding.reason, reported.exit_code) == ("EngineHung", causes.ENGINE_HUNG.exit_code)
    assert reported.finding.numbers == {"seconds": "30", "limitSeconds": "30", "requests": "3"}
    assert Activity.QUIET.value in reported.finding.message


def diagnosis_of(output: str) -> Any:
    """What the launcher makes of this output and of what vLLM writes when its core is killed."""
    tail = OutputTail()
    after = "ERROR 11-30 18:00:00 [core_client.py:1] Engine core proc EngineCore died unexpectedly, shutting down.\n"
    tail.feed(1, f"Application startup complete.\n{output}{after}".encode())
    return diagnose(End(1, tail.lines, tail.served), {})


@pytest.mark.parametrize("activity", Activity)
def test_every_hang_is_read_from_the_log(activity: Activity) -> None:
    hang = Hang(301.4, 1, 300.0, activity.value)
    found = diagnosis_of(f"(APIServer pid=7) llmservice: {engine_probe.MARK}{hang}. And more.\n")
    assert found.finding.reason == "EngineHung"
    assert found.finding.field == ("spec.engine.stepTimeoutSeconds" if activity is Activity.BUSY else "")


async def test_a_failing_watch_says_so(watched: Watched, capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise RuntimeError("gone")

    watched.client.output_processor.get_num_unfinished_requests = fail
    watched.probe._requests = fail
    await watched.probe.run()
    assert "gone" in capfd.readouterr().err
