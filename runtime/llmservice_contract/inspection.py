"""The result of a model inspection, in the termination message of its container.

It is one JSON object: the facts about the model, or a finding. It is never longer than the kubelet's maximum, so it is
never truncated.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from llmservice_contract import causes
from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_contract.finding import Finding, NotAFinding, finding_from_json, finding_to_json
from llmservice_contract.foreign import read_json

MOST_MESSAGE = 4 * TERMINATION_MESSAGE_BYTES
"""Maximum length of a termination message that is parsed, in characters."""
VERSION = 2
"""Version of the JSON object of a failure. Messages of 0.2 have none."""
_OLD_REASONS = {"BucketUnreadable": causes.STORE_REFUSED.name, "NoSafetensors": causes.NO_WEIGHTS.name}
"""Reasons of 0.2 that have another name now."""


class NotAnInspection(ValueError):
    """The text is not the result of an inspection."""


class ModelFacts(msgspec.Struct, frozen=True, rename="camel"):
    """What the operator needs to know about a model before it starts; None if config.json does not state it.

    The JSON has camelCase names. `quantization` is the method of the checkpoint ("fp8", "awq", "gptq",
    "compressed-tensors", …), None for 16 or 32 bits. `weight_bytes` is the size of its safetensors files.
    `configuration` is the compressed part of config.json that memory depends on, see
    `llmservice_contract.configuration`; None if it is too long. `revision` is the commit of the hub's repository,
    `draft_revision` that of the draft model. `digest` is that of the weights, as their source states it. `remote_code`
    is True for a model that can be loaded only with code of its repository.
    """

    architecture: str | None = None
    attention_heads: int | None = None
    key_value_heads: int | None = None
    layers: int | None = None
    max_context_length: int | None = None
    quantization: str | None = None
    weight_bytes: int | None = None
    configuration: str | None = None
    revision: str | None = None
    remote_code: bool | None = None
    draft_revision: str | None = None
    digest: str | None = None

    def to_json(self) -> str:
        return json.dumps(msgspec.to_builtins(self), separators=(",", ":"))


Inspection = ModelFacts | Finding
"""The facts, or why they can't be read; the finding's reason is the name of one of `llmservice_contract.causes`."""


def failure_to_json(failure: Finding) -> str:
    """The line of a failure. If it would be too long, the longest texts are shortened. Operators of 0.2 need the key
    ``error``."""
    parts: dict[str, Any] = {"version": VERSION, "error": failure.reason, **finding_to_json(failure)}
    while len(text := json.dumps(parts, separators=(",", ":"))) >= TERMINATION_MESSAGE_BYTES:
        longest = max(("message", "fix", "alternative"), key=lambda name: len(parts.get(name, "")))
        parts[longest] = parts[longest][: len(parts[longest]) * 3 // 4].rstrip("…") + "…"
    return text


def inspection_from_json(text: str) -> Inspection:
    """The message in `text`. Unknown keys are ignored. Raises NotAnInspection."""
    data = read_json(text, most=MOST_MESSAGE)
    if data is None:
        raise NotAnInspection("the termination message is not JSON")
    if not isinstance(data, dict):
        raise NotAnInspection("the termination message is not a JSON object")
    if "error" in data and "version" not in data:
        return _old_failure(data)
    if "error" in data:
        try:
            return finding_from_json(data)
        except NotAFinding as error:
            raise NotAnInspection(str(error)) from None
    try:
        return msgspec.convert(data, ModelFacts)
    except msgspec.ValidationError as error:
        raise NotAnInspection(f"the termination message is invalid: {error}") from None


def _old_failure(data: dict[str, Any]) -> Finding:
    """A failure of 0.2, which had other reasons for some causes."""
    error, text = str(data["error"]), {name: str(data.get(name) or "") for name in ("message", "field", "fix")}
    reason = _OLD_REASONS.get(error, error)
    return Finding(
        reason if reason in causes.BY_NAME else causes.MODEL_UNREADABLE.name,
        text["message"] or error,
        alternative=str(data.get("otherwise") or ""),
        field=text["field"],
        fix=text["fix"],
    )
