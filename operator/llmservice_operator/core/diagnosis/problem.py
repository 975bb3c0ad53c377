"""Why a pod does not serve: a class for decisions, and a finding for people."""

import dataclasses
import datetime

from llmservice_operator.core.finding import Finding


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why a pod does not serve."""

    kind: str
    """The class of ``reason`` by which decisions are made; see ``reasons.Reason.category``."""
    finding: Finding
    changes_at: datetime.datetime | None = None
    """When the message changes by time alone; None where it does not."""

    @property
    def reason(self) -> str:
        """The cause, which is told."""
        return self.finding.reason

    @property
    def message(self) -> str:
        """What is the matter and what to do, for people."""
        return self.finding.message


def problem(
    kind: str,
    subject: str,
    what: str,
    *,
    cause: str = "",
    otherwise: str = "",
    field: str = "",
    fix: str = "",
    changes_at: datetime.datetime | None = None,
) -> Problem:
    """A problem of the pod ``subject``; without a ``cause`` its class is what is told."""
    return Problem(kind, Finding(cause or kind, what, subject, otherwise, field, fix), changes_at)
