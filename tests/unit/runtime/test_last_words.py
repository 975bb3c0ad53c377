"""The line that says why, found in what vLLM really writes; each text below is from a run of it."""

from __future__ import annotations

import pytest

from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_runtime.last_words import Tail, cause, termination_message

ENGINE = "(EngineCore pid=41) ERROR 11-23 15:39:53 [core.py:1240] "
API_SERVER = "(APIServer pid=17) "
HEADS_DO_NOT_DIVIDE = """\
(APIServer pid=9077) INFO 11-23 15:38:55 [model.py:2152] Using max model len 2048
(APIServer pid=9077) WARNING 11-23 15:38:55 [system_utils.py:255] Found ulimit of 20000, `OSError: [Errno 24]`
Traceback (most recent call last):
  File "vllm", line 10, in <module>
    sys.exit(main())
pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig
  Value error, Total number of attention heads (4) must be divisible by tensor parallel size (3). \
[type=value_error, input_value=ArgsKwargs((), {}), input_type=ArgsKwargs]
    For further information visit the errors page
"""
NO_MEMORY = "Available memory on node 0 (20.71/23.54 GiB) is less than requested memory for kv (4000.0 GiB)."
CACHE_TOO_LARGE = f"""\
{ENGINE}EngineCore failed to start.
{ENGINE}Traceback (most recent call last):
{ENGINE}  File "core.py", line 1206, in run_engine_core
{ENGINE}    engine_core = EngineCoreProc(*args, engine_index=dp_rank, **kwargs)
{ENGINE}ValueError: {NO_MEMORY}
{API_SERVER}Traceback (most recent call last):
{API_SERVER}RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
"""
WRONG_ARGUMENT = "usage: vllm serve [model_tag] [options]\nvllm serve: error: unrecognized arguments: --no-such\n"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (HEADS_DO_NOT_DIVIDE, "Total number of attention heads (4) must be divisible by tensor parallel size (3)."),
        (CACHE_TOO_LARGE, f"ValueError: {NO_MEMORY}"),
        (WRONG_ARGUMENT, "unrecognized arguments: --no-such"),
        ("Traceback (most recent call last):\nAssertionError\n", "AssertionError"),
        (f"{ENGINE}torch.OutOfMemoryError: CUDA out of memory.\n", "torch.OutOfMemoryError: CUDA out of memory."),
        ("all was well\n", None),
    ],
)
def test_the_cause_is_the_first_true_error(output: str, line: str | None) -> None:
    assert cause(output.splitlines()) == line


def test_what_only_points_to_the_cause_is_never_it() -> None:
    lines = ["RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"]
    assert cause(lines) is None


def test_the_message_starts_with_the_cause_and_shows_no_frames() -> None:
    first, _empty, how, *rest = termination_message("vLLM ended.", HEADS_DO_NOT_DIVIDE.splitlines()).splitlines()
    assert first.startswith("Total number of attention heads (4)")
    assert how == "vLLM ended."
    assert rest[0] == "Its last lines:"
    assert rest[-1].startswith("pydantic_core")
    assert not any(line.startswith(" ") for line in rest)


@pytest.mark.parametrize("line", ["x" * 9000, "é" * 1999, "short"])
def test_the_message_stays_within_what_the_kubelet_keeps(line: str) -> None:
    message = termination_message("vLLM ended.", [f"ValueError: {line}", *[line] * 1000])
    assert len(message.encode()) <= TERMINATION_MESSAGE_BYTES
    assert message.startswith(f"ValueError: {line[:900]}")
    assert "vLLM ended." in message


def test_the_tail_joins_pieces_and_keeps_streams_apart() -> None:
    tail = Tail()
    tail.feed(1, b"Value")
    tail.feed(2, b"10%\r20%\r\n")
    tail.feed(1, b"Error: caf\xc3")
    tail.feed(1, b"\xa9\nopen end")
    assert tail.lines == ["20%", "ValueError: café", "open end"]


def test_the_tail_is_bounded() -> None:
    tail = Tail()
    for _ in range(50):
        tail.feed(1, b"y" * 100_000)
    tail.feed(1, b"\n" + b"z\n" * 100_000)
    assert sum(map(len, tail.lines)) < 10_000
    assert tail.lines[-1] == "z"
