"""Whatever others have written into objects, no output of the commands steers the terminal of who runs them."""

from typing import Any

import pytest

from llmservice_operator.planner.rollout.template_diff import changes
from unit.cli.conftest import Terminal
from unit.cli.person import LONGER, Person

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\x7f\r\nforged: line"
STEERING = ("\x1b", "\x07", "\x9b", "\u202e", "\x7f", "\r")


def steers(text: str) -> bool:
    """Whether it has control or bidi characters of ESCAPES."""
    return any(each in text for each in STEERING)


def waits(terminal: Terminal) -> None:
    """A service for which an upgrade waits, in whose status are escape sequences."""
    upgrade = {"digest": "0a", "version": f"0.3.0{ESCAPES}", "changes": [f"X: {ESCAPES} -> b"]}
    terminal.api.place("LLMService", "team-a", "chat", spec={"replicas": 2}, status={"upgrade": upgrade})


@pytest.mark.parametrize("options", ["", " -o json"])
def test_upgrade_check_escapes_what_a_status_says(terminal: Terminal, options: str) -> None:
    waits(terminal)
    done = terminal.run(f"upgrade-check{options}", group=())
    assert "0.3.0" in done.out
    assert not steers(done.out)


def test_a_change_of_an_upgrade_is_one_line(terminal: Terminal) -> None:
    waits(terminal)
    lines = terminal.run("upgrade-check", group=()).out.splitlines()
    (line,) = [line for line in lines if line.startswith("  X: ")]
    assert line.endswith("forged: line -> b")


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_plan_escapes_what_a_config_map_has(person: Person, form: str) -> None:
    for config_map in person.api.around["configmaps"]:
        for key in config_map.get("data", {}):
            if key.isupper():
                config_map["data"][key] = ESCAPES + config_map["data"][key]
    done = person.plan(person.manifest(LONGER), options=f"-o {form}")
    assert "owned" in done.out
    assert not steers(done.out)


def test_changes_in_a_status_are_plain_lines() -> None:
    environment: dict[str, Any] = {"MODEL_MAX_CONTEXT_LENGTH": ESCAPES}
    (line,) = changes({}, {}, environment, {"MODEL_MAX_CONTEXT_LENGTH": "1"})
    assert not steers(line)
    assert "\n" not in line
