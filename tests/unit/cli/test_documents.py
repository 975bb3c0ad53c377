"""Every JSON document of kubectl llm has a versioned schema, and says of what version and kind it is.

Each test that reads a command's JSON validates it (`Done.json`); here is what holds for the schemas themselves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from llmservice_operator.cli import wire
from support.documents import SCHEMAS, valid

ROOT = Path(__file__).parents[3]


def properties(schema: Any) -> dict[str, dict[str, Any]]:
    return {name: part["properties"] for name, part in schema["$defs"].items()}


@pytest.mark.parametrize("name", wire.DOCUMENTS)
def test_a_schema_names_the_version_and_the_kind(name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    whole = schema["$defs"][schema["title"]]
    assert whole["required"][:2] == ["kind", "apiVersion"]
    assert whole["properties"]["kind"]["enum"] == [schema["title"]]
    assert whole["properties"]["apiVersion"]["enum"] == ["cli.llmservice.dev/v1alpha1"]


@pytest.mark.parametrize("name", wire.DOCUMENTS)
def test_the_kept_schema_is_what_the_types_say(name: str) -> None:
    kept = json.loads((SCHEMAS / f"{name}.json").read_text())
    for part in kept["$defs"].values():
        for each in part["properties"].values():
            each.pop("description", None)
    assert kept == wire.schema(name)


def test_no_schema_is_left_over() -> None:
    assert {file.stem for file in SCHEMAS.glob("*.json")} == wire.DOCUMENTS.keys()


@pytest.mark.parametrize("name", wire.DOCUMENTS)
def test_names_are_in_camel_case_and_every_part_is_used(name: str) -> None:
    schema = wire.schema(name)
    names = {field for part in properties(schema).values() for field in part}
    assert all(each.isalnum() and each[0].islower() for each in names)
    text = json.dumps(schema)
    assert all(f'"$ref": "#/$defs/{part}"' in text for part in schema["$defs"])


def test_what_is_no_document_is_told() -> None:
    good = json.loads(wire.text(wire.KeyList(items=[wire.KeyItem(id="a", tier="gold", role="client")])))
    assert valid(good) == good
    for wrong in ({**good, "items": [{}]}, {**good, "more": 1}, {**good, "apiVersion": "v2"}):
        with pytest.raises(jsonschema.ValidationError):
            valid(wrong)
