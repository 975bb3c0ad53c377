"""What a model inspection reports through its container's termination message.

One JSON object: either the facts of the model or an error. Its text never exceeds what the kubelet keeps,
so a reader gets all of it or nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_contract.foreign import read_json

MOST_MESSAGE = 4 * TERMINATION_MESSAGE_BYTES
"""Characters of a termination message that are read."""
_MORE = ("field", "fix", "otherwise")


class NotAnInspection(ValueError):
    """The text is not the message of an inspection."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the operator has to know of a model before it starts it; None where the model does not say.

    `quantization` is the method the checkpoint is stored in ("fp8", "awq", "gptq", "compressed-tensors", …),
    None for a checkpoint of 16 or 32 bits. `weightBytes` is the size of its safetensors files. `configuration` is what
    memory depends on of config.json, see `llmservice_contract.configuration`; None where that is too much. `revision`
    is the commit of a hub's repository that all this is of. `remoteCode` is True for a model that can be loaded only
    with code of its own repository.
    """

    architecture: str | None = None
    attentionHeads: int | None = None  # noqa: N815 - these are names of the JSON message
    keyValueHeads: int | None = None  # noqa: N815
    layers: int | None = None
    maxContextLength: int | None = None  # noqa: N815
    quantization: str | None = None
    weightBytes: int | None = None  # noqa: N815
    configuration: str | None = None
    revision: str | None = None
    remoteCode: bool | None = None  # noqa: N815

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class InspectionFailure:
    """Why a model could not be inspected: `error` is a CamelCase reason, `message` a sentence for people; the others
    are as in a `Diagnosis`."""

    error: str
    message: str
    field: str = ""
    fix: str = ""
    otherwise: str = ""

    def to_json(self) -> str:
        message = self.message
        more = {name: text for name in _MORE if (text := getattr(self, name))}
        while True:
            text = json.dumps({"error": self.error, "message": message, **more}, separators=(",", ":"))
            if len(text) < TERMINATION_MESSAGE_BYTES:
                return text
            message = message[: len(message) * 3 // 4] + "…"


Inspection = ModelFacts | InspectionFailure


def inspection_from_json(text: str) -> Inspection:
    """The message in `text`. Unknown keys are ignored. Raises NotAnInspection."""
    data = read_json(text, most=MOST_MESSAGE)
    if data is None:
        raise NotAnInspection("the termination message is not JSON")
    if not isinstance(data, dict):
        raise NotAnInspection("the termination message is not a JSON object")
    if "error" in data:
        more = {name: str(data[name]) for name in _MORE if data.get(name)}
        return InspectionFailure(str(data["error"]), str(data.get("message", "")), **more)
    return ModelFacts(**{field.name: _typed(field.name, data.get(field.name)) for field in fields(ModelFacts)})


def _typed(name: str, value: Any) -> Any:
    texts = ("architecture", "quantization", "configuration", "revision")
    wanted = bool if name == "remoteCode" else str if name in texts else int
    if value is None or (isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)):
        return value
    raise NotAnInspection(f"{name} of the termination message is {value!r}, not {wanted.__name__}")
