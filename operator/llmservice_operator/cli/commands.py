"""The commands of `kubectl llm`, each with the module that defines its arguments.

Only the module of the given command is imported, which keeps help, completion and each start fast.
"""

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from llmservice_operator import __version__
from llmservice_operator.cli.parsing import PROGRAM, add_parser

USAGE = 2
"""Exit status of argparse for a usage error."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    name: str
    summary: str
    """What it does, for the help."""
    definition: str
    """MODULE:FUNCTION inside this package: it adds the arguments to the command's parser, and the function to run."""
    usage: int = USAGE
    """Exit status for a usage error."""

    def define(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments to the command's parser."""
        module, _, function = self.definition.partition(":")
        getattr(importlib.import_module(f"llmservice_operator.cli.{module}"), function)(parser)


COMMANDS = (
    Command("fit", "estimate whether a model fits a GPU, before anything runs", "fit:define"),
    Command("plan", "show what applying a manifest will do, before it is applied", "plan:define", usage=1),
    Command("models", "list the models of the catalogue: what fits the free GPUs, and what it costs", "models:define"),
    Command("explain", "explain why a service is not ready and how to fix it", "explain:define", usage=1),
    Command("try", "send one prompt to a service, and print the answer as it is generated", "try_prompt:define"),
    Command("bench", "measure a service at given request rates, and show which targets hold", "bench:define"),
    Command("top", "show the load of services: requests, latencies, cache, queue, replicas, cost", "top:define"),
    Command("completion", "print the shell completion script of `kubectl-llm`", "completion:define"),
    Command("keys", "create, rotate, revoke and list the API keys of a service", "keys:define"),
    Command(
        "upgrade-check", "show what the installed operator would change about running services", "upgrade:define_check"
    ),
    Command("upgrade", "approve the change that upgrade-check shows: its replicas are replaced", "upgrade:define"),
)


def parser_of(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for a command line of these words. Only the command that they name has its arguments."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Commands for LLMServices, in addition to those of `kubectl`.", allow_abbrev=False
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
    """The exit status for a usage error in a command line of these words."""
    meant = _meant(words)
    return next((command.usage for command in COMMANDS if command.name == meant), USAGE)


def _meant(words: Sequence[str]) -> str:
    """The command that a command line names; empty for none."""
    return next((word for word in words if not word.startswith("-")), "")
