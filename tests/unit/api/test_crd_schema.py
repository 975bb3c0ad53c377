"""What always holds of the schema, whatever fields it has: all described, all bounded, nothing written for the user."""

import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import Field

from llmservice_operator.api.base import APIType, Rule
from llmservice_operator.api.crd import custom_resource_definition
from llmservice_operator.api.openapi import structural
from support.schema import Node, nodes, rules

FIELDS = [node for node in nodes() if node.path and node.path[-1][0].isalpha()]
SPEC_LEAVES = [node for node in FIELDS if node.path[0] == "spec" and "properties" not in node.schema]


def keys(value: Any) -> Iterator[str]:
    """Every keyword of a schema; names of fields are none."""
    if isinstance(value, dict):
        for key, child in value.items():
            if key == "properties":
                for field in child.values():
                    yield from keys(field)
            else:
                yield key
                yield from keys(child)
    elif isinstance(value, list):
        for child in value:
            yield from keys(child)


YAML_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}


def test_no_field_and_no_word_is_a_boolean_to_the_yaml_of_kubectl() -> None:
    """It reads YAML 1.1: `n: 4` is a field named false there, and `mode: Off` a boolean."""

    def booleans(node: Node) -> list[str]:
        words = [node.path[-1], *node.schema.get("enum", ())]
        told_as_text = {"True", "False"} if node.path[0] == "status" else set()
        return [word for word in words if word.lower() in YAML_BOOLEANS and word not in told_as_text]

    assert not [f"{node}: {word}" for node in FIELDS for word in booleans(node)]


def test_every_field_is_described_in_one_flowing_text() -> None:
    texts = {str(node): node.schema["description"] for node in FIELDS}
    assert not {field: text for field, text in texts.items() if not text.endswith(".") or "\n" in text}


def is_bounded(node: Node) -> bool:
    schema = node.schema
    match schema.get("type"):
        case "string":
            return "enum" in schema or "maxLength" in schema
        case "integer":
            return {"minimum", "maximum", "format"} <= set(schema)
        case "array":
            return "maxItems" in schema
        case "object":
            return "properties" in schema or "maxProperties" in schema
        case "boolean":
            return True
        case None:
            return bool(schema["x-kubernetes-int-or-string"]) and {"pattern", "maxLength"} <= set(schema)
        case other:
            pytest.fail(f"a type without a rule here: {other}")


def test_every_value_is_bounded() -> None:
    """Without bounds the API server can't tell what a rule costs, and refuses it."""
    assert not [str(node) or "object" for node in nodes() if not is_bounded(node)]


def test_every_optional_field_says_what_holds_without_it() -> None:
    required = {(*node.path, name) for node in nodes() for name in node.schema.get("required", ())}
    assert not [
        str(node) for node in SPEC_LEAVES if ("Absent: " in node.schema["description"]) is (node.path in required)
    ]


def test_nothing_is_in_the_schema_that_would_write_into_an_object_or_that_crds_do_not_know() -> None:
    (version,) = custom_resource_definition()["spec"]["versions"]
    used = set(keys(version["schema"]["openAPIV3Schema"]))
    assert not used & {"default", "$ref", "$defs", "title", "const", "nullable", "x-kubernetes-preserve-unknown-fields"}


def test_every_rule_names_a_field_that_exists_and_speaks_to_a_person() -> None:
    found = list(rules())
    assert found
    for node, rule in found:
        shown = f"{node}: {rule}"
        assert "fieldPath" not in rule or rule["fieldPath"].removeprefix(".") in node.schema["properties"], shown
        assert len(rule["message"]) <= 160, shown
        assert not re.search(r"\bself\b|has\(|regex|must match|\.$", rule["message"]), shown


def test_messages_of_one_place_begin_differently() -> None:
    seen = [(str(node), rule["message"]) for node, rule in rules()]
    assert len(seen) == len(set(seen))


class Inner(APIType):
    """The inner type."""

    rules = (Rule("self.count > 1", "count is above 1", ".count"),)
    count: Annotated[int, Field(ge=1, le=3_000_000_000)] = 2
    """How many,
    in all."""


class Outer(APIType):
    """The outer type."""

    inner: Inner | None = None
    """What is inside."""
    names: Annotated[dict[str, Annotated[str, Field(max_length=3)]], Field(max_length=2)] | None = None
    """Names by name."""


def test_a_type_becomes_a_schema_without_references_nulls_and_defaults() -> None:
    assert structural(Outer) == {
        "description": "The outer type.",
        "type": "object",
        "properties": {
            "inner": {
                "description": "What is inside.",
                "type": "object",
                "properties": {
                    "count": {
                        "description": "How many, in all. Absent: 2.",
                        "type": "integer",
                        "format": "int64",
                        "minimum": 1,
                        "maximum": 3_000_000_000,
                    }
                },
                "x-kubernetes-validations": [
                    {"rule": "self.count > 1", "message": "count is above 1", "fieldPath": ".count"}
                ],
            },
            "names": {
                "description": "Names by name.",
                "type": "object",
                "maxProperties": 2,
                "additionalProperties": {"type": "string", "maxLength": 3},
            },
        },
    }


class Undecided(APIType):
    """A type with a choice of types."""

    value: int | bool = 1
    """One or the other."""


class Excluding(APIType):
    """A type with a bound that CRDs lack."""

    keys: dict[Annotated[str, Field(pattern="^a$")], str] = {}  # noqa: RUF012
    """Keys of a pattern."""


@pytest.mark.parametrize("api_type", [Undecided, Excluding])
def test_what_a_crd_cannot_say_is_an_error_and_not_left_out(api_type: type[APIType]) -> None:
    with pytest.raises(NotImplementedError):
        structural(api_type)
