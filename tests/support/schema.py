"""Walks the CRD's schema, so that tests cover every field, bound and rule."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_operator.api.crd import root_schema

ITEM = "[]"
"""A path's step into the items of a list."""
VALUE = "{}"
"""A path's step into the values of a map."""

BOUNDS = (
    "anyOf",
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "required",
    "type",
    "x-kubernetes-list-type",
)
"""Keywords that accept some values and refuse others."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One place in the schema."""

    path: tuple[str, ...]
    schema: Mapping[str, Any]

    def __str__(self) -> str:
        return ".".join(self.path).replace(f".{ITEM}", ITEM).replace(f".{VALUE}", VALUE)


@dataclasses.dataclass(frozen=True)
class Bound:
    """One keyword of one place; for ``required`` the value is one field's name."""

    node: Node
    keyword: str
    value: Any

    def __str__(self) -> str:
        return f"{self.node}:{self.keyword}" + (f"={self.value}" if self.keyword == "required" else "")


@functools.cache
def whole() -> Mapping[str, Any]:
    """The schema of an LLMService. It is shared: do not change it."""
    return root_schema()


def nodes(schema: Mapping[str, Any] | None = None, path: tuple[str, ...] = ()) -> Iterator[Node]:
    """Every place of the spec and the status, and the root."""
    schema = whole() if schema is None else schema
    yield Node(path, schema)
    for name, child in schema.get("properties", {}).items():
        if path or name in ("spec", "status"):
            yield from nodes(child, (*path, name))
    if "items" in schema:
        yield from nodes(schema["items"], (*path, ITEM))
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], (*path, VALUE))


def bounds() -> Iterator[Bound]:
    """Every bound there is. A list of required fields is one bound for each of them."""
    for node in nodes():
        for keyword in BOUNDS:
            if keyword == "required":
                yield from (Bound(node, keyword, name) for name in node.schema.get(keyword, ()))
            elif keyword in node.schema and not (keyword == "type" and not node.path) and not _counted(node, keyword):
                yield Bound(node, keyword, node.schema[keyword])


def rules() -> Iterator[tuple[Node, Mapping[str, str]]]:
    """Every CEL rule and the place that it stands on."""
    for node in nodes():
        for rule in node.schema.get("x-kubernetes-validations", ()):
            yield node, rule


def _counted(node: Node, keyword: str) -> bool:
    """A number's format, which its minimum and maximum bound more tightly."""
    return keyword == "format" and node.schema["type"] == "integer"
