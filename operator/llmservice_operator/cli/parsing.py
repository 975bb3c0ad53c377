"""What the command lines of all commands share: whom they are about, and how help is shown."""

import argparse
import re
from collections.abc import Callable
from typing import TypeAlias

from llmservice_operator.cli.outside import Outside

PROGRAM = "kubectl llm"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run = Callable[[argparse.Namespace, Outside], None]

_SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def add_group(groups: Commands, name: str, summary: str) -> Commands:
    """A group of commands; by itself it prints its help."""
    parser = groups.add_parser(name, help=summary, description=f"{summary}.", allow_abbrev=False)
    parser.set_defaults(run=lambda options, outside: parser.print_help())
    return parser.add_subparsers(title="commands", metavar="COMMAND")


def add_command(
    commands: Commands, name: str, summary: str, run: Run, about: str | None = "name of the LLMService"
) -> argparse.ArgumentParser:
    """One command about one service, unless ``about`` is None, with the options that say where that is."""
    parser = commands.add_parser(name, help=summary, description=f"{summary}.", allow_abbrev=False)
    parser.set_defaults(run=run)
    if about is not None:
        parser.add_argument("service", metavar="SERVICE", type=service, help=about)
    parser.add_argument("-n", "--namespace", type=namespace, help="its namespace; absent: that of the context")
    parser.add_argument("--context", help="context of the kubeconfig; absent: the current one")
    parser.add_argument("--kubeconfig", help="path of the kubeconfig; absent: $KUBECONFIG, else ~/.kube/config")
    return parser


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
