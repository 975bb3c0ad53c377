"""The agent's lines in the log: what has changed, never the same twice in a row."""

from __future__ import annotations

from llmservice_runtime.launcher import launcher


class DedupLogger:
    """Remembers what it said last."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, text: str) -> None:
        """One line, unless it was the last one."""
        if text != self._last:
            self._last = text
            launcher.say(text)
