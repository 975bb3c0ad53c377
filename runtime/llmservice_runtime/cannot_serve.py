"""Errors of the runtime itself about what it should serve, reported in the same form as the causes of an exit."""

from __future__ import annotations

from llmservice_contract import causes
from llmservice_contract.causes import Cause
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.finding import Finding

FIXES = {
    (causes.WRONG_CHECKPOINT, "spec.quantization.method"): "Set spec.quantization.method to auto, which takes the "
    "checkpoint as it is, or choose another checkpoint in spec.model.source."
}
"""Fixes by field, if the message does not contain the fix."""


class CannotServe(Exception):
    """The settings or the model can't be served; the text says why and what to do.

    `field` is the path of the LLMService field to change first; empty if there is none.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field

    def diagnosis(self, cause: Cause) -> Diagnosis:
        """The diagnosis of this error."""
        fix = FIXES.get((cause, self.field), f"Change {self.field} as the message says." if self.field else "")
        return Diagnosis(Finding(cause.name, str(self), field=self.field, fix=fix), cause.exit_code)
