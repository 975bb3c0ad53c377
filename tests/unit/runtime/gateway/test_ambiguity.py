"""Patterns that match one text in very many ways are refused; those that people write are not. Grammars are counted."""

from __future__ import annotations

import json
import re
from re import _parser
from types import ModuleType
from typing import Any

import pytest

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway import ambiguity, patterns
from llmservice_runtime.gateway.ambiguity import is_ambiguous
from llmservice_runtime.gateway.caps import check_caps
from llmservice_runtime.gateway.routes import Kind
from support.steps import lines_run


@pytest.mark.parametrize(
    "pattern",
    [
        *("((a*)*)*", "(a*)*", "(a+)+", "(a+)*", "(?:a*)*", "(?P<x>a*)+", "(a|b*)*", "(a+|b)*", "(|a+)*", "((a*))*"),
        *(r"(\w+\s?)*", "([a-z]+)*", "(a*){2,}", "(a*){5}", "(a*?)*", "(a*)*?", "(^a*$)*", "(a{1,}){0,9}", "x((y+))+z"),
        *("(a*){0000000002}", "(a{0000000000,})*", "(a*){ 12345678901 }"),
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
            "(a*){00000000000,00000000001}",
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


PARTS = ["(", "(a*", "[", "[a", "[\\", "(?", "{1,", "a{1, ", "(?P<a", "(?P<a]", "\\", "(a*)", "((a)"]


@pytest.mark.parametrize("part", PARTS)
def test_the_time_is_linear(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = (part * count + "\\]()*" for count in (100, 400))
    assert lines_run(is_ambiguous, long) <= 4 * lines_run(is_ambiguous, short) + 100
    # A class without an end is read to the end of the pattern, but only once.
    searches = []
    whole = ambiguity._CLASS

    class Counted:
        def match(self, pattern: str, at: int) -> re.Match[str] | None:
            found = whole.match(pattern, at)
            searches.append((found.end() if found else len(pattern)) - at)
            return found

    monkeypatch.setattr(ambiguity, "_CLASS", Counted())
    is_ambiguous(long)
    assert sum(searches) <= 2 * len(long)


def most_given_back(pattern: _parser.SubPattern) -> int:
    """How much a repetition in a regular expression may give back when what follows it doesn't match."""
    most = 0
    waiting: list[Any] = [pattern]
    while waiting:
        part = waiting.pop()
        if isinstance(part, _parser.SubPattern):
            waiting.extend(part.data)
        elif isinstance(part, list | tuple):
            if part and part[0] in (_parser.MAX_REPEAT, _parser.MIN_REPEAT):
                most = max(most, int(part[1][1]) - int(part[1][0]))
            waiting.extend(part)
    return most


@pytest.mark.parametrize("module", [ambiguity, patterns])
def test_no_expression_goes_back_far(module: ModuleType) -> None:
    """Four `\\s*` beside each other took half a minute for 800 spaces."""
    found = [each for each in vars(module).values() if isinstance(each, re.Pattern)]
    assert found
    for each in found:
        assert most_given_back(_parser.parse(each.pattern, each.flags)) <= 64, each.pattern


def test_what_an_expression_gives_back_is_seen() -> None:
    assert most_given_back(_parser.parse(r"a(?:b|(\s*)c)")) > 64
    assert most_given_back(_parser.parse(r"a(?:b|(\s*+)c){0,3}")) == 3


@pytest.mark.parametrize("field", ["guided_regex", "guided_grammar"])
def test_long_spaces_in_a_count_are_read_once(field: str) -> None:
    for count in ("b{", "b{1,"):
        check_caps(Kind.CHAT, {field: f"(a)*{count}" + " " * 4000}, Caps(grammars=1))


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
