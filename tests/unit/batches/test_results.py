"""The results on the disk after a crash at any byte."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmservice_operator.batches.results import Result, Results

LINES = 12


def result(number: int, good: bool = True, version: int = 0) -> Result:
    """A result of a line; an engine may have computed it several times."""
    body = msgspec.Raw(json.dumps({"text": f"of {number}", "version": version}).encode())
    return Result(number, f"id-{number}", "request", 200 if good else 400, body)


def kept(directory: Path) -> list[dict[str, object]]:
    """The lines of both files."""
    return [json.loads(line) for name in ("o", "e") for line in (directory / name).read_bytes().splitlines()]


def opened(directory: Path) -> Results:
    return Results(directory / "o", directory / "e", LINES)


@given(
    groups=st.lists(st.lists(st.integers(0, LINES - 1), max_size=5), max_size=6),
    bad=st.sets(st.integers(0, LINES - 1)),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    garbage=st.sampled_from([b"", b"\0" * 40, b"\n", b'{"id":', b'{"id": "batch_req_99"}\n', b"\xff\n"]),
)
@settings(max_examples=150, deadline=None)
def test_after_a_crash_at_any_byte_each_line_gets_exactly_one_result(
    groups: list[list[int]], bad: set[int], cuts: tuple[float, float], garbage: bytes
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        results = opened(directory)
        for group in groups:
            results.add([result(number, number not in bad) for number in group])
        results.close()
        safe = [(directory / name).stat().st_size for name in ("o", "e")]
        for path, part, size in zip((directory / "o", directory / "e"), cuts, safe, strict=True):
            os.truncate(path, int(part * size))
            with path.open("ab") as file:
                file.write(garbage)
        results = opened(directory)
        found = Counter(each["custom_id"] for each in kept(directory))
        assert sum(results.done) == len(found) == found.total() == results.completed + results.failed
        results.add([result(number, number not in bad, version=1) for number in range(LINES)])
        assert results.left == 0
        results.close()
        lines = kept(directory)
        assert Counter(each["custom_id"] for each in lines) == Counter(f"id-{number}" for number in range(LINES))
        assert [(directory / name).stat().st_size for name in ("o", "e")] == list(results.sizes)


def test_what_is_on_the_disk_stays(tmp_path: Path) -> None:
    results = opened(tmp_path)
    results.add([result(3), result(5, good=False)])
    results.close()
    again = opened(tmp_path)
    again.add([result(3, version=1), result(3, good=False), result(5)])
    assert (again.completed, again.failed) == (1, 1)
    assert 'version":1' not in (tmp_path / "o").read_text()


def test_a_disk_without_room_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = opened(tmp_path)
    results.add([result(0)])
    write = os.write

    def some(opened: int, data: bytes) -> int:
        if results.sizes[0] and len(data) > 10:
            return write(opened, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", some)
    with pytest.raises(OSError, match="No space"):
        results.add([Result(1, "id-1", None, 200, msgspec.Raw(b"1")), result(2)])
    monkeypatch.undo()
    assert (results.completed, results.left) == (1, LINES - 1)
    assert [each["custom_id"] for each in kept(tmp_path)] == ["id-0"]
    results.add([result(1)])
    assert [each["custom_id"] for each in kept(tmp_path)] == ["id-0", "id-1"]
