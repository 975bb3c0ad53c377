"""What the runtime itself refuses, in the shape in which every end is told."""

from __future__ import annotations

import re

from llmservice_contract.causes import Cause
from llmservice_contract.diagnosis import Diagnosis
from llmservice_contract.environment import BY_NAME

VARIABLE = re.compile(r"\b[A-Z][A-Z_]+\b")


def refused(error: Exception, cause: Cause) -> Diagnosis:
    """The diagnosis of `error`, whose text says what to do; its field is that of the first variable in the text."""
    text = str(error)
    fields = (BY_NAME[name].field for name in VARIABLE.findall(text) if name in BY_NAME)
    field = next((field for field in fields if field), None)
    return Diagnosis(cause.name, text, field=field or "", exitCode=cause.exit_code)
