"""What the runtime itself refuses to serve, and the form in which that is reported as every exit is."""

from __future__ import annotations

from llmservice_contract import causes
from llmservice_contract.causes import Cause
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.finding import Finding

FIXES = {
    (causes.WRONG_CHECKPOINT, "spec.quantization.method"): "Set spec.quantization.method to auto, which takes the "
    "checkpoint as it is, or choose another checkpoint in spec.model.source."
}
"""What to do for a cause that lies in a field, where there is more to say than the message does."""


class CannotServe(Exception):
    """It can't be served; the text says why and what to do. `field` is the path of the LLMService's field to change
    first; empty if no field helps."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field

    def diagnosis(self, cause: Cause) -> Diagnosis:
        """What is reported of it."""
        fix = FIXES.get((cause, self.field), f"Change {self.field} as the message says." if self.field else "")
        return Diagnosis(Finding(cause.name, str(self), field=self.field, fix=fix), cause.exit_code)
