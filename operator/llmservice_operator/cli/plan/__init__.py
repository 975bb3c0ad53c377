"""`kubectl llm plan`: what applying a manifest will do to the services in it, before it is applied.

Nothing is written: it sends only dry runs to the API server. Exit status: 0 nothing would change, 2 something would
change, 3 something would change and can't succeed; 1 the command failed or has a usage error.
"""

from __future__ import annotations

import argparse

from llmservice_operator.cli.completion import names
from llmservice_operator.cli.parsing import completed, give_examples, make_command
from llmservice_operator.cli.system import System

NOTHING, CHANGE, FAILS = 0, 2, 3
"""Exit statuses."""


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    give_examples(parser, "plan -f chat.yaml", "plan -f chat.yaml --against old.yaml --spare 1 -o markdown")
    make_command(parser, run, None)
    files = names.Files()
    manifests = parser.add_argument(
        "-f",
        "--filename",
        required=True,
        action="append",
        metavar="FILE",
        help="manifest or directory of manifests; - for stdin; may be repeated",
    )
    completed(manifests, files)
    old = parser.add_argument(
        "--against", metavar="FILE", help="manifest of the running services, to plan without a cluster; - for stdin"
    )
    completed(old, files)
    parser.add_argument(
        "--spare",
        type=_count,
        metavar="N",
        help="assume N free devices in addition to those that the service holds; absent: the free devices of the nodes",
    )
    for option, what in (
        ("--model-config", "config.json of the new model, for the memory estimate if the operator has not read it yet"),
        ("--draft-model-config", "config.json of the draft model (spec.engine.speculative.model), for the estimate"),
        ("--model-index", "its model.safetensors.index.json"),
        ("--prices", "with --against: YAML with the platform's prices, in the format of the chart value cost"),
    ):
        completed(parser.add_argument(option, metavar="FILE", help=what), files)
    parser.add_argument(
        "--field-manager",
        metavar="NAME",
        help="field manager of the server-side apply, such as argocd-controller; absent: the last one",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "markdown"),
        default="text",
        help="output format (default: %(default)s)",
    )


def run(options: argparse.Namespace, outside: System) -> int:
    """Print the plan. Returns the exit status. Raises Failure."""
    from llmservice_operator.cli.plan import command

    return command.run(options, outside)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of devices")
    return int(text)
