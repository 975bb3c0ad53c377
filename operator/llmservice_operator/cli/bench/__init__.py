"""`kubectl llm bench`: a bounded load on a service at given rates, and which latency targets hold at which rate.

Requests arrive as a Poisson process and do not wait for each other. The load is real: it competes with other clients of
the service, and an autoscaler reacts to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from llmservice_operator.cli.inference import api_key
from llmservice_operator.cli.parsing import give_examples, make_command
from llmservice_operator.cli.system import System

RATES = (1.0, 2.0, 4.0, 8.0)
MOST_RATES, HIGHEST_RATE = 16, 200.0
MOST_SECONDS = 600
MOST_IN_FLIGHT = 512


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    give_examples(parser, "bench chat --rates 1,2,4", "bench chat --target timeToFirstToken.p99=500ms --exit-code")
    make_command(parser, run)
    parser.add_argument(
        "--rates",
        type=_rates,
        default=RATES,
        metavar="R,R,...",
        help="requests per second, one rate after the other, the lowest first (default: 1,2,4,8)",
    )
    parser.add_argument(
        "--seconds",
        type=_whole(MOST_SECONDS),
        metavar="N",
        help="how long each rate lasts; absent: 30 to 120 seconds, as long as the targets' percentiles need",
    )
    parser.add_argument(
        "--prompt-tokens",
        type=_whole(32_768),
        default=128,
        metavar="N",
        help="tokens of each prompt, about (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens",
        type=_whole(4096),
        default=128,
        metavar="N",
        help="tokens of each answer (default: %(default)s)",
    )
    parser.add_argument(
        "--target",
        type=_target,
        action="append",
        dest="targets",
        metavar="LATENCY.PERCENTILE=TIME",
        help="a target such as timeToFirstToken.p99=500ms; may be repeated; absent: spec.scaling.targets",
    )
    parser.add_argument(
        "--max-in-flight",
        type=_whole(MOST_IN_FLIGHT),
        default=128,
        metavar="N",
        help="requests at the same time; a request beyond them is not sent and counts as failed (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_whole(MOST_SECONDS),
        default=60,
        metavar="SECONDS",
        help="a request without a complete answer by then has failed (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of prompts and arrivals; absent: each run has others")
    parser.add_argument(
        "--url", type=_url, metavar="URL", help="send requests there; absent: through the API server to the service"
    )
    api_key.define(parser)
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="output format (default: %(default)s)"
    )
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 3 if a target is exceeded at one of the rates, 4 if unknown"
    )


def run(options: argparse.Namespace, outside: System) -> int:
    """Measure each rate, and print the figures. Raises Failure."""
    from llmservice_operator.cli.bench import command

    return command.run(options)


def _rates(text: str) -> tuple[float, ...]:
    try:
        found = sorted({float(each) for each in text.split(",")})
    except ValueError:
        found = []
    if not found or len(found) > MOST_RATES or not all(0.01 <= each <= HIGHEST_RATE for each in found):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of 1 to {MOST_RATES} rates from 0.01 to {HIGHEST_RATE:g}, such as 1,2,4"
        )
    return tuple(found)


def _whole(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
        return int(text)

    return parse


def _target(text: str) -> object:
    from llmservice_operator.cli.bench.targets import parse

    return parse(text)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or any(letter.isspace() or letter in "?#" for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL such as http://localhost:8000")
    return text.rstrip("/").removesuffix("/v1")
