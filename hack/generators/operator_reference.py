"""Writes docs/reference/operator-variables.md from the operator's settings."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from pydantic.fields import FieldInfo

from llmservice_operator.config.section import Section, rule
from llmservice_operator.config.settings import SECTIONS

INTRODUCTION = """\
# Environment variables of the operator

<!-- Written by hack/generators/operator_reference.py from the models in llmservice_operator.config; change those. -->

The chart sets them from its values (docs/install.md); this page is for those who deploy the operator in another way,
and for reading a Deployment. Variables are read once, at start. One that is absent or blank has its default. If any is
wrong, the operator names each of them with its value and what is allowed, and ends with status 2.
"""


def _page() -> Iterator[str]:
    yield INTRODUCTION
    for section in SECTIONS:
        yield f"## {str(section.__doc__).rstrip('.')}"
        yield "| Variable | Allowed | Default | |"
        yield "|---|---|---|---|"
        yield from _rows(section)
        yield ""


def _rows(section: type[Section]) -> Iterator[str]:
    for variable, field in section.variables().items():
        meaning = " ".join(str(field.description).split())
        yield f"| `{variable}` | {_cell(rule(field).allowed)} | {_default(field)} | {_cell(meaning)} |"


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple) and value:
        return f"`{','.join(value)}`"
    if isinstance(value, int | float):
        return f"`{value:g}`" if value < 10_000 else f"`{int(value)}`"
    return f"`{value}`" if isinstance(value, str | StrEnum) and value else "-"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print("\n".join(_page()).rstrip())
