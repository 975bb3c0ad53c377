"""Why vLLM ended, found in its output: the root cause, with the field to change.

Rules are asked in turns: what vLLM itself explains, then errors of a general kind, then what is only seen of an end,
first where it names the process. In each turn the output is read upwards to the first match, for what comes last is
nearest to the end and often the better explained one. Frames of tracebacks and lines that are logged as no error are
no cause, and no turn knows the lines that only point to another one ("Engine core initialization failed").
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmservice_contract import causes
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.engine_settings import with_current_names
from llmservice_contract.finding import Finding
from llmservice_runtime.diagnosis import device, host_memory, memory, model, process
from llmservice_runtime.diagnosis.last_error import telling
from llmservice_runtime.diagnosis.output_tail import Line
from llmservice_runtime.diagnosis.rule import Rule

EXPLAINED = memory.RULES + device.RULES + model.RULES + process.RULES
GENERAL = memory.GENERAL_RULES + device.GENERAL_RULES + process.GENERAL_RULES
RULES = EXPLAINED + GENERAL + process.NAMED + process.LAST_SIGHT

DETAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class End:
    """How vLLM ended without a stop signal."""

    code: int
    """Its exit code, 128 + N where signal N ended it."""
    lines: Sequence[Line]
    """The end of its output."""
    served: bool = False
    """Whether it had begun to answer requests."""
    kills: int = 0
    """How many of its processes the kernel killed for memory."""


def diagnose(end: End, environment: Mapping[str, str]) -> Diagnosis:
    """The cause; `environment` is what vLLM was started with."""
    found = _out_of_memory(end) or _by_rules(end, with_current_names(environment)) or _killed(end) or _unknown(end)
    if end.served:
        after = replace(found.finding, message=f"After it had served requests: {found.finding.message}")
        return replace(found, finding=after)
    return found


def _by_rules(end: End, environment: Mapping[str, str]) -> Diagnosis | None:
    spoken = [line for line in end.lines if not _frame(line)]
    errors = [line for line in spoken if not line.in_passing]
    turns = ((EXPLAINED, errors), (GENERAL, errors), (process.NAMED, spoken), (process.LAST_SIGHT, spoken))
    return next((found for rules, lines in turns if (found := _search(rules, lines, environment))), None)


def _search(rules: Sequence[Rule], lines: Sequence[Line], environment: Mapping[str, str]) -> Diagnosis | None:
    for line in reversed(lines):
        for rule in rules:
            if found := rule.tell(line.text, environment):
                return found
    return None


def _frame(line: Line) -> bool:
    """Whether it stands between the head of a traceback and its error. pydantic indents its errors too."""
    return line.text[:1].isspace() and not line.text.lstrip().startswith(("Value error, ", "Assertion error, "))


def _out_of_memory(end: End) -> Diagnosis | None:
    if end.kills <= 0:
        return None
    limit = host_memory.limit_gib()
    most = f"its limit of {limit} GiB" if limit is not None else "what the node has"
    return _of(
        causes.OOM_KILLED,
        f"The kernel killed a process of the engine because the container used more host memory than {most}.",
        end,
        field="spec.resources.memory",
        fix="Raise spec.resources.memory; on a CPU, or lower spec.engine.kvCacheMemory.",
    )


def _killed(end: End) -> Diagnosis | None:
    if end.code != 128 + signal.SIGKILL:
        return None
    return _of(
        causes.KILLED,
        "vLLM was killed (signal 9).",
        end,
        field="spec.resources.memory",
        fix="If the container's memory limit was reached, raise spec.resources.memory or lower the engine's cache.",
        alternative=process.BY_HAND,
    )


def _unknown(end: End) -> Diagnosis:
    message = telling(end.lines) or f"No line names an error. {_last_line(end)}"
    return _of(causes.UNKNOWN, message, end, alternative="an error further up in the log")


def _last_line(end: End) -> str:
    last = next((line.shown for line in reversed(end.lines) if line.text.strip()), None)
    return f"The last one is: {last}" if last else "vLLM wrote nothing."


def _of(
    cause: causes.Cause, message: str, end: End, *, field: str = "", fix: str = "", alternative: str = ""
) -> Diagnosis:
    code = end.code if cause is causes.UNKNOWN else cause.exit_code
    finding = Finding(cause.name, message, alternative=alternative, field=field, fix=fix)
    return Diagnosis(finding, code, _end_of(end.lines))


def _end_of(lines: Iterable[Line]) -> str:
    shown = [line.shown for line in lines if line.text and not _frame(line)]
    return "\n".join(shown[-DETAIL_LINES:])
