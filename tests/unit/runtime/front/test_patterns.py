"""Patterns that repeat something often are refused wherever vLLM may find them; texts that are no patterns are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmservice_contract.policy import Caps
from llmservice_runtime.front.caps import check_caps
from llmservice_runtime.front.patterns import excess_repeats, parts_of
from llmservice_runtime.front.routes import Kind


def schema(pattern: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}


PLACES: dict[str, Any] = {
    "response_format": lambda pattern: {"type": "json_schema", "json_schema": {"schema": schema(pattern)}},
    "structured_outputs": lambda pattern: {"regex": pattern},
    "tools": lambda pattern: [{"type": "function", "function": {"name": "a", "parameters": schema(pattern)}}],
    "text": lambda pattern: {"format": {"type": "json_schema", "schema": schema(pattern)}},
    "output_config": lambda pattern: {"format": {"schema": {"patternProperties": {pattern: {}}}}},
    "guided_json": lambda pattern: json.dumps(schema(pattern)),
    "guided_regex": lambda pattern: pattern,
    "guided_grammar": lambda pattern: f"root ::= {pattern}",
}


@pytest.mark.parametrize("field", PLACES)
def test_a_pattern_is_found_in_each_field(field: str) -> None:
    within, beyond = ({field: PLACES[field](f"^[a-z]{{0,{count}}}$")} for count in (300, 301))
    assert check_caps(Kind.CHAT, within, Caps(grammars=1)) is None
    refusal = check_caps(Kind.CHAT, beyond, Caps(grammars=1))
    assert refusal is not None and (refusal.status, refusal.code, refusal.param) == (400, "pattern_repeats", field)


@pytest.mark.parametrize(
    "value",
    [
        "a{301}",
        "a{301,}",
        "a{0,301}",
        "a{ 0 , 301 }",
        "a{301,5}",
        "a{99999999999999999999999}",
        "start: /a/~301",
        "start: /a/ ~ 1 .. 301",
        ["a{0,100}"] * 10,
        {"pattern": ["a{0,10}"] * 201},
        {"a{0,301}": {}},
        r'{"pattern":"a{0,\u003301}"}',
        json.dumps(json.dumps({"pattern": "a{301}"})),
        {"properties": {"description": {"pattern": "a{301}"}, "enum": {"pattern": "b"}}},
        {"enum": [{"pattern": "a{301}"}]},
    ],
)
def test_these_repeat_too_often(value: Any) -> None:
    assert excess_repeats(list(parts_of(value))) is not None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "a{300}",
        ["^[a-z0-9.-]{1,63}$"] * 22,
        {"description": "written as {2026}", "enum": ["{2026}"], "default": "{2026}", "maxLength": 100_000},
        "a{b}{,5}",
    ],
)
def test_these_do_not(value: Any) -> None:
    assert excess_repeats(list(parts_of(value))) is None


@pytest.mark.parametrize("field", [each for each in PLACES if each != "guided_grammar"])
def test_a_long_pattern_is_refused_in_each_field(field: str) -> None:
    within, beyond = ({field: PLACES[field]("a" * count)} for count in (4096, 4097))
    assert check_caps(Kind.CHAT, within, Caps()) is None
    refusal = check_caps(Kind.CHAT, beyond, Caps())
    assert refusal is not None and (refusal.status, refusal.code, refusal.param) == (400, "pattern_bytes", field)


def objects(*counts: int) -> dict[str, Any]:
    shapes = [{"properties": {f"a{number}": {} for number in range(count)}} for count in counts]
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": {"anyOf": shapes}}}}


@pytest.mark.parametrize(("within", "beyond"), [((300,), (301,)), ((30,) * 100, (30,) * 101)], ids=["one", "many"])
def test_properties_are_bounded_together(within: tuple[int, ...], beyond: tuple[int, ...]) -> None:
    assert check_caps(Kind.CHAT, objects(*within), Caps()) is None
    refusal = check_caps(Kind.CHAT, objects(*beyond), Caps())
    assert refusal is not None and (refusal.status, refusal.code) == (400, "schema_properties")
