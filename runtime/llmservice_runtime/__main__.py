"""`python -m llmservice_runtime`: the entry point of the engine container, which can be stopped from its first moment.

The kernel drops a signal to PID 1 that has no handler for it, so the stop signals get theirs before anything that takes
time is imported or read.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Runs the subcommand and returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    from llmservice_runtime import subcommands

    return subcommands.main()


def _end(number: int, _frame: FrameType | None) -> None:
    """Ends the process at once: there is no child yet, and nothing to finish."""
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
