"""`kubectl llm explain`: why a service is not ready and how to fix it, on one screen.

The operator's findings come first, followed by what the user may read of the cluster. Objects that can't be read are
listed, and never end the command. Exit status: 0 the service is Ready, 2 it is not, 1 the command failed or has a
usage error.
"""

from __future__ import annotations

import argparse

from llmservice_operator.cli.parsing import give_examples, make_command
from llmservice_operator.cli.system import System

READY, NOT_READY = 0, 2


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    give_examples(parser, "explain chat -n team-a", "explain chat -o json")
    make_command(parser, run)
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="output format (default: %(default)s)"
    )


def run(options: argparse.Namespace, outside: System) -> int:
    """Explain one service. Raises Failure if the service itself can't be read."""
    from llmservice_operator.cli import kubeconfig
    from llmservice_operator.cli.explain import output, report, snapshot
    from llmservice_operator.cli.terminal import give, give_screen, is_coloured, width

    cluster, namespace = kubeconfig.connect(options)
    seen = snapshot.gather(cluster, namespace, options.service)
    made = report.make(seen, outside.now())
    if options.output == "json":
        from llmservice_operator.cli import wire
        from llmservice_operator.cli.explain.document import document

        give(wire.text(document(made)))
    else:
        give_screen(output.screen(made, width=width(output.WIDTH), coloured=is_coloured()))
    return READY if made.ready else NOT_READY
