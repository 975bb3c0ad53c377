"""What is kept of vLLM's output, and the line that says why where no rule knows it; each text is from a run of it."""

from __future__ import annotations

import pytest

from llmservice_runtime.diagnosis.last_error import most_informative
from llmservice_runtime.diagnosis.output_tail import KEPT_LINES, KEPT_PROCESSES, Line, OutputTail, parse

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
    For further information context the errors page
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
AN_ERROR_OF_ONE_REQUEST = f"""\
{API_SERVER}ERROR 11-23 15:38:55 [serving.py:7] ValueError: the prompt is too long
{ENGINE}EngineCore encountered a fatal error.
{ENGINE}KeyError: 'layer.7'
"""


def lines(output: str) -> list[Line]:
    return [parse(line) for line in output.splitlines()]


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (HEADS_DO_NOT_DIVIDE, "Total number of attention heads (4) must be divisible by tensor parallel size (3)."),
        (CACHE_TOO_LARGE, f"ValueError: {NO_MEMORY}"),
        (WRONG_ARGUMENT, "unrecognized arguments: --no-such"),
        (AN_ERROR_OF_ONE_REQUEST, "KeyError: 'layer.7'"),
        ("Traceback (most recent call last):\nAssertionError\n", "AssertionError"),
        (f"{ENGINE}torch.OutOfMemoryError: CUDA out of memory.\n", "torch.OutOfMemoryError: CUDA out of memory."),
        ("all was well\n", None),
    ],
)
def test_the_telling_line_is_the_first_true_error(output: str, line: str | None) -> None:
    assert most_informative(lines(output)) == line


def test_what_only_points_to_the_cause_is_never_it() -> None:
    text = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    assert most_informative(lines(text)) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{ENGINE}ValueError: x", Line("ValueError: x", "EngineCore", "ERROR")),
        ("(Worker_TP0 pid=1) (Worker_TP1 pid=2) WARNING 11-23 15:38:55 [a.py:7] x", Line("x", "Worker_TP1", "WARNING")),
        ("\x1b[0;36m(APIServer pid=7)\x1b[0;0m INFO:     Started", Line("Started", "APIServer", "INFO")),
        ("ValueError: (x)", Line("ValueError: (x)")),
    ],
)
def test_a_line_is_told_without_prefixes_and_colours(text: str, line: Line) -> None:
    assert parse(text) == line


def test_the_tail_joins_pieces_and_keeps_streams_apart() -> None:
    tail = OutputTail()
    tail.feed(1, b"Value")
    tail.feed(2, b"10%\r20%\r\n")
    tail.feed(1, b"Error: caf\xc3")
    tail.feed(1, b"\xa9\nopen end")
    assert [line.text for line in tail.lines] == ["20%", "ValueError: café", "open end"]


def test_the_tail_is_bounded() -> None:
    tail = OutputTail()
    for _ in range(50):
        tail.feed(1, b"y" * 100_000)
    tail.feed(1, b"\n" + b"z\n" * 10_000)
    assert sum(len(line.text) for line in tail.lines) < 10_000
    assert tail.lines[-1].text == "z"
    for number in range(KEPT_PROCESSES + 20):
        tail.feed(1, b"(P%d pid=1) z\n" % number * (KEPT_LINES + 100))
    assert len(tail.lines) == KEPT_LINES * KEPT_PROCESSES


def test_one_process_never_pushes_out_the_words_of_another() -> None:
    tail = OutputTail()
    tail.feed(1, b"(EngineCore pid=2) ValueError: x\n" + b"(APIServer pid=1) noise\n" * 10_000)
    assert tail.lines[0] == Line("ValueError: x", "EngineCore")


def test_what_was_said_of_the_start_is_forgotten_once_it_serves() -> None:
    tail = OutputTail()
    tail.feed(1, b"(EngineCore pid=2) loading\n(APIServer pid=1) INFO:     Application startup complete.\n")
    assert tail.served
    assert [line.text for line in tail.lines] == ["Application startup complete."]
