"""Inputs and answers that are made to take the memory of the process, to end it, or to spoil another's files."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from llmservice_operator.batches import lines as lines_module
from llmservice_operator.batches import outcome, sending
from llmservice_operator.batches.lines import InvalidInput, Lines
from llmservice_operator.batches.memory import Memory
from llmservice_operator.batches.metrics import REGISTRY
from llmservice_operator.batches.model import Batch, Owner
from llmservice_operator.batches.results import Result, Results
from llmservice_operator.batches.runs import Opened, Run
from llmservice_operator.batches.sending import Sender
from llmservice_operator.config.batches import BatchesSettings
from support.batches import ENDPOINT, BatchesProcess, StubGateway, batches_process, line

A, B = Owner("team-a", "a"), Owner("team-a", "b")
NESTED = b"[" + b"[]," * 300_000 + b"[]]"
"""0.9 MB, which are 26 MB once decoded."""


@pytest.fixture
def peak() -> Iterator[Any]:
    """The most bytes that Python has had since its start."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def problem(tmp_path: Path, content: bytes) -> str:
    """Why an input is no batch."""
    (tmp_path / "input").write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        Lines(tmp_path / "input", ENDPOINT, 100)
    return refused.value.problems[0].code


@pytest.mark.parametrize(
    ("name", "code"),
    [("model", "invalid_model"), ("stream", "streaming")],
)
def test_a_field_of_a_line_takes_no_more_memory_than_the_line(tmp_path: Path, peak: Any, name: str, code: str) -> None:
    text = line("a", body={"model": "chat", "messages": [], name: "HERE"}).replace(b'"HERE"', NESTED)
    assert problem(tmp_path, text) == code
    assert peak() < 6 * len(NESTED)


@pytest.mark.parametrize("name", ["a" * 257, "\U0001f600" * 257, 1, None, {"a": 1}, ["chat"]])
def test_a_model_is_a_short_text(tmp_path: Path, name: object) -> None:
    body = {"model": name, "messages": []}
    assert problem(tmp_path, line("a", body=body)) == "invalid_model"


@pytest.mark.parametrize("name", ["a" * 256, "\U0001f600" * 256, "", 'a"; drop', "../../x"])
def test_any_short_text_may_name_a_model(tmp_path: Path, name: str) -> None:
    (tmp_path / "input").write_bytes(line("a", body={"model": name, "messages": []}))
    assert Lines(tmp_path / "input", ENDPOINT, 1).models == [name]


def test_custom_ids_take_little_memory(tmp_path: Path, peak: Any) -> None:
    count = 5000
    ids = [f"{number:06}" + "\U0001f600" * 500 for number in range(count)]
    body = b'"method":"POST","url":"/v1/chat/completions","body":{}}'
    with (tmp_path / "input").open("wb") as file:
        for each in ids:
            file.write(b'{"custom_id":' + json.dumps(each, ensure_ascii=False).encode() + b"," + body + b"\n")
    del ids
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    assert len(Lines(tmp_path / "input", ENDPOINT, count)) == count
    assert peak() - before < 300 * count


def test_a_line_is_read_no_further_than_its_longest(tmp_path: Path, peak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "LINE_BYTES", 1000)
    with (tmp_path / "input").open("wb") as file:
        file.truncate(2 * 2**30)
    with pytest.raises(InvalidInput) as refused:
        Lines(tmp_path / "input", ENDPOINT, 100)
    assert refused.value.problems[0].code == "line_too_long"
    assert peak() < 2**20


@pytest.mark.parametrize(
    "body", [b'["\xff"]', b'{"a":"\\ud800"}', b"[" * 100_000, b'{"a":1} {"b":2}', b"", b"nul", b'{"a":1}\n{"id":1}']
)
def test_an_answer_that_is_no_json_is_not_in_the_file(body: bytes) -> None:
    found = outcome.of_response(0, "a", 200, {}, body)
    assert isinstance(found, Result)
    assert (found.code, found.size) == ("invalid_answer", 0)
    assert json.loads(found.line())["response"] is None


def test_an_answer_takes_no_more_memory_than_its_bytes(tmp_path: Path, peak: Any) -> None:
    found = outcome.of_response(0, "a", 200, {}, NESTED)
    assert isinstance(found, Result)
    results = Results(tmp_path / "o", tmp_path / "e", 1)
    results.add([found])
    results.close()
    assert Results(tmp_path / "o", tmp_path / "e", 1).completed == 1
    assert peak() < 8 * len(NESTED)


def test_the_memory_of_one_owner_leaves_room_for_others() -> None:
    memory = Memory(100, 60, 5)
    assert memory.take(A, 60)
    assert not memory.take(A, 6)
    assert memory.take(A, 5), "what is small always has room"
    assert memory.take(B, 35)
    assert not memory.take(B, 6)
    memory.give_back(A, 65)
    assert memory.take(B, 25)
    assert not memory.take(B, 1, before=5)
    memory.give_back(B, 60)
    assert memory.total == 0


