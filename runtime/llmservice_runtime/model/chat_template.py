"""The chat template of a model, for what it tells of the model; vLLM reads it by itself.

Read within bounds, because it is from the model's author. What can't be read tells nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmservice_contract.foreign import read_json
from llmservice_contract.source import Source
from llmservice_runtime.launcher.settings import NO_PARSERS, Parsers
from llmservice_runtime.model import model_files
from llmservice_runtime.model.parsers import parsers_of
from llmservice_runtime.model.unreadable import ModelUnreadable

MOST_BYTES = 256 << 10
"""Of a template; those of today's models have up to 20 KiB."""
MOST_CONFIG_BYTES = 16 << 20
"""Of tokenizer_config.json, which lists added tokens."""
_MISTRAL = "[TOOL_CALLS]"
"""Of models in Mistral's own format, whose template is code of mistral_common."""


def parsers(source: Source, revision: str | None, chosen: str | None) -> Parsers:
    """The parsers that go with the model and the template: its own, or `chosen`, a file or one of vLLM's."""
    try:
        config = model_files.read_config(source, revision)
    except ModelUnreadable:
        return NO_PARSERS
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    if not isinstance(first, str) or len(first) > MOST_BYTES:
        return NO_PARSERS
    return parsers_of(first, _of_file(chosen) if chosen is not None else _of_model(source, revision))


def _of_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _of_model(source: Source, revision: str | None) -> str:
    """As transformers looks for it: a file of its own comes first."""
    text = model_files.read_text(source, revision, "chat_template.jinja", MOST_BYTES)
    if text is not None:
        return text
    for name in ("chat_template.json", "tokenizer_config.json"):
        text = model_files.read_text(source, revision, name, MOST_CONFIG_BYTES)
        found = read_json(text, most=MOST_CONFIG_BYTES) if text is not None else None
        template = _template(found.get("chat_template")) if isinstance(found, dict) else ""
        if template:
            return template
    return _MISTRAL if model_files.is_of_mistral(source, revision) else ""


def _template(value: Any) -> str:
    """A text, or several with a name each, which count as one."""
    if isinstance(value, str):
        return value[:MOST_BYTES]
    named = value if isinstance(value, list) else []
    texts = (each.get("template") for each in named[:8] if isinstance(each, dict))
    return "\n".join(text for text in texts if isinstance(text, str))[:MOST_BYTES]
