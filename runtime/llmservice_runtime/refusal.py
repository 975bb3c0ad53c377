"""What the runtime itself refuses, in the form in which every exit is reported."""

from __future__ import annotations

import dataclasses

from llmservice_contract import causes
from llmservice_contract.causes import Cause
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.finding import Finding
from llmservice_runtime.cannot_serve import CannotServe
from llmservice_runtime.model.unreadable import ModelUnreadable

FIXES = {
    (causes.WRONG_CHECKPOINT, "spec.quantization.method"): "Set spec.quantization.method to auto, which takes the "
    "checkpoint as it is, or choose another checkpoint in spec.model.source."
}
"""What to do for a cause that lies in a field, where there is more to say than the message does."""


def refused(error: CannotServe, cause: Cause) -> Diagnosis:
    """The diagnosis of `error`, which knows its field, and whose text says what to do."""
    if isinstance(error, ModelUnreadable):
        return Diagnosis(dataclasses.replace(error.finding, reason=cause.name), cause.exit_code)
    fix = FIXES.get((cause, error.field), f"Change {error.field} as the message says." if error.field else "")
    return Diagnosis(Finding(cause.name, str(error), field=error.field, fix=fix), cause.exit_code)