def test_the_largest_line_and_answer_have_room() -> None:
    assert Memory(*sending.LINES_MEMORY).take(A, lines_module.LINE_BYTES + 1)
    assert Memory(*sending.ANSWERS_MEMORY).take(A, outcome.ANSWER_BYTES)


class Answers:
    """A gateway in this process whose answers are as long as the prompts, with a batch that is sent to it."""

    def __init__(self, directory: Path, count: int, size: int) -> None:
        content = b"\n".join(line(f"line-{number}", "x" * size) for number in range(count))
        (directory / "input").write_bytes(content)
        lines = Lines(directory / "input", ENDPOINT, count)
        self.run = Run(Batch("batch_1", A, ENDPOINT, "i", "o", "e", 0, 0))
        self.run.opened = Opened(lines, Results(directory / "o", directory / "e", count))
        self.run.has_key, self.most = True, 0

    async def send(self, stop_at: int) -> Sender:
        """Sends until so many results have come, which are never written."""

        async def chat(request: web.Request) -> web.Response:
            self.most = max(self.most, len(self.run.sending))
            return web.Response(body=await request.read(), content_type="application/json")

        application = web.Application(client_max_size=2**20)
        application.add_routes([web.post("/namespaces/team-a/v1/chat/completions", chat)])
        assert self.run.opened is not None
        async with TestServer(application) as server, sending.line_session() as session:
            sender = Sender(session, BatchesSettings(batches_gateway=str(server.make_url("")).rstrip("/")))
            sender.join(self.run, self.run.opened)
            sender.pump()
            async with asyncio.timeout(20):
                while len(self.run.unsaved) < stop_at:
                    await self.run.changed.wait()
                    self.run.changed.clear()
            await self.run.stop_sending()
        return sender


async def test_long_lines_are_sent_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LINES_MEMORY", (100_000, 50_000, 100))
    answers = Answers(tmp_path, 40, 10_000)
    await answers.send(40)
    assert answers.most == 4, "of 10 kB each"


async def test_answers_that_are_not_on_the_disk_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "ANSWERS_MEMORY", (100_000, 50_000, 100))
    monkeypatch.setattr(sending, "NO_ROOM_SECONDS", 0.05)
    answers = Answers(tmp_path, 40, 10_000)
    before = repeated()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await answers.send(5)
    assert len(answers.run.unsaved) == 4
    assert repeated() > before


async def test_answers_that_are_on_the_disk_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "ANSWERS_MEMORY", (100_000, 50_000, 100))
    answers = Answers(tmp_path, 4, 10_000)
    sender = await answers.send(4)
    assert sender.answers_memory.total > 40_000
    sender.forget(answers.run, answers.run.unsaved)
    assert sender.answers_memory.total == 0


def repeated() -> float:
    """Lines that were sent again because their answer had no room."""
    return float(REGISTRY.get_sample_value("llmservice_batches_repeated_lines_total", {"reason": "no_memory"}) or 0)


@pytest.fixture(scope="module")
def gateway() -> Iterator[StubGateway]:
    made = StubGateway()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def program(gateway: StubGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchesProcess]:
    with batches_process(tmp_path_factory.mktemp("hostile") / "data", gateway.url) as made:
        yield made


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..%2f..%2fbatches.sqlite", "a\0b.jsonl", "/data/x", "a" * 3000], ids=range(5)
)
def test_a_name_leads_nowhere(program: BatchesProcess, name: str) -> None:
    before = {path for path in program.directory.rglob("*") if path.parent.name != "files"}
    client = program.client()
    file = client.files.create(file=(name, line("a")), purpose="batch")
    assert client.files.content(file.id).content == line("a")
    assert len(client.files.retrieve(file.id).filename) <= 255
    assert {path for path in program.directory.rglob("*") if path.parent.name != "files"} == before


@pytest.mark.parametrize(
    "file", ["../batches.sqlite", "..%2Fbatches.sqlite", "%2e%2e%2fbatches.sqlite", "file-" + "0" * 32]
)
def test_an_id_is_looked_up_and_is_no_path(program: BatchesProcess, file: str) -> None:
    client = program.client()
    for path in (f"/files/{file}", f"/files/{file}/content"):
        with pytest.raises(openai.NotFoundError):
            client.get(path, cast_to=object)
    with pytest.raises(openai.BadRequestError, match="no file"):
        client.batches.create(input_file_id=file, endpoint=ENDPOINT, completion_window="24h")


def test_another_keys_file_is_no_input(program: BatchesProcess) -> None:
    file = program.client("key-2").files.create(file=("a", line("a")), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="no file"):
        program.client().batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")
