"""One verdict: what a check found, for a condition."""

import dataclasses
from typing import Literal

Status = Literal["True", "False", "Unknown"]

LONGEST_MESSAGE = 2048


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Status, reason (see ``reasons``) and message of a condition; the message is clipped to 2048 characters."""

    status: Status
    reason: str
    message: str

    def __post_init__(self) -> None:
        if len(self.message) > LONGEST_MESSAGE:
            object.__setattr__(self, "message", self.message[: LONGEST_MESSAGE - 1] + "…")

    @property
    def good(self) -> bool:
        """Whether the status is True."""
        return self.status == "True"


def no(reason: str, message: str) -> Verdict:
    """A verdict with status False."""
    return Verdict("False", reason, message)


def unknown(reason: str, message: str) -> Verdict:
    """A verdict with status Unknown."""
    return Verdict("Unknown", reason, message)


def yes(reason: str, message: str) -> Verdict:
    """A verdict with status True."""
    return Verdict("True", reason, message)
