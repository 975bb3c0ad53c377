"""What a tenant writes into objects can neither break nor hold up the commands of others."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmservice_operator.cli import client, reading
from llmservice_operator.cli.plan import apply_methods
from unit.cli.conftest import Terminal

SPEC = {"model": {"source": "hf://org/model"}}


def entry(fields: str) -> str:
    return f'{{"manager": "a", "operation": "Update", "fieldsV1": {fields}}}'


def deep(levels: int) -> str:
    return '{"f:a":' * levels + "{}" + "}" * levels


def read(fields: str) -> dict[str, Any] | None:
    text = f'{{"metadata": {{"name": "chat", "managedFields": [{entry(fields)}]}}, "spec": {{"replicas": 1}}}}'
    return reading.document(text.encode())


@pytest.mark.parametrize("fields", [deep(300), deep(100_000), "9" * 5_000, f'{{"f:a": {"9" * 100_000}}}'])
def test_owned_fields_of_any_depth_are_read(fields: str) -> None:
    found = read(fields)
    assert found is not None
    assert found["spec"] == {"replicas": 1}
    (kept,) = found["metadata"]["managedFields"]
    assert kept["manager"] == "a"
    assert len(json.dumps(kept)) < 200


def test_owned_fields_of_usual_depth_are_kept() -> None:
    found = read(deep(20))
    assert found is not None
    assert found["metadata"]["managedFields"][0]["fieldsV1"] == json.loads(deep(20))


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "", "nothing"])
def test_what_is_no_object_is_none(text: str) -> None:
    assert reading.document(text.encode()) is None


def test_one_object_does_not_break_the_list_of_all(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        f'{{"items": [{{"metadata": {{"name": "e", "managedFields": [{entry(deep(100_000))}]}}}}], "metadata": {{}}}}'
    )
    monkeypatch.setattr(client, "_read", lambda response: text.encode())
    assert terminal.run("upgrade-check -A", group=()).status == 0


def test_what_was_applied_last_may_be_anything() -> None:
    live = {"metadata": {"annotations": {apply_methods.LAST_APPLIED: "[" * 100_000}}, "spec": SPEC}
    assert apply_methods.patch(live, {"spec": {"replicas": 2}}) == {"spec": {"replicas": 2}}


class Answer:
    """An answer that comes in parts, and never ends by itself."""

    def __init__(self, part: bytes) -> None:
        self._part = part
        self.closed = self.released = False
        self.parts = 0

    def read1(self, amount: int, decode_content: bool) -> bytes:
        self.parts += 1
        return self._part[:amount]

    def close(self) -> None:
        self.closed = True

    def release_conn(self) -> None:
        self.released = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each look at the clock is ten seconds later."""
    times = iter(range(0, 10_000, 10))
    monkeypatch.setattr(client.time, "monotonic", lambda: float(next(times)))
    return iter(())


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    answer = Answer(b"a" * (1 << 20))
    assert client._read(answer) is None  # type: ignore[arg-type]
    assert answer.closed and answer.parts <= 65


@pytest.mark.usefixtures("clock")
def test_a_pod_that_answers_a_byte_at_a_time_holds_nobody_up() -> None:
    answer = Answer(b"a")
    assert client._read(answer) is None  # type: ignore[arg-type]
    assert answer.closed and answer.parts < 10


def test_a_list_is_read_in_smaller_pages_where_objects_are_large(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = client._read, []

    def read(response: Any) -> bytes | None:
        data = real(response)
        sizes.append(len(data or b""))
        return None if len(sizes) == 1 else data

    terminal.api.place("LLMService", "team-b", "large", spec=SPEC)
    monkeypatch.setattr(client, "_read", read)
    assert terminal.run("upgrade-check -A", group=()).status == 0
    assert len(sizes) > 2
