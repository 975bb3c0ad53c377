"""`kubectl llm try`: one prompt to a service, and its answer as it is generated.

The request goes through the API server, so that it needs no other network path to the cluster.
"""

from __future__ import annotations

import argparse

from llmservice_operator.cli.inference import api_key
from llmservice_operator.cli.parsing import give_examples, make_command
from llmservice_operator.cli.system import System

MAX_TOKENS, MOST_TOKENS = 256, 32_768
SECONDS, MOST_SECONDS = 120, 3600


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    give_examples(parser, 'try chat "Name three rivers."', "try chat - --max-tokens 1000 < prompt.txt")
    make_command(parser, run)
    parser.add_argument("prompt", metavar="PROMPT", help="the prompt; - for stdin")
    parser.add_argument("--system", metavar="TEXT", help="the system message of the chat")
    api_key.define(parser)
    parser.add_argument(
        "--max-tokens",
        type=_tokens,
        default=MAX_TOKENS,
        metavar="N",
        help="most tokens of the answer, from 1 to 32768 (default: %(default)s)",
    )
    parser.add_argument(
        "--completion",
        action="store_true",
        help="send the prompt as it is, for the model to continue; absent: as a chat message, if the model has a chat "
        "template",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=SECONDS,
        metavar="SECONDS",
        help="most seconds until the answer is complete, from 1 to 3600 (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default="text",
        help="output format; text is printed as it arrives (default: %(default)s)",
    )


def run(options: argparse.Namespace, outside: System) -> None:
    """Print the answer. Raises Failure."""
    from llmservice_operator.cli.try_prompt import command

    command.run(options)


def _tokens(text: str) -> int:
    return _whole(text, MOST_TOKENS, "a number of tokens")


def _seconds(text: str) -> int:
    return _whole(text, MOST_SECONDS, "a number of seconds")


def _whole(text: str, most: int, what: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} from 1 to {most}")
    return int(text)
