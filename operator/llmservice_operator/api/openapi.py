"""The types as an OpenAPI v3 structural schema, which a CustomResourceDefinition requires.

The schema has no `$ref`, no `null` alternative and no default. A default would be written into the user's object and
change the ownership of the field; the description states it instead (`Absent: 1.`). Descriptions are one paragraph.
"""

from collections.abc import Mapping
from typing import Any

from llmservice_operator.api.base import INT_OR_STRING_KEY, APIType

Schema = dict[str, Any]

_INT32_MAX = 2**31 - 1
_ORDER = (
    "description",
    "type",
    "format",
    INT_OR_STRING_KEY,
    "anyOf",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "items",
    "additionalProperties",
    "required",
    "properties",
    "x-kubernetes-validations",
)
_DROPPED = frozenset({"title", "default", "$defs", "$ref"})


def structural(api_type: type[APIType]) -> Schema:
    """The whole schema of a type. Raises NotImplementedError if a structural schema can't express it."""
    document = api_type.model_json_schema(by_alias=True)
    return _convert(document, document.get("$defs", {}))


def flowing(text: str) -> str:
    """A docstring as one paragraph."""
    return " ".join(text.split())


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    node = _resolved(node, definitions)
    schema: Schema = {}
    default = node.get("default")
    absent = f" Absent: {default}." if isinstance(default, str | int) and default != "" else ""
    for key, value in node.items():
        if key in _DROPPED or (key == "additionalProperties" and value is False):
            continue
        if key == "description":
            schema[key] = flowing(value) + absent
        elif key == "properties":
            schema[key] = {name: _convert(child, definitions) for name, child in value.items()}
        elif key in ("items", "additionalProperties"):
            schema[key] = _convert(value, definitions)
        else:
            schema[key] = value
    if schema.get(INT_OR_STRING_KEY):
        del schema["type"]
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("type") == "integer":
        schema["format"] = "int32" if schema.get("maximum", _INT32_MAX + 1) <= _INT32_MAX else "int64"
    unknown = [key for key in schema if key not in _ORDER]
    if unknown:
        raise NotImplementedError(f"a structural schema has no {', '.join(unknown)} (in {dict(node)})")
    return {key: schema[key] for key in _ORDER if key in schema}


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node with its reference resolved and without its null alternative; its own keys win."""
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return {**_resolved(target, definitions), **node}
    if "anyOf" in node:
        alternatives = [each for each in node["anyOf"] if each != {"type": "null"}]
        if len(alternatives) != 1:
            raise NotImplementedError(f"a structural schema takes one type for a field, not {alternatives}")
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return {**_resolved(alternatives[0], definitions), **rest}
    return node
