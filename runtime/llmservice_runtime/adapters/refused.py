"""The error of all functions that fetch or check an adapter."""

from __future__ import annotations

NOT_FOUND = "AdapterNotFound"
UNREACHABLE = "AdapterUnreachable"
TOO_LARGE = "AdapterTooLarge"
UNSAFE = "AdapterUnsafe"
INVALID = "AdapterInvalid"
RANK_TOO_LARGE = "AdapterRankTooLarge"
UNSUPPORTED = "AdapterUnsupported"
DOES_NOT_FIT = "AdapterDoesNotFit"


class AdapterRefused(Exception):
    """The adapter can't be served. `reason` is one of the words above; the text is a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
