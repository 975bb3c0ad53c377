"""What a test says that waited in vain."""

import pytest

from support.cluster import wait_until


def test_a_state_is_told_as_it_is_at_the_end() -> None:
    log: list[str] = []

    def looks() -> bool:
        log.append("seen")
        return False

    with pytest.raises(AssertionError, match="the program answers: seen"):
        wait_until(looks, lambda: f"the program answers: {' '.join(log)}", timeout=0)


def test_a_state_is_not_told_if_the_wait_has_an_end() -> None:
    assert wait_until(lambda: 3, lambda: pytest.fail("read although nothing failed"), timeout=0) == 3
