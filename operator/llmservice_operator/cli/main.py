"""The entry point: turns failures into messages and exit codes."""

import sys

from llmservice_operator.cli import completion
from llmservice_operator.cli.commands import USAGE, parser_of, usage_status
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.parsing import PROGRAM
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import mute, say

INTERRUPTED = 130


def main(arguments: list[str] | None = None, outside: System | None = None) -> int:
    """Run one command; returns the exit status. Usage errors raise SystemExit, with 2 or the command's own status."""
    if arguments is None and completion.asked():
        completion.answer()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        options = parser_of(words).parse_args(words)
    except SystemExit as left:
        raise SystemExit(usage_status(words) if left.code == USAGE else left.code) from None
    try:
        status: int | None = options.run(options, outside or System())
        if sys.stdout is not None:
            sys.stdout.flush()
    except Failure as failure:
        say(f"{PROGRAM}: {failure}".rstrip(".") + ".")
        return 1
    except BrokenPipeError:
        mute()
        return 1
    except KeyboardInterrupt:
        say(f"{PROGRAM}: interrupted. The command may have been executed in part.")
        return INTERRUPTED
    except Exception as error:
        say(f"{PROGRAM}: unexpected error, please report it: {type(error).__name__}: {error}")
        return 1
    return status or 0
