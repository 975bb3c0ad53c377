"""`kubectl llm upgrade-check` and `upgrade`, as a person meets them."""

from __future__ import annotations

from unit.cli.conftest import Done, Terminal

OFFER = {"digest": "0a1b2c3d4e", "version": "0.3.0", "changes": ["spec.containers[engine].image: a:1 -> a:2"]}


def run(terminal: Terminal, line: str) -> Done:
    return terminal.run(line, group=())


def waiting(terminal: Terminal, namespace: str = "team-a", name: str = "chat") -> None:
    terminal.api.place("LLMService", namespace, name, spec={"replicas": 2}, status={"upgrade": OFFER})


def test_it_shows_what_would_change_for_each_service_and_how_to_agree(terminal: Terminal) -> None:
    waiting(terminal)
    terminal.api.place("LLMService", "team-a", "quiet", spec={}, status={})
    done = run(terminal, "upgrade-check")
    assert done.status == 0
    assert done.out == (
        "team-a/chat: version 0.3.0 would replace 2 replicas\n"
        "  spec.containers[engine].image: a:1 -> a:2\n"
        "  to approve: kubectl llm upgrade chat -n team-a\n"
    )


def test_all_namespaces_are_looked_at_only_when_asked_for_and_page_by_page(terminal: Terminal) -> None:
    waiting(terminal)
    waiting(terminal, "team-b", "other")
    waiting(terminal, "team-b", "third")
    assert "team-b" not in run(terminal, "upgrade-check").out
    everywhere = run(terminal, "upgrade-check -A -o json").json["items"]
    assert [(each["namespace"], each["name"]) for each in everywhere] == [
        ("team-a", "chat"),
        ("team-b", "other"),
        ("team-b", "third"),
    ]
    assert everywhere[0]["digest"] == OFFER["digest"]


def test_it_says_so_where_nothing_waits(terminal: Terminal) -> None:
    done = run(terminal, "upgrade-check chat")
    assert (done.status, done.out) == (0, "")
    assert done.err == "No upgrade requires approval: 1 service runs as the installed operator would run it.\n"


def test_upgrade_agrees_to_just_what_was_shown(terminal: Terminal) -> None:
    waiting(terminal)
    done = run(terminal, "upgrade chat")
    assert done.status == 0
    assert terminal.api.service()["metadata"]["annotations"] == {"llmservice.dev/upgrade": OFFER["digest"]}
    assert "kubectl wait -n team-a llms/chat" in done.err


def test_there_is_nothing_to_agree_to_where_nothing_waits(terminal: Terminal) -> None:
    done = run(terminal, "upgrade chat")
    assert done.status == 1
    assert "no upgrade of the LLMService chat in namespace team-a requires approval" in done.err
    assert "annotations" not in terminal.api.service()["metadata"]


def test_a_service_that_is_not_there(terminal: Terminal) -> None:
    assert "there is no LLMService nosuch" in run(terminal, "upgrade-check nosuch").err
