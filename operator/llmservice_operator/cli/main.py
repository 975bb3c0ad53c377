"""The command line as a whole: its groups of commands, and how failures become sentences and exit codes."""

import argparse
import sys

from llmservice_operator import __version__
from llmservice_operator.cli import keys, upgrade
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.outside import Outside
from llmservice_operator.cli.parsing import PROGRAM, add_group
from llmservice_operator.cli.terminal import mute, say

GROUPS = (keys,)
"""Modules with one group of commands each: its ``NAME``, its ``SUMMARY``, and ``add_commands``."""
INTERRUPTED = 130


def main(arguments: list[str] | None = None, outside: Outside | None = None) -> int:
    """Run one command; returns the exit status. Usage errors leave by SystemExit(2)."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options, outside or Outside())
        sys.stdout.flush()
    except Failure as failure:
        say(f"{PROGRAM}: {failure}".rstrip(".") + ".")
        return 1
    except BrokenPipeError:
        mute()
        return 1
    except KeyboardInterrupt:
        say(f"{PROGRAM}: interrupted. What was asked may have been done in part.")
        return INTERRUPTED
    except Exception as error:
        say(f"{PROGRAM}: this should not happen, please report it: {type(error).__name__}: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="What people do with LLMServices, beside `kubectl` itself.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.set_defaults(run=lambda options, outside: parser.print_help())
    groups = parser.add_subparsers(title="commands", metavar="COMMAND")
    for group in GROUPS:
        group.add_commands(add_group(groups, group.NAME, group.SUMMARY))
    upgrade.add_commands(groups)
    return parser
