"""Why an engine exited: written by the runtime, read by the operator.

It is one JSON object on one line in the termination message: a finding, the exit code and a quote of vLLM's output. It
is never longer than the kubelet's maximum, so it is never truncated. Version 0.2 named the reason ``cause``: its
messages can be read too, and ``cause`` is written in addition to ``reason`` for operators of that version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from llmservice_contract import causes
from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_contract.finding import Finding, NotAFinding, finding_from_json, finding_to_json
from llmservice_contract.foreign import read_json

VERSION = 2
"""Version of the JSON object. Messages of 0.2 have none."""
_CUT = ("detail", "message", "fix", "alternative", "field", "reason", "cause")
"""Texts that are shortened if the whole is too long."""
_OLD_NAMES = {"cause": "reason", "otherwise": "alternative"}
_OLD_ALTERNATIVES = {
    causes.KILLED.name: "it was ended manually",
    causes.ENGINE_DIED.name: "it was ended manually",
    causes.RANKS_LOST.name: "one of them failed first: see the log of each",
    causes.GPU_FAULT.name: "an error of vLLM's kernels",
}
"""Alternatives of these reasons, which the runtime of 0.2 does not write."""


class NotADiagnosis(ValueError):
    """The text is not a diagnosis."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was wrong, and how the engine exited."""

    finding: Finding
    """Its reason is the name of one of `llmservice_contract.causes`."""
    exit_code: int = 1
    detail: str = ""
    """A quote of vLLM's output."""

    def to_json(self) -> str:
        """The line. If it would be too long, the longest texts are shortened."""
        parts: dict[str, Any] = {
            "version": VERSION,
            "cause": self.finding.reason,
            **finding_to_json(self.finding),
            "exitCode": self.exit_code,
            "detail": self.detail,
        }
        while len(line := json.dumps(parts, separators=(",", ":"))) >= TERMINATION_MESSAGE_BYTES:
            longest = max(_CUT, key=lambda name: len(parts.get(name, "")))
            parts[longest] = parts[longest][: len(parts[longest]) * 3 // 4].rstrip("…") + "…"
        return line


def diagnosis_from_json(text: str) -> Diagnosis:
    """The diagnosis in `text`. Unknown keys are ignored, absent ones are empty. Raises NotADiagnosis."""
    data = read_json(text, most=4 * TERMINATION_MESSAGE_BYTES)
    if data is None:
        raise NotADiagnosis("the text is not JSON")
    if isinstance(data, dict) and "version" not in data:
        data = {_OLD_NAMES.get(name, name): value for name, value in data.items()}
        data.setdefault("alternative", _OLD_ALTERNATIVES.get(str(data.get("reason")), ""))
    try:
        finding = finding_from_json(data)
    except NotAFinding as error:
        raise NotADiagnosis(str(error)) from None
    code, detail = data.get("exitCode"), data.get("detail")
    if type(code) is not int or not 0 <= code <= 255:
        code = 1
    return Diagnosis(finding, code, detail if isinstance(detail, str) else "")
