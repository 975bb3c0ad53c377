"""Patterns of a checkpoint: what they match, and that none of them takes long."""

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmservice_operator.gpu_memory import patterns
from llmservice_operator.gpu_memory.config import NotModelled
from llmservice_operator.gpu_memory.patterns import Work, matcher
from support.campaign import FULL

DOWN, GATE, QUERY = (
    "model.layers.10.mlp.down_proj",
    "model.layers.10.mlp.gate",
    "model.layers.10.self_attn.q_proj",
)
EXPERT = "model.layers.3.mlp.experts.0.gate_proj"
PATHS = [
    f"model.layers.{layer}.{module}"
    for layer in range(patterns.MOST_PATTERNS * 4)
    for module in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate", "mlp.experts.0.gate_proj", "mlp.shared.up_proj")
]


def _matches(pattern: str, path: str) -> bool:
    return matcher([pattern], Work())(path)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("lm_head", "lm_head", "lm_heads"),
        ("down_proj", DOWN, GATE),
        ("model.layers.1", "model.layers.1.mlp.gate", DOWN),
        ("model.layers.10.self_attn*", QUERY, DOWN),
        ("*self_attn*", QUERY, DOWN),
        ("*.mlp.*proj", DOWN, GATE),
        ("re:.*down_proj", DOWN, QUERY),
        ("re:model.layers.*", DOWN, "lm_head"),
        ("re:visual.*", "visual.blocks.0", "model.visual"),
        ("re:.*mlp.gate$", GATE, EXPERT),
        ("re:.*\\.mlp\\.gate$", GATE, EXPERT),
        ("re:.*mlp[.]gate$", GATE, EXPERT),
        ("re:^model\\.layers\\.[0-9]+\\.self_attn\\.(q|k|v)_proj$", QUERY, DOWN),
        ("re:model.layers.\\d+.mlp.(gate|up|down)_proj$", DOWN, GATE),
        ("re:.*layers\\.(?:1|10|11)\\.mlp\\..*", DOWN, EXPERT),
        ("re:^model\\.layers\\.1[0-7]\\.mlp(\\..*)?$", GATE, EXPERT),
        ("re:model\\.language_model\\.layers\\.10\\.mlp\\.gate$", GATE, DOWN),
        ("re:.*gate$|re:nothing|.*q_proj$", QUERY, DOWN),
        ("re:", DOWN, None),
        ("*", DOWN, None),
    ],
)
def test_forms_of_public_checkpoints(pattern: str, yes: str, no: str | None):
    plain = pattern.replace("model\\.language_model\\.", "model\\.")
    assert _matches(plain, yes)
    assert no is None or not _matches(plain, no)


@pytest.mark.parametrize(
    "pattern",
    [
        "re:(\\w+\\.?){30}!",
        "re:a{99999999999}",
        "re:(?!lm_head).*",
        "re:(a)\\1",
        "re:\\bgate",
        "re:*[",
        "re:[",
        "re:(",
        "re:)",
        "re:a**",
        "re:a$b",
        "re:[z-a]",
        "re:\\",
        "re:" + "(" * 5000,
        "re:" + "(" * 400 + ")" * 400,
        "re:" + "a" * 5000,
        "a" * 5000,
    ],
)
def test_another_form_is_not_modelled(pattern: str):
    with pytest.raises(NotModelled, match="pattern"):
        _matches(pattern, DOWN)


@pytest.mark.parametrize("pattern", ["re:(\\w+\\.?)+!", "re:(a|a|aa)*$", "re:.*.*.*.*.*.*x$", "re:((((.*)*)*)*)*x$"])
def test_no_pattern_is_exponential(pattern: str):
    work = Work()
    found = matcher([pattern], work)
    for path in PATHS:
        found(path)
    assert work.steps < patterns.MOST_STEPS / 5


@pytest.mark.parametrize(
    "hostile",
    [
        ["*a*b*c*"] * 1000,
        [f"re:.*{number}.*" for number in range(65)],
        [f"name{number}" for number in range(5000)],
        [f"re:x{number}.*" for number in range(5000)],
        ["re:" + "a?" * 500] * 60,
        ["re:" + "(.|a|b)?" * 100] * 60,
    ],
)
def test_too_many_patterns_are_not_modelled(hostile: list[str]):
    with pytest.raises(NotModelled):
        found = matcher(hostile, Work())
        for path in PATHS:
            found(path)


def test_a_checkpoint_may_list_each_module():
    work = Work()
    listed = [path for path in PATHS if "experts" in path]
    found = matcher([*listed, *(f"{path}*" for path in listed), "re:.*gate$", "*up_proj*"], work)
    assert sum(map(found, PATHS)) == 3 * 256
    assert work.steps < patterns.MOST_STEPS / 5


ATOM = st.sampled_from(("a", "b", ".", "\\.", "\\d", "\\w", "[ab]", "[^a]", "[0-9]", "1"))
EXPRESSION = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(("*", "+", "?", "*?"))).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=8,
)


@settings(max_examples=20_000 if FULL else 300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(("", "^")), EXPRESSION, st.sampled_from(("", "$", ".*"))), max_size=3),
    st.text("ab.1", max_size=8),
)
def test_as_python_matches_them(parts: list[tuple[str, str, str]], path: str):
    texts = ["".join(part) for part in parts]
    assert matcher([f"re:{text}" for text in texts], Work())(path) is any(re.match(text, path) for text in texts)


@settings(max_examples=10_000 if FULL else 300, deadline=None)
@given(st.lists(st.text("re:*.()[]|ab?+^$\\{}-", max_size=40), max_size=8), st.text("ab.", max_size=8))
def test_any_text_is_matched_or_not_modelled(texts: list[str], path: str):
    work = Work()
    with contextlib.suppress(NotModelled):
        matcher([f"re:{text}" for text in texts] + texts, work)(path)
    assert work.steps <= patterns.MOST_STEPS + 10_000
