"""Patterns that match one text in very many ways are refused; those that people write are not. Grammars are counted."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.ambiguity import is_ambiguous
from llmservice_runtime.gateway.caps import check_caps
from llmservice_runtime.gateway.routes import Kind


@pytest.mark.parametrize(
    "pattern",
    [
        *("((a*)*)*", "(a*)*", "(a+)+", "(a+)*", "(?:a*)*", "(?P<x>a*)+", "(a|b*)*", "(a+|b)*", "(|a+)*", "((a*))*"),
        *(r"(\w+\s?)*", "([a-z]+)*", "(a*){2,}", "(a*){5}", "(a*?)*", "(a*)*?", "(^a*$)*", "(a{1,}){0,9}", "x((y+))+z"),
        *(r"([\]a]*)*", "([]a]*)*", "(a*b?c*)+", "(?i:a*)*"),
    ],
)
def test_these_are_ambiguous(pattern: str) -> None:
    assert is_ambiguous(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(a+b)*",
            r"(\w+\s)*",
            r"^[a-z0-9]+(-[a-z0-9]+)*$",
            "(a|b)*",
            "(ab)*",
            "[(]a*[)]*",
            r"\(a*\)*",
            "a*b*",
            "(a*)",
        ),
        *(
            "(a*)?",
            "(a*){1}",
            "(a*){0,1}",
            r"^(\d{1,3}\.){3}\d{1,3}$",
            r"(, [0-9]+)*",
            "(a",
            "a)*",
            ")*",
            "(",
            "",
            "{x}",
        ),
        *(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==)?$", r'"(\\.|[^"])*"', r"([0-9]{1,3},)*[0-9]{1,3}", "(a?b)*"),
    ],
)
def test_these_are_not(pattern: str) -> None:
    assert not is_ambiguous(pattern)


@pytest.mark.parametrize("part", ["(", "(a*", "[", "[a", "[\\", "(?", "{1,", "(?P<a", "\\", "(a*)", "((a)"])
def test_the_look_is_linear(part: str) -> None:
    def seconds(count: int) -> float:
        begun = time.process_time()
        is_ambiguous(part * count + "\\]()*")
        return time.process_time() - begun

    assert seconds(20_000) < 100 * max(seconds(1000), 0.001)


def test_it_is_refused_by_its_field() -> None:
    schema = {"type": "object", "properties": {"a": {"pattern": "((a*)*)*"}}}
    for field, value in {
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        "structured_outputs": {"regex": "(a+)+"},
        "guided_json": json.dumps(schema),
    }.items():
        refusal = check_caps(Kind.CHAT, {field: value}, Caps())
        assert refusal is not None and (refusal.status, refusal.code, refusal.param) == (
            400,
            "ambiguous_pattern",
            field,
        )


GRAMMAR = 'root ::= root root | "a"'
GRAMMARS: dict[str, Any] = {
    "structured_outputs": {"grammar": GRAMMAR},
    "guided_grammar": GRAMMAR,
    "response_format": {"type": "structural_tag", "format": {"type": "grammar", "grammar": GRAMMAR}},
    "tools": [{"type": "custom", "format": {"type": "grammar", "syntax": "lark", "definition": "start: start start"}}],
}


@pytest.mark.parametrize("field", GRAMMARS)
def test_a_grammar_has_to_be_allowed(field: str) -> None:
    refusal = check_caps(Kind.CHAT, {field: GRAMMARS[field]}, Caps())
    assert refusal is not None and (refusal.status, refusal.code, refusal.param) == (400, "grammars", field)
    assert check_caps(Kind.CHAT, {field: GRAMMARS[field]}, Caps(grammars=1)) is None


def test_a_structural_tag_as_a_text_is_looked_into() -> None:
    request = {"structured_outputs": {"structural_tag": json.dumps(GRAMMARS["response_format"])}}
    refusal = check_caps(Kind.CHAT, request, Caps())
    assert refusal is not None and refusal.code == "grammars"


def test_a_property_of_that_name_is_no_grammar() -> None:
    schema = {"type": "object", "properties": {"grammar": {"type": "string"}}, "required": ["grammar"]}
    request = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    assert check_caps(Kind.CHAT, request, Caps()) is None
