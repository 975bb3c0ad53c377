"""`kubectl llm models`: the models of the catalogue that services of a namespace may use, whether they fit free GPUs,
and what those cost. Nothing is written."""

from __future__ import annotations

import argparse

from llmservice_operator.cli.parsing import give_examples, make_command
from llmservice_operator.cli.system import System


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    give_examples(parser, "models", "models -n team-a -o json")
    make_command(parser, run, None)
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="output format (default: %(default)s)"
    )


def run(options: argparse.Namespace, outside: System) -> None:
    """Show the models once. Raises Failure."""
    from llmservice_operator.cli import kubeconfig
    from llmservice_operator.cli.models import offers, output
    from llmservice_operator.cli.terminal import give, give_screen, say

    cluster, namespace = kubeconfig.connect(options)
    found, notes = offers.find(cluster, namespace)
    for note in notes:
        say(note)
    if options.output == "json":
        give(output.as_json(namespace, found))
    elif found:
        give_screen(output.as_table(found))
    else:
        say(f"There is no model that services of namespace {namespace} may name in spec.model.ref.")
