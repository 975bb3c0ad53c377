"""`kubectl llm keys`: create, rotate, revoke and list the keys of a service.

A plain key is shown once, by the command that creates it, and only after the Secret has it; only its hash is stored.
A command that fails has changed nothing, or reports that the result is not known.
"""

import argparse

from llmservice_contract.keys import DEFAULT_TIER, TIER, Role
from llmservice_operator.cli.keys.commands import create, revoke, rotate, show_all
from llmservice_operator.cli.parsing import Commands, add_command, make_group


def define(parser: argparse.ArgumentParser) -> None:
    """The four commands."""
    commands = make_group(parser)
    _add_create(commands)
    _add_rotate(commands)
    taking = add_command(commands, "revoke", "revoke keys: requests with a revoked key get status 401", revoke)
    taking.add_argument("ids", metavar="ID", nargs="+", help="ids of the keys, as `list` shows them")
    listing = add_command(commands, "list", "show id, tier and role of each key", show_all)
    listing.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="output format (default: %(default)s)"
    )


def _add_create(commands: Commands) -> None:
    parser = add_command(commands, "create", "create a key and show it once", create)
    parser.add_argument(
        "--tier", type=_tier, default=DEFAULT_TIER, help="tier with the rate limits of the key (default: %(default)s)"
    )
    parser.add_argument(
        "--role",
        type=Role,
        choices=list(Role),
        default=Role.CLIENT,
        help="client: the OpenAI API, admin: all routes (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing, but print the entry for the Secret")
    _add_output(parser)


def _add_rotate(commands: Commands) -> None:
    parser = add_command(commands, "rotate", "create a key with the tier and role of another key", rotate)
    parser.add_argument("id", metavar="ID", help="id of the old key, which stays valid until it is revoked")
    parser.add_argument("--revoke-old", action="store_true", help="revoke the old key at the same time")
    _add_output(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", choices=("key", "json"), default="key", help="what to print (default: %(default)s)"
    )


def _tier(text: str) -> str:
    if not TIER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a tier: lower-case letters, digits and '-'")
    return text
