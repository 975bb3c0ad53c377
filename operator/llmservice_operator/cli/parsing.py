"""Arguments that all commands share, and how help is shown."""

import argparse
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from llmservice_operator.cli.completion import names
from llmservice_operator.cli.system import System

PROGRAM = "kubectl llm"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run = Callable[[argparse.Namespace, System], int | None]
"""Runs a command; returns the exit status, None for 0."""

Completer = Callable[..., Iterable[str]]
"""A completer of argcomplete: gets the typed prefix, and the arguments parsed so far by keyword."""

_SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def add_parser(commands: Commands, name: str, summary: str) -> argparse.ArgumentParser:
    """Add a command without arguments."""
    return commands.add_parser(name, help=summary, description=f"{summary}.", allow_abbrev=False)


def give_examples(parser: argparse.ArgumentParser, *lines: str) -> None:
    """Show command lines at the end of the help, each as one writes it after `kubectl llm`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["examples:", *(f"  {PROGRAM} {line}" for line in lines)])


def make_group(parser: argparse.ArgumentParser) -> Commands:
    """Make it a group of commands, which prints its help if no command is given."""
    parser.set_defaults(run=lambda options, outside: parser.print_help())
    return parser.add_subparsers(title="commands", metavar="COMMAND")


def add_command(
    commands: Commands, name: str, summary: str, run: Run, about: str | None = "name of the LLMService"
) -> argparse.ArgumentParser:
    """Add one command to a group; see ``make_command``."""
    parser = add_parser(commands, name, summary)
    make_command(parser, run, about)
    return parser


def make_command(parser: argparse.ArgumentParser, run: Run, about: str | None = "name of the LLMService") -> None:
    """Make it a command about one service, unless ``about`` is None, with the options for cluster and namespace."""
    parser.set_defaults(run=run)
    if about is not None:
        add_service(parser, about)
    inside = parser.add_argument("-n", "--namespace", type=namespace, help="namespace; absent: that of the context")
    completed(inside, names.namespaces)
    completed(
        parser.add_argument("--context", help="context of the kubeconfig; absent: the current context"), names.contexts
    )
    path = parser.add_argument("--kubeconfig", help="path of the kubeconfig; absent: $KUBECONFIG or ~/.kube/config")
    completed(path, names.Files())


def add_service(parser: argparse.ArgumentParser, about: str, **more: Any) -> None:
    """The argument that names a service."""
    completed(parser.add_argument("service", metavar="SERVICE", type=service, help=about, **more), names.services)


def completed(argument: argparse.Action, by: Completer) -> None:
    """Let a shell complete the values of an argument."""
    argument.completer = by  # type: ignore[attr-defined]


def service(text: str) -> str:
    """The name of a service. Raises argparse.ArgumentTypeError."""
    return _matching(_SERVICE, text, "the name of an LLMService: lower-case letters, digits and '-'")


def namespace(text: str) -> str:
    """The name of a namespace. Raises argparse.ArgumentTypeError."""
    return _matching(_NAMESPACE, text, "the name of a namespace: lower-case letters, digits and '-'")


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return text
