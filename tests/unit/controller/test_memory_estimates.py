"""Memory estimates outside the event loop: one that hangs delays no other, and is not retried."""

import asyncio
import dataclasses
import sys

import pytest

from llmservice_contract.configuration import packed
from llmservice_operator.controller.memory_estimates import (
    MOST_WAITING,
    REMEMBERED,
    Estimates,
    EstimatorProcess,
    NoAnswer,
    NotStarted,
)
from llmservice_operator.gpu_memory.gpus import KNOWN
from llmservice_operator.gpu_memory.ledger import Reason, Verdict
from llmservice_operator.gpu_memory.request import Request
from llmservice_operator.planner.model.fit_estimate import Question, estimated, without_answer
from llmservice_operator.planner.model.observed import Input, Observed
from llmservice_operator.planner.model.plan import Plan
from support.answering import Answering
from support.small_models import MODELS
from unit.controller.conftest import KEY, Shell, condition

SMALL = packed(MODELS["llama"]) or ""
OTHER = ("team-b", "chat")


def asking(context: int = 1024, gpus: int = 1) -> Question:
    return Question(SMALL, tuple(Request({}, gpu, max_context=context) for gpu in KNOWN[:gpus]))


@pytest.fixture
async def running():
    """Running estimates, the fake estimator, and the services that are reconciled after a late answer."""
    answering, reported = Answering(), []
    estimates = Estimates(answering, reported.append)
    task = asyncio.create_task(estimates.run())
    yield estimates, answering, reported
    task.cancel()


async def _until(holds) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - there is no event of it
            await asyncio.sleep(0.001)


async def test_an_answer_is_remembered_for_the_service_and_for_its_equals(running):
    estimates, answering, reported = running
    assert estimates.last(KEY) is None
    assert await estimates.of(KEY, asking()) == estimated(asking())
    assert await estimates.of(KEY, asking()) == estimates.last(KEY)
    assert await estimates.of(OTHER, asking()) == estimates.last(KEY)
    assert answering.asked == [asking()]
    assert reported == []


@pytest.mark.looptime
async def test_no_answer_is_unknown_once_and_others_are_not_held_up(running):
    estimates, answering, reported = running
    slow = answering.hanging[asking(2048)] = asyncio.Event()
    assert await estimates.of(KEY, asking(2048)) is None
    late = asyncio.create_task(estimates.of(OTHER, asking()))
    await asyncio.sleep(0)
    slow.set()
    assert (await late).fits[0].verdict is Verdict.FITS
    assert reported == [KEY]
    found = await estimates.of(KEY, asking(2048))
    assert (found.fits[0].verdict, found.fits[0].reason) == (Verdict.UNKNOWN, Reason.ESTIMATE_FAILED)
    assert "5 s" in found.fits[0].message
    for _ in range(3):
        assert await estimates.of(KEY, asking(2048)) is found
    assert answering.asked == [asking(2048), asking()]
    assert (await estimates.of(KEY, asking(4096))).fits[0].verdict is Verdict.FITS


@pytest.mark.looptime
async def test_no_answer_is_kept_however_many_others_come(running):
    estimates, answering, _ = running
    answering.failing = [NoAnswer("failed with TypeError")]
    found = await estimates.of(KEY, asking(2048))
    for context in range(REMEMBERED + 10):
        await estimates.of(OTHER, asking(10_000 + context))
    assert await estimates.of(KEY, asking(2048)) is found
    assert answering.asked.count(asking(2048)) == 1


@pytest.mark.looptime
async def test_few_wait_at_a_time_and_only_for_a_moment(running):
    estimates, answering, reported = running
    first = answering.hanging[asking(2048)] = asyncio.Event()
    keys = [("team-a", f"chat-{number}") for number in range(MOST_WAITING + 3)]
    waiting = [asyncio.create_task(estimates.of(key, asking(2048))) for key in keys]
    await asyncio.sleep(0.001)
    assert sum(task.done() for task in waiting) == 3
    assert await asyncio.gather(*waiting) == [None] * len(keys)
    first.set()
    await _until(lambda: len(reported) == len(keys))
    assert answering.asked == [asking(2048)]


@pytest.mark.looptime
async def test_namespaces_take_turns(running):
    estimates, answering, reported = running
    first = answering.hanging[asking(2048)] = asyncio.Event()
    keys = [("team-a", "hangs"), *(("team-a", f"chat-{number}") for number in range(5)), OTHER]
    questions = [asking(2048), *(asking(3000 + number) for number in range(6))]
    await asyncio.gather(*map(estimates.of, keys, questions))
    first.set()
    await _until(lambda: len(reported) == len(keys))
    assert reported.index(OTHER) <= 2


@pytest.mark.looptime
async def test_a_namespace_whose_answers_take_long_comes_after_the_others(running):
    estimates, answering, reported = running
    slow = {asking(3000 + number): asyncio.Event() for number in range(6)}
    answering.hanging |= slow
    for number, done in enumerate(slow.values()):
        asyncio.get_running_loop().call_later(1 + number, done.set)
    await asyncio.gather(*(estimates.of(("team-a", f"slow-{number}"), each) for number, each in enumerate(slow)))
    others = [(OTHER[0], f"quick-{number}") for number in range(5)]
    await asyncio.gather(*(estimates.of(key, asking(2000 + number)) for number, key in enumerate(others)))
    await _until(lambda: len(reported) == len(slow) + len(others))
    assert [key for key in reported if key[0] == OTHER[0]] == reported[1:6]


@pytest.mark.looptime
async def test_only_the_newest_question_of_a_service_is_answered(running):
    estimates, answering, reported = running
    first = answering.hanging[asking(2048)] = asyncio.Event()
    await estimates.of(OTHER, asking(2048))
    for context in (3000, 3001, 3002):
        await estimates.of(KEY, asking(context))
    first.set()
    await _until(lambda: len(reported) == 2)
    assert answering.asked == [asking(2048), asking(3002)]
    assert estimates.last(KEY).question == asking(3002)


