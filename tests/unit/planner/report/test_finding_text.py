"""A finding in sentences, and every field of it in the status."""

from hypothesis import given
from hypothesis import strategies as st

from llmservice_contract.finding import Finding
from llmservice_operator.planner.report.finding import account, from_status, sentence, to_status, where

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=60).map(str.strip)
SENTENCES = TEXT.map(lambda text: f"Do {text}.")


@given(
    TEXT,
    TEXT,
    TEXT,
    st.dictionaries(st.from_regex("[a-z][A-Za-z0-9]{0,9}", fullmatch=True), TEXT.filter(bool)),
    SENTENCES,
)
def test_the_status_holds_every_field(
    message: str, subject: str, alternative: str, numbers: dict[str, str], fix: str
) -> None:
    finding = Finding("X", message, subject, numbers=numbers, alternative=alternative, field="spec.a", fix=fix)
    again = from_status(to_status(finding))
    assert again == finding or len(numbers) > 16


def test_what_is_likely_stays_so_without_an_alternative() -> None:
    finding = Finding("X", "what", certainty="Likely")
    assert from_status(to_status(finding)).certainty == "Likely"


def test_texts_and_numbers_that_are_too_long_are_cut_to_what_the_status_takes() -> None:
    numbers = {"tokens": "9" * 1000, "Bad name": "1", **{f"n{number}": "1" for number in range(50)}}
    entry = to_status(Finding("X", "m" * 9999, "s" * 999, numbers=numbers, alternative="a" * 9999, fix="f" * 9999))
    assert len(entry.message) == len(entry.alternative or "") == 2048
    assert entry.numbers is not None
    assert (len(entry.numbers), len(entry.numbers["tokens"])) == (16, 128)


def test_doubt_and_advice_are_told_in_one_sentence_or_in_several() -> None:
    part = Finding("X", "it left no words", "chat-0", alternative="it (maybe) hangs", fix="see the log")
    assert account(part) == "it left no words (likely; else it (maybe) hangs)"
    assert sentence(part) == "chat-0: it left no words (likely; else it (maybe) hangs); see the log"
    whole = Finding("X", "A volume is full.", alternative="it hangs", fix="Make room.")
    assert sentence(whole) == "A volume is full. Likely; else it hangs. Make room."


def test_several_pods_are_told_by_the_first_and_how_many_more() -> None:
    assert where(Finding("X", "what", "chat-0", 3)) == "chat-0 and 2 more pods"
    assert where(Finding("X", "what", "chat-0")) == "chat-0"
