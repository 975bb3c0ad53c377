"""Which cluster and namespace are meant: as kubectl would take them."""

from pathlib import Path

import pytest

from unit.cli.conftest import Terminal, write_kubeconfig

ACCESS = {"access": {"apiKeys": {"secretRef": {"name": "keys"}}}}


@pytest.mark.parametrize(
    ("options", "namespace"),
    [
        ("", "team-a"),
        ("--context there", "team-b"),
        ("--context bare", "default"),
        ("--context there -n team-c", "team-c"),
    ],
)
def test_the_namespace(terminal: Terminal, options: str, namespace: str) -> None:
    terminal.api.place("LLMService", namespace, "code", spec=ACCESS)
    done = terminal.run(f"create code {options}")
    assert done.status == 0
    assert terminal.api.secret("keys", namespace)
    assert f"Secret keys in namespace {namespace}" in done.err


def test_commands_to_copy_lead_to_the_same_service(terminal: Terminal) -> None:
    options = f"-n team-a --context there --kubeconfig {terminal.kubeconfig}"
    assert f"`kubectl llm keys create chat {options}`" in terminal.run(f"list chat {options}").err


def test_of_several_files_the_first_that_names_a_context_wins(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that took the last would make keys in another cluster than kubectl speaks to."""
    other = write_kubeconfig(tmp_path / "other", "http://127.0.0.1:1", current="there")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{terminal.kubeconfig}:{other}")
    assert terminal.run("create chat").status == 0
    assert len(terminal.keys()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (": :", "can't be used"),
        ("- a list", "can't be used"),
        ("", "no current context"),
        ("contexts: [{name: a}]", "it has a"),
        ("current-context: gone\ncontexts: [{name: a}]", "no context gone"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]", "can't be used"),
        ("current-context: a\ncontexts: [{}]", "can't be used"),
    ],
)
def test_a_kubeconfig_that_is_none(terminal: Terminal, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad"
    path.write_text(text)
    done = terminal.run(f"list chat --kubeconfig {path}")
    assert (done.status, done.out) == (1, "")
    assert words in done.err and str(path) in done.err and "Traceback" not in done.err
    assert "unexpected error" not in done.err


def test_no_kubeconfig(terminal: Terminal, tmp_path: Path) -> None:
    done = terminal.run(f"list chat --kubeconfig {tmp_path / 'none'}")
    assert done.status == 1 and "there is no kubeconfig at" in done.err


def test_the_token_of_the_kubeconfig_is_sent_under_the_command_s_own_name(terminal: Terminal) -> None:
    terminal.run("list chat")
    assert terminal.api.tokens == {"Bearer t"}
    assert all(agent.startswith("kubectl-llm/") for agent in terminal.api.agents)
