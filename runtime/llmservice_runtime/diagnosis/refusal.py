"""What the runtime itself refuses, in the shape in which every end is told."""

from __future__ import annotations

import dataclasses
import re

from llmservice_contract import causes
from llmservice_contract.causes import Cause
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.engine_settings import BY_VARIABLE
from llmservice_contract.finding import Finding
from llmservice_runtime.unreadable import ModelUnreadable

FIXES = {
    (causes.WRONG_CHECKPOINT, "spec.quantization.method"): "Set spec.quantization.method to auto, which takes the "
    "checkpoint as it is, or choose another checkpoint in spec.model.source."
}
"""What to do for a cause that lies in a field, where there is more to say than the message does."""
VARIABLE = re.compile(r"\b[A-Z][A-Z_]+\b")


def refused(error: Exception, cause: Cause) -> Diagnosis:
    """The diagnosis of `error`, whose text says what to do; its field is that of the first variable in the text."""
    text = str(error)
    if isinstance(error, ModelUnreadable):
        return Diagnosis(dataclasses.replace(error.finding, reason=cause.name), cause.exit_code)
    fields = (BY_VARIABLE[name].field for name in VARIABLE.findall(text) if name in BY_VARIABLE)
    field = next((field for field in fields if field), "")
    fix = FIXES.get((cause, field), f"Change {field} as the message says." if field else "")
    return Diagnosis(Finding(cause.name, text, field=field, fix=fix), cause.exit_code)
