"""Why a pod does not serve: a category for decisions and a finding for people."""

import dataclasses
import datetime
from collections.abc import Mapping

from llmservice_contract.finding import Finding
from llmservice_operator.planner.report.finding import sentence


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why a pod does not serve."""

    kind: str
    """The category of ``reason``, by which decisions are made; see ``reasons.Reason.category``."""
    finding: Finding
    changes_at: datetime.datetime | None = None
    """When the message changes because time passes; None if it does not."""

    @property
    def reason(self) -> str:
        """The reason that is reported."""
        return self.finding.reason

    @property
    def message(self) -> str:
        """What is wrong and what to do, for people."""
        return sentence(self.finding)


def problem(
    kind: str,
    subject: str,
    message: str,
    *,
    cause: str = "",
    numbers: Mapping[str, str] | None = None,
    alternative: str = "",
    field: str = "",
    fix: str = "",
    changes_at: datetime.datetime | None = None,
) -> Problem:
    """A problem of the pod ``subject``. Without a ``cause``, the category is the reported reason."""
    finding = Finding(
        cause or kind, message, subject, numbers=numbers or {}, alternative=alternative, field=field, fix=fix
    )
    return Problem(kind, finding, changes_at)
