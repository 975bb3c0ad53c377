"""Why an engine ended, as the runtime writes it and the operator reads it.

One JSON object on one line in the container's termination message. It is always whole: never longer than what the
kubelet keeps, so a reader gets all of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_contract.foreign import read_json

_PARTS = ("detail", "message", "fix", "otherwise", "field", "cause")


class NotADiagnosis(ValueError):
    """The text is no diagnosis, but what something else left."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was wrong, and what to do about it."""

    cause: str
    """The name of one of `llmservice_contract.causes`."""
    message: str
    """What was wrong, with the numbers found; sentences for people."""
    field: str = ""
    """Path of the LLMService's field to change first; empty where no field helps."""
    fix: str = ""
    """What to do, with every field that may help; empty where the message says it or nobody knows."""
    detail: str = ""
    """vLLM's own words."""
    exitCode: int = 1  # noqa: N815 - a name of the JSON message
    otherwise: str = ""
    """What else it may be, as a part of a sentence; empty where it can be nothing else."""

    def to_json(self) -> str:
        """The line; where it would be too long, without the ends of its longest parts."""
        parts: dict[str, Any] = asdict(self)
        while len(line := json.dumps(parts, separators=(",", ":"))) >= TERMINATION_MESSAGE_BYTES:
            longest = max(_PARTS, key=lambda name: len(parts[name]))
            parts[longest] = parts[longest][: len(parts[longest]) * 3 // 4].rstrip("…") + "…"
        return line


def diagnosis_from_json(text: str) -> Diagnosis:
    """The diagnosis in `text`. Unknown keys are ignored, absent ones are empty. Raises NotADiagnosis."""
    data = read_json(text, most=4 * TERMINATION_MESSAGE_BYTES)
    if data is None:
        raise NotADiagnosis("the text is not JSON")
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in ("cause", "message")):
        raise NotADiagnosis("the text is not a JSON object with a cause and a message")
    code = data.get("exitCode")
    if type(code) is not int or not 0 <= code <= 255:
        code = 1
    optional = ("field", "fix", "detail", "otherwise")
    texts = {name: value for name in optional if isinstance(value := data.get(name), str)}
    return Diagnosis(data["cause"], data["message"], exitCode=code, **texts)
