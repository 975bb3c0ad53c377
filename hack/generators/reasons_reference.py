"""Prints docs/reference/reasons.md from the table of reasons."""

import sys
from collections.abc import Iterator
from pathlib import Path

from llmservice_contract import causes
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.reasons import Reason
from llmservice_operator.planner.status import conditions as _  # noqa: F401 - adds the rest of the reasons

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"

INTRODUCTION = """\
# Reasons

<!-- Written by hack/generators/reasons_reference.py from llmservice_operator.planner.report.reasons; change that. -->

Every reason that conditions, `status.findings` and Events of an LLMService can have. Names don't change within an
API version. [operations.md](../operations.md) says what each means and what to do.

- **Conditions**: those that can have it. `Ready`, `Reconciling` and `Stalled` repeat the reasons of the others.
- **Category**: decisions go by it: a reason is treated as its category is.
- **Finding**: whether `status.findings` lists it. What is under way, or wanted, is not listed.
- **Person**: whether it seldom passes without a person: then `Stalled` is True, else `Reconciling`.
- **Event**: the type of the Event that is made when `Accepted` or `Ready` becomes False for it. An Event about
  `ScalingActive` is a Warning if that is False.
- **Next start**: for ends of an engine: whether the next start may succeed without a change.
- **Exit code**: that of the engine's container.

| Reason | Conditions | Category | Finding | Person | Event | Next start | Exit code |
|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(map(_row, reasons.TABLE.values()))


def _row(row: Reason) -> str:
    return f"| {' | '.join(_cells(row))} |\n"


def _cells(row: Reason) -> Iterator[str]:
    documented = (OPERATIONS / f"{row.name}.md").exists()
    ended = row.name in causes.BY_NAME
    yield f"[`{row.name}`](../operations/{row.name}.md)" if documented else f"`{row.name}`"
    yield ", ".join(row.conditions)
    yield "" if row.category == row.name else f"`{row.category}`"
    yield f"as `{row.reported_as}`" if row.reported_as != row.name else "no" if row.good or row.expected else "yes"
    yield "" if row.good else "yes" if row.in_category_that_needs_person else "no"
    yield "" if row.event is reasons.EventType.NONE or row.event is None else row.event.value
    yield "" if not ended else "may succeed" if row.transient else "ends again"
    yield str(causes.BY_NAME[row.name].exit_code) if ended else ""


if __name__ == "__main__":
    sys.stdout.write(page())
