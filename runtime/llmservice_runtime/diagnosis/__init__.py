"""Why vLLM exited: finds the root cause in its output, with the field to change.

Rules are tried in passes: errors that vLLM explains, then general errors, then facts about the exit alone, first those
that name the process. Each pass reads the output from its end upwards and takes the first match, because the last error
is usually the best explained one. Frames of tracebacks and lines below the level of an error are skipped, and no rule
matches lines that only refer to another error ("Engine core initialization failed").
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
from llmservice_runtime.diagnosis.last_error import most_informative
from llmservice_runtime.diagnosis.output_tail import Line
from llmservice_runtime.diagnosis.rule import Rule

EXPLAINED = memory.RULES + device.RULES + model.RULES + process.RULES
GENERAL = memory.GENERAL_RULES + device.GENERAL_RULES + process.GENERAL_RULES
RULES = EXPLAINED + GENERAL + process.NAMED + process.LAST_SIGHT

DETAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class End:
    """An exit of vLLM without a stop signal."""

    code: int
    """Its exit code; 128 + N if signal N killed it."""
    lines: Sequence[Line]
    """The end of its output."""
    served: bool = False
    """Whether it was ready before."""
    kills: int = 0
    """How many of its processes the kernel killed because memory ran out."""


def diagnose(end: End, environment: Mapping[str, str]) -> Diagnosis:
    """The root cause; `environment` is that of vLLM."""
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
            if found := rule.apply(line.text, environment):
                return found
    return None


def _frame(line: Line) -> bool:
    """Whether the line is inside a traceback, before its error. pydantic indents its errors too."""
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
    message = most_informative(end.lines) or f"No line names an error. {_last_line(end)}"
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
