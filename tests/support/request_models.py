"""Fields of vLLM's request classes that are integers or booleans, as one line of JSON. For the engine's Python alone:

    python -P tests/support/request_models.py

{class: {field: [types, as JSON Schema names them]}}
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

MODULES = (
    *("openai.completion", "openai.chat_completion", "openai.responses", "anthropic"),
    *("pooling.embed", "pooling.pooling", "pooling.classify", "pooling.scoring"),
    *("generate.structured_decisions", "generate.generative_scoring", "serve.tokenize"),
)
"""Modules below vllm.entrypoints whose `protocol` has the bodies of the routes for clients."""


def main() -> None:
    from llmservice_runtime.vllm_plugins.batch import BatchRequest

    found = {"BatchRequest": fields(BatchRequest)}
    for name in MODULES:
        try:
            module = importlib.import_module(f"vllm.entrypoints.{name}.protocol")
        except ModuleNotFoundError:
            module = importlib.import_module(f"vllm.entrypoints.{name}.serving")
        for each in vars(module).values():
            if isinstance(each, type) and each.__module__ == module.__name__ and each.__name__.endswith("Request"):
                found[each.__name__] = fields(each)
    print(json.dumps(found))


def fields(model: Any) -> dict[str, list[str]]:
    """Of one class."""
    from pydantic import TypeAdapter

    reported = {}
    for name, field in model.model_fields.items():
        try:
            types = types_of(TypeAdapter(field.rebuild_annotation()).json_schema())
        except Exception:
            continue
        if kinds := types & {"integer", "boolean"}:
            reported[field.alias or name] = sorted(kinds | (types & {"string", "number"}))
    return reported


def types_of(schema: dict[str, Any]) -> set[str]:
    """The types that a value may have at its top."""
    if "anyOf" in schema:
        return set().union(*(types_of(each) for each in schema["anyOf"]))
    return {schema["type"]} if isinstance(schema.get("type"), str) else set()


if __name__ == "__main__":
    sys.exit(main())
