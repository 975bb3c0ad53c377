"""Validates JSON documents of kubectl llm against their schemas in docs/reference/cli."""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "cli"


def valid(document: Any) -> Any:
    """The document, once it has been found to be what its schema says, and to have no field that the schema lacks."""
    by_kind = _validators()
    assert document["kind"] in by_kind, f"there is no schema of a {document['kind']}"
    by_kind[document["kind"]].validate(document)
    return document


@functools.cache
def _validators() -> dict[str, Any]:
    found = {}
    for file in SCHEMAS.glob("*.json"):
        schema = json.loads(file.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        for part in schema["$defs"].values():
            part.setdefault("additionalProperties", False)
        found[schema["title"]] = jsonschema.Draft202012Validator(schema)
    return found
