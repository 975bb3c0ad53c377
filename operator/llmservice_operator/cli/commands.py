"""The words after `kubectl llm`, each with the module that knows its arguments.

Only the command that is meant is imported: help, completion and each start cost no more than they need.
"""

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from llmservice_operator import __version__
from llmservice_operator.cli.parsing import PROGRAM, add_parser

USAGE = 2
"""As argparse has it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One word, and what stands behind it."""

    name: str
    summary: str
    """What it does, as help has it."""
    definition: str
    """MODULE:FUNCTION inside this package: it gives the command's parser its arguments, and what it runs."""
    usage: int = USAGE
    """Exit status for a command line that makes no sense."""

    def define(self, parser: argparse.ArgumentParser) -> None:
        """Give the command's parser its arguments."""
        module, _, function = self.definition.partition(":")
        getattr(importlib.import_module(f"llmservice_operator.cli.{module}"), function)(parser)


COMMANDS = (
    Command("fit", "say whether a model fits a GPU, with the arithmetic, before anything runs", "fit:define"),
    Command("plan", "say what applying a manifest will do, before it is applied", "plan:define", usage=1),
    Command(
        "explain", "say what a service wants, what is, why that differs, and what to do", "explain:define", usage=1
    ),
    Command("top", "show what services do now: requests, latencies, cache, queue, replicas, cost", "top:define"),
    Command("completion", "print the script by which a shell completes `kubectl-llm`", "completion:define"),
    Command("keys", "make, replace, take back and list the API keys of a service", "keys:define"),
    Command(
        "upgrade-check", "show what the installed operator would change about running services", "upgrade:define_check"
    ),
    Command("upgrade", "agree to what upgrade-check shows: its replicas are replaced", "upgrade:define"),
)


def parser_of(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for a command line of these words: of the commands, the one that they name has its arguments."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="What people do with LLMServices, beside `kubectl` itself.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.set_defaults(run=lambda options, outside: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    meant = _meant(words)
    for command in COMMANDS:
        found = add_parser(commands, command.name, command.summary)
        if command.name == meant:
            command.define(found)
    return parser


def usage_status(words: Sequence[str]) -> int:
    """The exit status for a command line of these words that makes no sense."""
    meant = _meant(words)
    return next((command.usage for command in COMMANDS if command.name == meant), USAGE)


def _meant(words: Sequence[str]) -> str:
    """The command that a command line names; empty for none."""
    return next((word for word in words if not word.startswith("-")), "")
