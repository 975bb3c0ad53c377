"""Prints docs/reference/parsers.md from llmservice_runtime.model.parsers."""

import sys
from collections.abc import Iterator

from llmservice_contract import engine_arguments
from llmservice_runtime.model.parsers import REASONING, TOOL_CALLS, Row

INTRODUCTION = """\
# Parsers of tool calls and reasoning

<!-- Printed by hack/generators/parsers_reference.py from llmservice_runtime.model.parsers; change that. -->

If `spec.engine.toolCallParser` or `spec.engine.reasoningParser` is absent, the runtime chooses the parser when a pod
starts: the first row whose architecture (`architectures` in config.json, as a regular expression of the whole name)
and chat template match. The template has to match all patterns of the row. It is that of `spec.engine.chatTemplate` if
set, otherwise the model's own. If no row matches, there is no parser. Set the field to `none` for no parser, or to a
name for that parser. The pod's log shows the arguments that were chosen.

Sources: [tool calling](https://docs.vllm.ai/en/v{version}/features/tool_calling/) and
[reasoning outputs](https://docs.vllm.ai/en/v{version}/features/reasoning_outputs/) of vLLM, the marks that its parsers
look for, and the templates of the models.
"""


def main() -> None:
    """Prints the page."""
    sys.stdout.write(INTRODUCTION.format(version=engine_arguments.VLLM_VERSION))
    for title, rows, known in (
        ("Tool calls", TOOL_CALLS, engine_arguments.TOOL_CALL_PARSERS),
        ("Reasoning", REASONING, engine_arguments.REASONING_PARSERS),
    ):
        sys.stdout.write(f"\n## {title}\n\n| Parser | Models | Architecture | The template has |\n|---|---|---|---|\n")
        sys.stdout.write("".join(map(_row, rows)))
        chosen = {row.parser for row in rows}
        others = ", ".join(f"`{name}`" for name in known if name not in chosen)
        sys.stdout.write(f"\nNever chosen by itself: {others}.\n")


def _row(row: Row) -> str:
    return (
        f"| `{row.parser}` | {row.for_models} | {_code([row.architectures])} | {', '.join(_template(row)) or '–'} |\n"
    )


def _template(row: Row) -> Iterator[str]:
    if row.template:
        yield _code(row.template)
    if row.prompt:
        yield f"{_code([row.prompt])} behind the last `add_generation_prompt`"
    if row.never:
        yield f"not {_code([row.never])}"


def _code(patterns: list[str] | tuple[str, ...]) -> str:
    return ", ".join("`` " + pattern.replace("|", "\\|") + " ``" for pattern in patterns)


if __name__ == "__main__":
    main()
