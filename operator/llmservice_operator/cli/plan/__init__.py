"""`kubectl llm plan`: what applying a manifest will do to the services in it, before it is applied.

Nothing is written: the API server is asked by dry runs alone. Exit status: 0 nothing would change, 2 something would,
3 something would and can't succeed; 1 the command failed, a wrong command line included.
"""

from __future__ import annotations

import argparse

from llmservice_operator.cli.completion import names
from llmservice_operator.cli.parsing import completed, make_command
from llmservice_operator.cli.system import System

NOTHING, CHANGE, FAILS = 0, 2, 3
"""Exit statuses."""


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    make_command(parser, run, None)
    files = names.Files()
    manifests = parser.add_argument(
        "-f",
        "--filename",
        required=True,
        action="append",
        metavar="FILE",
        help="manifest, or a directory of such; - for stdin; may be given again",
    )
    completed(manifests, files)
    old = parser.add_argument(
        "--against", metavar="FILE", help="manifest of what runs: then no cluster is asked; - for stdin"
    )
    completed(old, files)
    parser.add_argument(
        "--spare",
        type=_count,
        metavar="N",
        help="count on so many free devices beside those that the service holds; absent: as the nodes have them",
    )
    for option, what in (
        ("--model-config", "config.json of the model to come: says whether it fits, where that was not read before"),
        ("--model-index", "its model.safetensors.index.json"),
        ("--prices", "with --against: YAML with the platform's prices, as the chart value cost has them"),
    ):
        completed(parser.add_argument(option, metavar="FILE", help=what), files)
    parser.add_argument(
        "--field-manager",
        metavar="NAME",
        help="who applies it server-side, such as argocd-controller; absent: who did it last",
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "markdown"), default="text", help="form (default: %(default)s)"
    )


def run(options: argparse.Namespace, outside: System) -> int:
    """Foresee and tell. Returns the exit status. Raises Failure."""
    from llmservice_operator.cli.plan import command

    return command.run(options, outside)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of devices")
    return int(text)
