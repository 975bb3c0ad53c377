"""What a Tab behind `kubectl llm` offers: commands, options, and names from the cluster; nothing if that is away.

Each Tab is a process of its own, as for a shell: argcomplete takes file descriptors for itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmservice_operator.cli.commands import COMMANDS, Command
from llmservice_operator.cli.main import main

HEAVY = {"argcomplete", "kubernetes", "kopf", "msgspec", "prometheus_client", "pydantic", "urllib3", "yaml"}
KUBECTL = """\
#!/bin/sh
echo "$*" >>"$0.asked"
case "$*" in
  *llmservices*"-n team-b"*) printf 'code\\tReady\\n' ;;
  *llmservices*) printf 'chat\\tUnschedulable\\nchat-2\\t\\nother\\tReady\\n' ;;
  *namespaces*) printf 'team-a\\nteam-b\\ndefault\\n' ;;
  *get-contexts*) printf 'here\\nthere\\n' ;;
esac
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that knows some names, alone on the PATH; it keeps what it was asked."""
    path = tmp_path / "kubectl"
    path.write_text(KUBECTL)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return path


def asked(kubectl: Path) -> str:
    return Path(f"{kubectl}.asked").read_text()


def completions(words: list[str]) -> list[str]:
    """The lines that `kubectl_complete-llm` prints to kubectl."""
    command = [sys.executable, "-c", "from llmservice_operator.cli.completion.kubectl import main; main()", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def offered(*words: str) -> list[str]:
    """The values offered, without what is said of them and the directive."""
    return [line.partition("\t")[0] for line in completions(list(words))[:-1]]


def test_every_command_is_offered_with_what_it_does(kubectl: Path) -> None:
    lines = completions([""])
    assert lines[:-1] == [f"{command.name}\t{command.summary}" for command in COMMANDS]
    assert lines[-1] == ":4", "no files"
    assert offered("ex") == ["explain"]
    assert offered("keys", "") == ["create", "rotate", "revoke", "list"]


def test_services_are_those_of_the_namespace_that_is_meant_with_their_state(kubectl: Path) -> None:
    assert completions(["explain", "ch"]) == ["chat\tUnschedulable", "chat-2", ":4"]
    assert offered("explain", "-n", "team-b", "") == ["code"]
    assert offered("keys", "create", "--context", "there", "") == ["chat", "chat-2", "other"]
    assert "--context=there" in asked(kubectl).splitlines()[-1]


def test_namespaces_and_contexts(kubectl: Path) -> None:
    assert offered("top", "-n", "team") == ["team-a", "team-b"]
    assert offered("upgrade", "chat", "--context", "") == ["here", "there"]


def test_options_and_their_values(kubectl: Path) -> None:
    assert {"--watch", "--interval", "--all-namespaces"} <= set(offered("top", "-"))
    assert offered("top", "-o", "") == ["table", "json"]
    assert offered("top", "--output=j") == ["json"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]


def test_where_a_path_belongs_the_shell_may_offer_files(kubectl: Path) -> None:
    assert completions(["top", "--kubeconfig", ""]) == [":0"]
    assert completions(["top", ""])[-1] == ":4"


@pytest.mark.parametrize(
    "words", [["nosuch", ""], ["explain", "it's"], ["explain", "a b", ""], ["explain", "x", "y", ""]]
)
def test_what_makes_no_sense_offers_nothing(kubectl: Path, words: list[str]) -> None:
    assert completions(words) == [":4"]


@pytest.mark.parametrize("body", ["exit 1", "echo oops >&2; exit 1", "sleep 30; touch ended"])
def test_a_cluster_that_is_away_is_silent_and_soon(kubectl: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kubectl.parent)
    kubectl.write_text(f"#!/bin/sh\n{body}\n")
    assert completions(["explain", ""]) == [":4"]
    assert not Path("ended").exists(), "it waited until the sleep ended"
    kubectl.unlink()
    monkeypatch.setenv("PATH", str(kubectl.parent))
    assert completions(["explain", ""]) == [":4"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "kubectl-llm" in capsys.readouterr().out


def test_bash_itself_completes_the_program_by_its_script(kubectl: Path, tmp_path: Path) -> None:
    """As an interactive bash does: the script's function is called with the line, and COMPREPLY is what it offers."""
    program = tmp_path / "kubectl-llm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmservice_operator.cli "$@"\n')
    program.chmod(0o755)
    script = tmp_path / "script"
    main_of = [sys.executable, "-m", "llmservice_operator.cli", "completion", "bash"]
    script.write_text(subprocess.run(main_of, capture_output=True, text=True, check=True, timeout=60).stdout)
    line = "kubectl-llm explain ch"
    ask = (
        f"source {script}; COMP_LINE='{line}' COMP_POINT={len(line)} COMP_TYPE=9 COMP_WORDS=({line}) COMP_CWORD=2; "
        "_python_argcomplete kubectl-llm ch explain; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["chat", "chat-2"]


def test_help_and_completion_load_no_client_and_no_types() -> None:
    code = f"""
import sys
from llmservice_operator.cli.commands import parser_of
parser_of(["top"]).parse_args(["top"])
from llmservice_operator.cli import main
parser_of([]).format_help()
assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command.name, "--help"])
    assert left.value.code == 0
    assert f"usage: kubectl llm {command.name}" in capsys.readouterr().out
