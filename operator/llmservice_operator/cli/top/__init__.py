"""`kubectl llm top`: current load of services. The metrics come from the engines, through the API server, or from
Prometheus; nothing is written.

Rates and latencies are the difference of two samples. An unknown value is "-", never zero.
"""

from __future__ import annotations

import argparse
import sys

from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.parsing import add_service, give_examples, make_command
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import give, give_screen, say

SECONDS, SECONDS_OF_PROMETHEUS = 5, 60
_CLEAR = "\x1b[H\x1b[2J"


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    give_examples(parser, "top -A", "top chat --watch")
    make_command(parser, run, None)
    add_service(parser, "one service; absent: all", nargs="?")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="services of all namespaces")
    parser.add_argument("-w", "--watch", action="store_true", help="repeat until interrupted")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        help=f"time in seconds over which rates and latencies are measured, from 1 to 600 (default: {SECONDS}; with "
        f"--prometheus {SECONDS_OF_PROMETHEUS})",
    )
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        type=_url,
        help="read metrics from the Prometheus that scrapes the engines, not from the engines through the API server",
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="output format (default: %(default)s)"
    )


def run(options: argparse.Namespace, outside: System) -> None:
    """Show the load once, or repeatedly. Raises Failure."""
    from llmservice_operator.cli import kubeconfig

    cluster, namespace = kubeconfig.connect(options)
    if options.all_namespaces and options.service:
        raise Failure("a service is in one namespace: remove -A or the name of the service")
    look = _Look(cluster, None if options.all_namespaces else namespace, options, outside)
    try:
        look.once()
        while options.watch:
            look.once()
    except KeyboardInterrupt:
        if not options.watch:
            raise


class _Look:
    """Measures the same services repeatedly."""

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
        """Measure once, and show the result."""
        from llmservice_operator.cli.service import find
        from llmservice_operator.cli.top import output

        if not self._looks and not self._options.prometheus:
            self._engines.look()
            if self._options.output == "table" and sys.stderr.isatty():
                say(f"Measuring for {self._interval} s ...")
        if self._looks or not self._options.prometheus:
            self._outside.sleep(self._interval)
        self._looks += 1
        figures, silent = self._engines.look()
        found = find(self._cluster, self._namespace, self._options.service)
        for each in silent:
            say(f"No metrics: {each}.")
        if silent and not self._options.prometheus:
            say("If a NetworkPolicy blocks the API server from these pods, use Prometheus: --prometheus URL.")
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
