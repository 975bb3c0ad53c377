"""`python -m llmservice_runtime`: the entry point of the engine container.

The kernel drops a signal to PID 1 without a handler, so the handlers of stop signals are installed before slow imports.
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
    """Exits at once, because there is no child yet."""
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
