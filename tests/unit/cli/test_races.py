"""Several people change the keys of one service at the same time."""

import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes import client

from llmservice_contract.keys import StoredKey
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.keys.keyring import ATTEMPTS, Keyring, entries
from support.fake_api import refusal, serving
from unit.cli.conftest import Terminal, stored
from unit.cli.user_api import UserAPI


def test_a_secret_that_another_makes_meanwhile_gets_both_keys(terminal: Terminal) -> None:
    other = stored(1)

    def overtake(call: str) -> None:
        if call == "create Secret" and terminal.api.calls.count(call) == 1:
            terminal.holds(other)

    terminal.api.faults.append(overtake)
    made = terminal.run("create chat -o json").json
    assert set(terminal.keys()) == {other.id, made["id"]}


def test_a_key_that_another_revokes_meanwhile_gets_no_successor(terminal: Terminal) -> None:
    old, other = stored(1), stored(2)
    terminal.holds(old, other)

    def overtake(call: str) -> None:
        if call == "patch Secret chat-keys" and terminal.api.calls.count(call) == 1:
            terminal.holds(other)

    terminal.api.faults.append(overtake)
    done = terminal.run(f"rotate chat {old.id}")
    assert (done.status, done.out) == (1, "")
    assert set(terminal.keys()) == {other.id}


def test_a_secret_that_changes_meanwhile_is_read_again(terminal: Terminal) -> None:
    old, other = stored(1), stored(2)
    terminal.holds(old)

    def overtake(call: str) -> None:
        if call == "patch Secret chat-keys" and terminal.api.calls.count(call) == 1:
            terminal.holds(old, other)

    terminal.api.faults.append(overtake)
    assert terminal.run(f"revoke chat {old.id}").status == 0
    assert set(terminal.keys()) == {other.id}
    assert terminal.waits


def test_conflicts_without_end_are_given_up_with_a_sentence(terminal: Terminal) -> None:
    terminal.holds(stored(1))
    terminal.api.faults.append(
        lambda call: refusal(409, "please try again") if call == "patch Secret chat-keys" else None
    )
    done = terminal.run("create chat")
    assert (done.status, done.out) == (1, "")
    assert "try again" in done.err
    assert terminal.api.calls.count("patch Secret chat-keys") == ATTEMPTS


def test_keys_made_at_the_same_time_are_all_kept() -> None:
    """Each person has a connection of his own, and there is no Secret at first."""
    api, wanted = UserAPI(), [stored(each) for each in range(8)]
    with serving(api) as url:
        threads = [threading.Thread(target=keyring(url).add, args=(each,)) for each in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {entry.key for entry in entries(api.secret())} == set(wanted)


KEYS = st.integers(0, 5).map(stored)
STEPS = st.lists(st.one_of(KEYS.map(lambda key: ("add", key)), KEYS.map(lambda key: ("take", key))), max_size=12)


@settings(max_examples=30)
@given(STEPS)
def test_the_secret_holds_what_was_added_and_not_taken(steps: list[tuple[str, StoredKey]]) -> None:
    api, expected = UserAPI(), set[StoredKey]()
    api.place("Secret", "team-a", "chat-keys")
    with serving(api) as url:
        ring = keyring(url)
        for verb, key in steps:
            if verb == "add":
                ring.add(key)
                expected.add(key)
            else:
                ring.swap([key.id], lambda secret: [])
                expected.discard(key)
            assert {entry.key for entry in entries(api.secret())} == expected


def keyring(url: str) -> Keyring:
    """The keys of the service, on a connection of its own."""
    return Keyring(KubernetesClient(client.Configuration(host=url)), "team-a", "chat-keys", time.sleep)
