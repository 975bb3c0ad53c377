"""`kubectl llm top`: what services do now. The numbers come from the engines themselves, through the API server, or
from a Prometheus; nothing is written anywhere.

A figure is of the last seconds: the difference of two looks. What nobody told is "-", never zero.
"""

from __future__ import annotations

import argparse
import sys

from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.parsing import add_service, make_command
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import give, give_screen, say

SECONDS, SECONDS_OF_PROMETHEUS = 5, 60
_CLEAR = "\x1b[H\x1b[2J"


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    make_command(parser, run, None)
    add_service(parser, "one service; absent: all", nargs="?")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="those of all namespaces")
    parser.add_argument("-w", "--watch", action="store_true", help="go on until it is interrupted")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        help=f"what figures are of: the last so many seconds, from 1 to 600 (default: {SECONDS}; with --prometheus "
        f"{SECONDS_OF_PROMETHEUS})",
    )
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        type=_url,
        help="ask the Prometheus that scrapes the engines, and not the engines through the API server",
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="form (default: %(default)s)"
    )


def run(options: argparse.Namespace, outside: System) -> None:
    """Show it once, or on and on. Raises Failure."""
    from llmservice_operator.cli import kubeconfig

    cluster, namespace = kubeconfig.connect(options)
    if options.all_namespaces and options.service:
        raise Failure("a service is in one namespace: take -A out, or the service's name")
    look = _Look(cluster, None if options.all_namespaces else namespace, options, outside)
    try:
        look.once()
        while options.watch:
            look.once()
    except KeyboardInterrupt:
        if not options.watch:
            raise


class _Look:
    """Looks at the same services, again and again."""

    def __init__(
        self, cluster: KubernetesClient, namespace: str | None, options: argparse.Namespace, outside: System
    ) -> None:
        from llmservice_operator.cli.top.engines import Engines
        from llmservice_operator.cli.top.prometheus import Prometheus

        self._cluster = cluster
        self._namespace = namespace
        self._options = options
        self._outside = outside
        self._interval = options.interval or (SECONDS_OF_PROMETHEUS if options.prometheus else SECONDS)
        self._engines: Engines | Prometheus
        if options.prometheus:
            self._engines = Prometheus(options.prometheus, namespace, options.service or "", self._interval)
        else:
            self._engines = Engines(cluster, namespace, options.service or "", outside)
        self._looks = 0

    def once(self) -> None:
        """Measure, and show."""
        from llmservice_operator.cli.top import output
        from llmservice_operator.cli.top.services import find

        if not self._looks and not self._options.prometheus:
            self._engines.look()
            if self._options.output == "table" and sys.stderr.isatty():
                say(f"Two looks, {self._interval} s apart ...")
        if self._looks or not self._options.prometheus:
            self._outside.sleep(self._interval)
        self._looks += 1
        figures, silent = self._engines.look()
        found = find(self._cluster, self._namespace, self._options.service)
        for each in silent:
            say(f"Without numbers: {each}.")
        if silent and not self._options.prometheus:
            say("If a NetworkPolicy keeps the API server from these pods, ask Prometheus: --prometheus URL.")
        rows = [output.Row.of(service, figures.get(output.key(service))) for service in found]
        if self._options.output == "json":
            from llmservice_operator.cli import wire

            found_now = wire.Top(items=[row.part(self._interval) for row in rows])
            give(wire.text(found_now, indent=None if self._options.watch else 2))
        elif rows:
            clear = _CLEAR if self._options.watch and sys.stdout.isatty() else ""
            again = "\n" if self._options.watch and self._looks > 1 and not clear else ""
            give_screen(clear + again + output.as_table(rows, everywhere=self._namespace is None))
        else:
            where = f"namespace {self._namespace}" if self._namespace else "any namespace"
            say(f"There is no LLMService in {where}.")


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1 to 600")
    return int(text)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or any(letter.isspace() or letter in "?#" for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL such as http://localhost:9090")
    return text.rstrip("/")