@pytest.mark.looptime
async def test_a_service_that_is_gone_is_forgotten(running):
    estimates, answering, reported = running
    first = answering.hanging[asking(2048)] = asyncio.Event()
    await estimates.of(OTHER, asking(2048))
    await estimates.of(KEY, asking(3000))
    estimates.forget(KEY)
    estimates.forget(OTHER)
    first.set()
    await estimates.of(("team-c", "chat"), asking(3001))
    assert answering.asked == [asking(2048), asking(3001)]
    assert estimates.last(KEY) is None and estimates.last(OTHER) is None
    assert reported == []


@pytest.mark.looptime
async def test_where_nobody_can_be_asked_it_is_tried_again(running):
    estimates, answering, reported = running
    answering.failing = [NotStarted("no memory")]
    assert await estimates.of(KEY, asking()) is None
    await asyncio.sleep(11)
    assert reported == [KEY]
    assert estimates.last(KEY) == estimated(asking())


async def test_the_process_answers_as_the_operator_would():
    process = EstimatorProcess()
    try:
        for question in (asking(gpus=5), asking(1 << 20, gpus=3), Question("", asking().requests)):
            assert await process.ask(question) == estimated(question)
        pid = process._process.pid
        await process.ask(asking(999))
        assert process._process.pid == pid
    finally:
        await process.close()


LOOPS = """
import sys
from llmservice_operator.planner.model import fit_estimate
from llmservice_operator.controller import estimator_process
right = estimator_process.estimated
def estimated(question):
    first = question.requests[0].max_context
    while first == 666: pass
    if first == 667: bytearray(1 << 40)
    if first == 668: sys.exit(3)
    if first == 669: return fit_estimate.Estimate(question, ())
    if first == 670: print("x" * (2 << 20), flush=True)
    if first == 671: print('{"number": 1}', flush=True)
    return right(question)
estimator_process.estimated = estimated
estimator_process.CPU_SECONDS = 0
estimator_process.main()
"""


@pytest.mark.parametrize(
    ("context", "why"),
    [(666, "s$"), (667, "MemoryError"), (668, "exit code 3"), (669, "too few"), (670, "without"), (671, "without")],
)
async def test_a_process_that_gives_no_answer_is_replaced(context: int, why: str):
    process = EstimatorProcess(sys.executable, "-c", LOOPS, seconds=0.5 if context == 666 else 10)
    try:
        assert await process.ask(asking()) == estimated(asking())
        with pytest.raises(NoAnswer, match=why):
            for _ in range(2):  # what is said beside an answer is found at the next one
                await process.ask(asking(context))
        assert await process.ask(asking(1000)) == estimated(asking(1000))
    finally:
        await process.close()


async def test_the_kernel_ends_a_process_that_nobody_kills():
    process = EstimatorProcess(sys.executable, "-c", LOOPS, seconds=60)
    try:
        with pytest.raises(NoAnswer, match="exited without a result"):
            await process.ask(asking(666))
    finally:
        await process.close()


async def test_the_process_ends_with_the_operator():
    process = EstimatorProcess()
    await process.start()
    await process.ask(asking())
    child = process._process
    child.stdin.close()
    assert await asyncio.wait_for(child.wait(), 30) == 0
    await process.close()


@pytest.mark.parametrize("command", [("/nowhere",), (sys.executable, "-c", ""), (sys.executable, "-c", "print(1)")])
async def test_a_process_that_does_not_start_is_said(command: tuple[str, ...]):
    with pytest.raises(NotStarted):
        await EstimatorProcess(*command).ask(asking())


async def test_the_process_loads_no_client_and_no_types():
    found = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys, llmservice_operator.controller.estimator_process; print(*sys.modules)",
        stdout=asyncio.subprocess.PIPE,
    )
    loaded = set((await found.communicate())[0].decode().split())
    assert not loaded & {"kubernetes", "kopf", "aiohttp", "pydantic", "asyncio", "uvloop", "prometheus_client"}


@dataclasses.dataclass
class Asks:
    """A plan that asks for an estimate, and says what it was answered."""

    question: Question

    def __call__(self, observed: Observed) -> Plan:
        answered = observed.estimate is not None and observed.estimate.question == self.question
        reason = observed.estimate.fits[0].reason if answered else "Estimating"
        return Plan(
            status={"conditions": [condition("Fits", "Unknown", reason), condition("Ready", "True")]},
            requires=frozenset() if answered else frozenset({Input.ESTIMATE}),
            question=None if answered else self.question,
        )


async def test_an_estimate_is_in_the_status_at_once(shell: Shell) -> None:
    shell.plan = Asks(asking())
    await shell.look()
    assert shell.condition("Fits")["reason"] == "Fits"
    assert len(shell.api.writes) == 1


async def test_a_service_whose_estimate_hangs_is_planned_without_it(shell: Shell) -> None:
    shell.answerer.hanging[asking(2048)] = asyncio.Event()
    shell.plan = Asks(asking(2048))
    await shell.look()
    assert shell.condition("Fits")["reason"] == "Estimating"
    shell.answerer.hanging[asking(2048)].set()
    await _until(lambda: shell.answered == [KEY])
    await shell.settle()
    assert shell.condition("Fits")["reason"] == "EstimateFailed"
    for _ in range(3):
        await shell.look()
    assert len(shell.answerer.asked) == 1


def test_no_answer_has_a_fit_for_each_gpu():
    assert [each.verdict for each in without_answer(asking(gpus=3), "x").fits] == [Verdict.UNKNOWN] * 3
