"""The check of retired words finds them, as words and not within others."""

import runpy
from pathlib import Path

import pytest

VOCABULARY = runpy.run_path(str(Path(__file__).parents[2] / "hack" / "vocabulary"), run_name="vocabulary")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("the engine left no last words", "last words"),
        ("Somebody changed it", "Somebody"),
        ("what is told", "told"),
        ("def reckoned(model)", "reckoned"),
        ("its surroundings", "surroundings"),
        ("import onemore", "onemore"),
    ],
)
def test_a_retired_word_is_found_with_its_line_and_what_to_use(line: str, word: str) -> None:
    ((number, found, use),) = VOCABULARY["found_in"](f"a good line\n{line}\n")
    assert (number, found) == (2, word)
    assert use


@pytest.mark.parametrize("line", ["a threshold", "the toldish", "the lawful way", "first endpoint", "last wording"])
def test_a_word_within_another_is_none(line: str) -> None:
    assert VOCABULARY["found_in"](line) == []


def test_no_folder_is_left_out() -> None:
    assert {"README.md", "charts", "docs", "hack", "operator", "runtime", "tests"} <= set(VOCABULARY["AT_MOST"])
