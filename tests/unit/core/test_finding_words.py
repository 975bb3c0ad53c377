"""The words of a finding: told and read back."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from llmservice_operator.core.finding import Finding, kept, of_message, read_back

TEXT = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=60).map(str.strip)


@given(TEXT.filter(lambda text: ": " not in text), TEXT.filter(bool), st.booleans(), TEXT.filter(bool))
def test_a_finding_is_read_back_as_it_was_told(pod: str, what: str, sure: bool, fix: str) -> None:
    finding = Finding("X", what, pod or "chat-0", "" if sure else "it is (not) so", "spec.a", fix)
    again = read_back(finding.told())
    assert again.told() == finding.told()
    assert (again.what, again.otherwise) == (finding.what, finding.otherwise)
    of_none = dataclasses.replace(finding, subject="")
    assert kept(of_none.told()).told() == of_none.told()


def test_a_message_tells_its_field_and_its_doubt() -> None:
    found = of_message("X", "it failed: chat-0: no words (likely; else (a) or b); set spec.model.size; went back")
    assert (found.field, found.otherwise) == ("spec.model.size", "(a) or b")
    assert found.what == "it failed: chat-0: no words; set spec.model.size; went back"
