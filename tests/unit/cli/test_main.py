"""The command line: help that tells what each command does, and usage errors."""

import pytest

from llmservice_operator.cli.main import main
from unit.cli.conftest import Terminal


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_the_groups(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert main(arguments) == 0
    except SystemExit as left:
        assert left.code == 0
    assert "API keys of a service" in capsys.readouterr().out


def test_help_of_a_group_names_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0
    out = capsys.readouterr().out
    for command in ("create", "rotate", "revoke", "list"):
        assert f"\n    {command} " in out


@pytest.mark.parametrize(
    "line",
    [
        "create",
        "revoke chat",
        "rotate chat",
        "rotate chat one two",
        "create chat --tier Gold",
        "create chat --tier a/b",
        "create chat --role root",
        "create chat -o yaml",
        "create a/b",
        "create Chat",
        "list chat -n a/b",
        "list chat --name x",
        "destroy chat",
    ],
)
def test_a_line_that_makes_no_sense_is_a_usage_error_and_asks_nothing(terminal: Terminal, line: str) -> None:
    with pytest.raises(SystemExit) as left:
        terminal.run(line)
    assert left.value.code == 2
    assert not terminal.api.calls
