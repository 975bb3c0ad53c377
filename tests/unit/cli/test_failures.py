"""Failures: a sentence on stderr (what, where, what to do), exit status 1, and nothing on stdout."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.fake_api import MAX_SECRET, refusal
from unit.cli.conftest import Done, Terminal, stored, write_kubeconfig


def fails(done: Done, *words: str) -> None:
    """It failed with one sentence that holds these words, and without a result."""
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("kubectl llm: ") and done.err.endswith(".\n")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err, done.err


def test_a_service_that_is_not_there(terminal: Terminal) -> None:
    fails(terminal.run("create other"), "no LLMService other in namespace team-a", "kubectl get llms -A")


def test_a_cluster_without_the_operator(terminal: Terminal) -> None:
    terminal.api.faults.append(lambda call: (404, "404 page not found\n"))
    fails(terminal.run("list chat"), "has no resource llmservices", "--context")


@pytest.mark.parametrize("spec", [{}, {"access": {}}, {"access": {"apiKeys": {}}}])
def test_a_service_that_takes_no_keys_says_what_to_put_into_its_spec(terminal: Terminal, spec: dict[str, Any]) -> None:
    terminal.api.place("LLMService", "team-a", "chat", spec=spec)
    for command in ("create chat", "list chat"):
        fails(terminal.run(command), "has no API keys", "spec:\n    access:\n      apiKeys:\n", "name: chat-keys\n")
    assert {call.split()[1] for call in terminal.api.calls} == {"LLMService"}


@pytest.mark.parametrize(
    ("command", "call", "verb", "thing"),
    [
        ("list chat", "get LLMService chat", "get", "llmservices"),
        ("list chat", "get Secret chat-keys", "get", "secrets"),
        ("revoke chat {id}", "get Secret chat-keys", "get", "secrets"),
        ("create chat", "patch Secret chat-keys", "patch", "secrets"),
        ("create empty", "create Secret", "create", "secrets"),
        ("rotate chat {id}", "patch Secret chat-keys", "patch", "secrets"),
    ],
)
def test_a_missing_permission_is_named(terminal: Terminal, command: str, call: str, verb: str, thing: str) -> None:
    terminal.holds(stored(1))
    empty = {"access": {"apiKeys": {"secretRef": {"name": "empty-keys"}}}}
    terminal.api.place("LLMService", "team-a", "empty", spec=empty)
    before = terminal.api.secret()
    said = 'secrets is forbidden: User "jane" cannot'
    terminal.api.faults.append(lambda each: refusal(403, said, "Forbidden") if each == call else None)
    fails(
        terminal.run(command.format(id=stored(1).id)), f"the permission to `{verb}` {thing}", "namespace team-a", "jane"
    )
    assert terminal.api.secret() == before


def test_without_the_right_to_nudge_the_change_holds_and_its_delay_is_told(terminal: Terminal) -> None:
    terminal.api.faults.append(lambda call: refusal(403, "no") if call == "patch LLMService chat" else None)
    done = terminal.run("create chat")
    assert done.status == 0 and len(terminal.keys()) == 1 and done.out.startswith("llm_")
    assert "up to two minutes" in done.err and "`patch` llmservices" in done.err


def test_a_login_that_has_run_out(terminal: Terminal) -> None:
    terminal.api.faults.append(lambda call: refusal(401, "Unauthorized"))
    fails(terminal.run("list chat"), "log in again")


def test_a_full_secret_takes_no_more_keys(terminal: Terminal) -> None:
    terminal.api.place("Secret", "team-a", "chat-keys", data={"big": base64.b64encode(bytes(MAX_SECRET - 50)).decode()})
    fails(terminal.run("create chat"), "is full", "1 MiB", "Revoke unused keys")
    assert set(terminal.api.secret()["data"]) == {"big"}


@pytest.mark.parametrize(
    "answer",
    [refusal(413, "Request entity too large"), refusal(500, "etcdserver: request is too large")],
)
def test_the_limits_below_the_secret_s_own_are_the_same_to_a_person(terminal: Terminal, answer: Any) -> None:
    terminal.api.faults.append(lambda call: answer if call == "patch Secret chat-keys" else None)
    fails(terminal.run("create chat"), "is full")


def test_an_immutable_secret(terminal: Terminal) -> None:
    cause = {"reason": "FieldValueForbidden", "field": "data"}
    answer = refusal(422, "data: Forbidden: field is immutable when `immutable` is set", "Invalid", cause)
    terminal.api.faults.append(lambda call: answer if call == "patch Secret chat-keys" else None)
    fails(terminal.run("create chat"), "marked immutable", "without `immutable`")


@pytest.mark.parametrize("command", ["create chat", f"rotate chat {stored(1).id}"])
@pytest.mark.parametrize("outcome", ["commit, then hang up", "hang up", refusal(504, "timed out")])
def test_a_key_that_may_have_been_kept_is_named_for_revoking(terminal: Terminal, outcome: Any, command: str) -> None:
    terminal.holds(stored(1))
    terminal.api.faults.append(lambda call: outcome if call == "patch Secret chat-keys" else None)
    done = terminal.run(command)
    fails(done, "it is lost", "`kubectl llm keys list chat -n team-a`", "keys revoke chat ")
    kept = set(terminal.keys()) - {stored(1).id}
    assert len(kept) == (1 if outcome == "commit, then hang up" else 0)
    assert all(f"keys revoke chat {key_id} -n team-a" in done.err for key_id in kept)


def test_a_revocation_without_an_answer_may_have_happened(terminal: Terminal) -> None:
    terminal.holds(stored(1), stored(2))
    terminal.api.faults.append(lambda call: "commit, then hang up" if call == "patch Secret chat-keys" else None)
    fails(
        terminal.run(f"revoke chat {stored(1).id}"),
        "may have been done nevertheless",
        "keys list chat",
        "revoke it again",
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_fails_a_read(terminal: Terminal, status: int) -> None:
    terminal.api.faults.append(lambda call: refusal(status, "not now"))
    fails(terminal.run("list chat"), str(status))


def test_an_answer_that_is_cut(terminal: Terminal) -> None:
    terminal.api.faults.append(lambda call: (200, '{"spec":'))
    fails(terminal.run("list chat"), "200")


def test_no_cluster(terminal: Terminal, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "dead", "http://127.0.0.1:1")
    fails(terminal.run(f"list chat --kubeconfig {path}"), "http://127.0.0.1:1 can't be reached", "--context")


def test_a_certificate_that_is_not_trusted_or_no_tls_at_all(terminal: Terminal, tmp_path: Path) -> None:
    plain = terminal.kubeconfig.read_text()
    path = tmp_path / "tls"
    path.write_text(plain.replace("http://", "https://"))
    fails(terminal.run(f"list chat --kubeconfig {path}"), "can't be reached")


def test_what_the_cluster_says_does_not_steer_the_terminal(terminal: Terminal) -> None:
    terminal.api.faults.append(lambda call: refusal(403, "\x1b[2J gone"))
    assert "\x1b" not in terminal.run("list chat").err


def test_output_that_nobody_reads_is_told_with_the_key_to_revoke(terminal: Terminal) -> None:
    """In a process of its own: stdout is a pipe that is closed at its other end."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "llmservice_operator.cli", "keys", "create", "chat"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    (key_id,) = terminal.keys()
    fails(Done(done.returncode, "", done.stderr), "could not be printed", f"keys revoke chat {key_id} -n team-a")


def test_a_full_disk_under_the_output(terminal: Terminal) -> None:
    terminal.holds(stored(1))
    command = [sys.executable, "-m", "llmservice_operator.cli", "keys", "list", "chat"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    fails(Done(done.returncode, "", done.stderr), "could not be printed (No space left on device)")
