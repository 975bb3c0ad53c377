"""A report on one screen: at most 40 lines of 100 columns. If there are more, the least important lines are omitted,
and the screen says how many.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence

from llmservice_operator.cli.explain.report import Cause, Report
from llmservice_operator.cli.terminal import printable
from llmservice_operator.planner.report.finding import account, where

WIDTH = 100
LINES = 40
_MARGIN = 18
_BOLD, _RED, _GREEN, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"


@dataclasses.dataclass
class _Section:
    """A label and its lines."""

    label: str
    lines: list[str]
    least: int = 1
    """Lines that stay if lines must be omitted."""


def screen(report: Report, *, width: int = WIDTH, coloured: bool = False) -> str:
    """The report as text."""
    inner = max(40, width - _MARGIN)
    sections = [section for section in _sections(report, inner) if section.lines]
    cut = _fit(sections, LINES - 3)
    roomy = sum(len(section.lines) for section in sections) + len(_APART) <= LINES - 3
    lines = [_headline(report, coloured), ""]
    for section in sections:
        lines += [""] if roomy and section.label in _APART and len(lines) > 2 else []
        for number, line in enumerate(section.lines):
            label = f"{'' if number else section.label:<{_MARGIN}}"
            lines.append(f"{_BOLD}{label}{_PLAIN}{line}" if coloured and not number else f"{label}{line}".rstrip())
    if cut:
        lines.append(f"{'':<{_MARGIN}}({cut} more lines: -o json has all)")
    return "\n".join(lines)


def _headline(report: Report, coloured: bool) -> str:
    text = printable(f"{report.name} in {report.namespace}: {report.headline}")
    if not coloured:
        return text
    return f"{_BOLD}{_GREEN if report.ready else _RED}{text}{_PLAIN}"


def _sections(report: Report, width: int) -> list[_Section]:
    """In the order in which people read them."""
    return [
        _Section("Operator", _wrapped(report.operator, width), 4),
        _Section("Desired", _wrapped(report.wants, width, 3), 2),
        _Section("Current", _wrapped(report.present, width, 2), 2),
        _Section("Capacity", _wrapped(report.room, width, 2)),
        _Section("Memory", _wrapped(report.memory, width, 2)),
        _Section("Cost", _wrapped(report.cost, width, 3)),
        _Section("Why", _causes(report.causes, width), 8),
        _Section("Other", _causes(report.also, width), 2),
        _Section("Pending approval", _wrapped(report.waits, width, 2)),
        _Section("Pods", _pods(report)),
        _Section("Scaling", _wrapped(report.scaling, width, 2)),
        _Section("Quota", [line for quota in report.quotas for line in _wrapped(quota, width, 2)]),
        _Section("Nodes", _wrapped(report.nodes, width, 2)),
        _Section("Events", _events(report, width)),
        _Section("Log", _logs(report, width)),
        _Section("Unreadable", [line for each in report.unread for line in _wrapped(each, width, 2)]),
    ]


def _causes(causes: Sequence[Cause], width: int) -> list[str]:
    found = []
    for number, cause in enumerate(causes, 1):
        head = f"{number}. " if len(causes) > 1 else ""
        finding = cause.finding
        sure = f" ({finding.certainty.lower()})" if not cause.condition else ""
        at = f"{place}: " if (place := where(finding)) else ""
        found += _wrapped(f"{head}{cause.reason}{sure}: {at}{account(finding)}", width, 6)
        field = f" [{finding.field}]" if finding.field else ""
        if finding.fix or field:
            found += _wrapped(f"Fix: {finding.fix}{field}", width, 3)
        if number == 1 and not cause.condition:
            found += _wrapped(f"More: docs/operations/{cause.reason}.md", width, 1)
    return found


def _pods(report: Report) -> list[str]:
    rows = [
        (pod.name, pod.state, f"on {pod.node}" if pod.node else "", pod.age, _restarts(pod.restarts))
        for pod in sorted(report.pods, key=lambda pod: pod.ready)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    return [printable("   ".join(map(str.ljust, row, widths)).rstrip()) for row in rows]


def _restarts(count: int) -> str:
    return f"{count} restart{'' if count == 1 else 's'}" if count else ""


def _events(report: Report, width: int) -> list[str]:
    return [
        line
        for event in report.events[:6]
        for line in _wrapped(f"{event.age} ago, {event.about}: {event.reason}: {event.message}", width, 2)
    ]


def _logs(report: Report, width: int) -> list[str]:
    found = []
    for pod, text in report.logs.items():
        found.append(f"last lines of {pod} before it ended:")
        found += [f"| {line}"[:width] for line in map(printable, text.splitlines()) if line.strip()]
    return found


def _wrapped(text: str, width: int, most: int = 4) -> list[str]:
    """Lines of ``text``; the last of ``most`` ends in … if text was cut off."""
    whole = " ".join(printable(text).split())
    return textwrap.wrap(whole, width, max_lines=most, placeholder=" …", break_on_hyphens=False) if whole else []


def _fit(sections: Sequence[_Section], most: int) -> int:
    """Remove lines from the ends of sections, the least important section first; returns how many."""
    cut = 0
    expendable = [section for label in _LEAST_NEEDED for section in sections if section.label == label]
    for least in (True, False):
        for section in expendable:
            while sum(len(each.lines) for each in sections) > most and len(section.lines) > (
                section.least if least else 0
            ):
                section.lines.pop()
                cut += 1
    return cut


_APART = ("Why", "Pods", "Log", "Unreadable")
"""Sections with an empty line before them, if the screen has enough lines."""
_LEAST_NEEDED = ("Log", "Events", "Pods", "Nodes", "Quota", "Scaling", "Other", "Pending approval", "Why")
"""Sections that can be shortened, in this order."""
