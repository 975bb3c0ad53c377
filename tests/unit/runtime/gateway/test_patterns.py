"""Patterns that repeat something often are refused wherever vLLM may find them; texts that are no patterns are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmservice_contract.policy import Caps
from llmservice_runtime.gateway.caps import check_caps
from llmservice_runtime.gateway.patterns import excess_repeats, parts_of
from llmservice_runtime.gateway.routes import Kind


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


SURROGATE = r'"\ud800"'
"""A half of a pair: vLLM's parser reads it, stricter ones refuse it."""


def structures(schema: str, other: str = "1") -> str:
    """The old form of a structural tag: vLLM writes its schema anew, so no later parser sees what `other` is."""
    tag = f'{{"begin": "<f>", "end": "</f>", "schema": {schema}}}'
    return f'{{"x": {other}, "triggers": ["<f"], "structures": [{tag}]}}'


def escaped(pattern: str) -> str:
    """The schema of a pattern, as a text that hides each of its signs."""
    signs = "".join(f"\\u{ord(sign):04x}" if sign in "{}()*+?" else sign for sign in pattern)
    return f'{{"type": "string", "pattern": "{signs}"}}'


HIDDEN = {
    "pattern_repeats": escaped("^.{0,2600}$"),
    "ambiguous_pattern": escaped("(a*)*b"),
    "pattern_bytes": escaped("|".join(f"a{number}b" for number in range(1000))),
    "schema_properties": json.dumps({"properties": {f"a{number}": {} for number in range(301)}}),
    "grammars": r'{"type": "grammar", "gramma\u0072": "root ::= root"}',
}
UNSEEN = [SURROGATE, r'"\udc00\ud800"', "NaN", "-Infinity", "[" * 300 + "]" * 300, "1e999"]


@pytest.mark.parametrize("other", ["1", *UNSEEN], ids=lambda text: text[:12])
@pytest.mark.parametrize("code", HIDDEN)
def test_a_schema_that_is_a_text_is_read_as_vllm_reads_it(code: str, other: str) -> None:
    texts = {
        "structural_tag": structures(HIDDEN[code], other),
        "json": f'{{"x": {other}, "anyOf": [{HIDDEN[code]}]}}',
    }
    for name, text in texts.items():
        refusal = check_caps(Kind.CHAT, {"structured_outputs": {name: text}}, Caps())
        assert refusal is not None and (refusal.status, refusal.code, refusal.param) == (
            400,
            code,
            "structured_outputs",
        ), name
    refusal = check_caps(Kind.CHAT, {"guided_json": texts["json"]}, Caps())
    assert refusal is not None and (refusal.code, refusal.param) == (code, "guided_json")


@pytest.mark.parametrize("code", HIDDEN)
def test_a_text_within_a_text_is_read_too(code: str) -> None:
    for text in (json.dumps({"a": HIDDEN[code]}), json.dumps([HIDDEN[code]])):
        refusal = check_caps(Kind.CHAT, {"response_format": {"schema": text}}, Caps())
        assert refusal is not None and refusal.code == code
    parts = list(parts_of(r'"\u007b\"pattern\": \"a\\u007b301}\"}"'))
    assert excess_repeats(parts) is not None


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "\\x"}',
        "{'a': 1}",
        '{"a": 1',
        "{} {}",
        "[" * 100_000,
        f'{{"a": {"9" * 5000}}}',
        "\ufeff{}",
        "\u00a0{}",
        "words",
        '"{}"',
        "[]",
        "1",
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("name", ["json", "structural_tag"])
def test_a_schema_that_is_a_text_has_to_be_an_object(name: str, text: str) -> None:
    refusal = check_caps(Kind.CHAT, {"structured_outputs": {name: text}}, Caps(schema_bytes=10**6))
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.param) == (400, "bad_body", f"structured_outputs.{name}")
    assert len(refusal.message) < 200


@pytest.mark.parametrize("value", [None, "", "{}", ' {"type": "object"}\n', {"type": "object"}])
def test_an_object_or_the_text_of_one_passes(value: Any) -> None:
    for name in ("json", "structural_tag"):
        assert check_caps(Kind.CHAT, {"structured_outputs": {name: value}}, Caps()) is None
    assert check_caps(Kind.CHAT, {"guided_json": value}, Caps()) is None


def as_json(pattern: str) -> str:
    """A regular expression that is JSON as well, with the pattern in a name that tells nothing."""
    text = f'["](",[{{"name":"]{pattern})"}}]]'
    assert json.loads(text)
    return text


@pytest.mark.parametrize("field", [each for each in PLACES if each != "guided_grammar"])
@pytest.mark.parametrize(("pattern", "code"), [(".{0,2000}", "pattern_repeats"), ("(a*)*b", "ambiguous_pattern")])
def test_a_pattern_is_one_even_if_it_is_json(field: str, pattern: str, code: str) -> None:
    refusal = check_caps(Kind.CHAT, {field: PLACES[field](as_json(pattern))}, Caps())
    assert refusal is not None and (refusal.status, refusal.code, refusal.param) == (400, code, field)


@pytest.mark.parametrize("name", ["pattern", "regex", "grammar", "definition", "begin", "end", "triggers", "excludes"])
def test_what_vllm_never_reads_as_json_is_text(name: str) -> None:
    text = as_json(".{0,301}")
    assert excess_repeats(list(parts_of({name: text}))) is not None
    assert excess_repeats(list(parts_of({name: [text]}))) is not None
    assert excess_repeats(list(parts_of({"properties": {name: {"pattern": "a{301}"}}}))) is not None
