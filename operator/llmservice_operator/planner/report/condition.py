"""The verdict of a check: status, reason, message and findings of a condition."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from llmservice_contract.finding import Finding
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.report.finding import sentence

Status = Literal["True", "False", "Unknown"]

LONGEST_MESSAGE = 2048


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Status, reason (see ``reasons``) and message of a condition; the message is clipped to 2048 characters."""

    status: Status
    reason: str
    message: str
    kind: str = ""
    """The category of the reason, by which decisions are made. The reason itself if it has no category."""
    findings: tuple[Finding, ...] = ()
    """The causes of the verdict."""

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", self.reason)
        if len(self.message) > LONGEST_MESSAGE:
            object.__setattr__(self, "message", self.message[: LONGEST_MESSAGE - 1] + "…")

    @property
    def good(self) -> bool:
        """Whether the status is ``True``."""
        return self.status == "True"


def no(
    reason: str,
    message: str,
    *,
    field: str = "",
    fix: str = "",
    alternative: str = "",
    numbers: Mapping[str, str] | None = None,
    kind: str = "",
) -> Verdict:
    """A verdict with status False. It has a finding, unless its reason is an expected one. ``field`` is the first field
    to change, ``alternative`` another possible cause, ``numbers`` the numbers of the message."""
    finding = Finding(reason, message, numbers=numbers or {}, alternative=alternative, field=field, fix=fix)
    made = of(finding, kind)
    return dataclasses.replace(made, findings=()) if reasons.of(made.kind).expected else made


def of(finding: Finding, kind: str = "") -> Verdict:
    """A verdict with status False for one finding. ``kind`` is its category."""
    return Verdict("False", finding.reason, sentence(finding), kind, (finding,))


def unknown(reason: str, message: str) -> Verdict:
    """A verdict with status Unknown."""
    return Verdict("Unknown", reason, message)


def yes(reason: str, message: str) -> Verdict:
    """A verdict with status True."""
    return Verdict("True", reason, message)
