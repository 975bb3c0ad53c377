"""`kubectl llm keys`, as a person meets it."""

import json
import re
from typing import Any

import pytest

from llmservice_contract.keys import Role, digest, id_of, read_entry
from unit.cli.conftest import NOW, Terminal, stored

HASH = re.compile(r"[0-9a-f]{64}")


def test_a_created_key_is_printed_alone_and_its_hash_is_kept(terminal: Terminal) -> None:
    done = terminal.run("create chat --tier premium --role admin -o key")
    assert done.status == 0
    plain = done.out.removesuffix("\n")
    key_id = id_of(plain)
    assert key_id is not None, done.out
    assert terminal.keys() == {key_id: {"sha256": digest(plain), "tier": "premium", "role": "admin"}}
    assert key_id in done.err and plain not in done.err
    assert plain.partition(f"{id_of(plain)}_")[2] not in json.dumps(terminal.api.secret())


def test_json_says_all_of_a_key_and_the_entry_is_what_the_engine_reads(terminal: Terminal) -> None:
    made = terminal.run("create chat -o json").json
    kept = read_entry(made["id"], made["entry"])
    assert (kept.sha256, kept.tier, kept.role) == (digest(made["key"]), made["tier"], Role.CLIENT)
    assert made["secret"] == "chat-keys"


def test_a_missing_secret_is_made_without_an_owner_and_is_none_of_the_operator_s_children(terminal: Terminal) -> None:
    assert terminal.run("create chat").status == 0
    secret = terminal.api.secret()
    assert secret["type"] == "Opaque"
    assert "ownerReferences" not in secret["metadata"]
    assert secret["metadata"]["labels"]["app.kubernetes.io/part-of"] == "llmservice"
    assert secret["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kubectl-llm"


def test_create_leaves_what_else_is_in_the_secret(terminal: Terminal) -> None:
    terminal.holds(stored(1, "gold"), broken="{}")
    before = terminal.api.secret()["data"]
    made = terminal.run("create chat -o json").json
    after = terminal.api.secret()["data"]
    assert after.pop(made["id"])
    assert after == before


def test_dry_run_writes_nothing_and_says_what_to_write(terminal: Terminal) -> None:
    done = terminal.run("create chat --dry-run -o json")
    assert not [call for call in terminal.api.calls if not call.startswith("get")]
    assert done.json["entry"] in done.err and "chat-keys" in done.err
    assert done.json["key"] not in done.err


@pytest.mark.parametrize(
    ("tier", "limits", "warned"),
    [
        ("default", {}, False),
        ("premium", {}, False),
        ("gold", {"tiers": [{"name": "gold"}]}, False),
        ("gold", {"mode": "Disabled"}, False),
        ("gold", {"tiers": [{"name": "silver"}]}, True),
        ("gold", {}, True),
    ],
)
def test_a_tier_that_the_service_does_not_know_is_told(
    terminal: Terminal, tier: str, limits: dict[str, Any], warned: bool
) -> None:
    terminal.api.objects["LLMService", "team-a", "chat"]["spec"]["access"]["rateLimits"] = limits
    done = terminal.run(f"create chat --tier {tier}")
    assert done.status == 0
    assert ("no tier gold" in done.err) is warned


def test_rotate_makes_a_key_of_the_same_kind_and_keeps_the_old_one(terminal: Terminal) -> None:
    old = stored(1, "gold", Role.ADMIN)
    terminal.holds(old)
    done = terminal.run(f"rotate chat {old.id} -o json")
    keys = terminal.keys()
    assert set(keys) == {old.id, done.json["id"]} and len(keys) == 2
    assert keys[done.json["id"]] == {"sha256": digest(done.json["key"]), "tier": "gold", "role": "admin"}
    assert f"kubectl llm keys revoke chat {old.id} -n team-a" in done.err


def test_rotate_and_revoke_in_one_write(terminal: Terminal) -> None:
    old, other = stored(1, "gold"), stored(2)
    terminal.holds(old, other)
    made = terminal.run(f"rotate chat {old.id} --revoke-old -o json").json
    assert set(terminal.keys()) == {other.id, made["id"]}
    assert terminal.api.calls.count("patch Secret chat-keys") == 1


def test_a_bad_entry_is_not_rotated(terminal: Terminal) -> None:
    terminal.holds(abcd='{"sha256": "short"}')
    done = terminal.run("rotate chat abcd")
    assert (done.status, done.out) == (1, "")
    assert "sha256 is not 64" in done.err
    assert set(terminal.keys()) == {"abcd"}


def test_revoke_takes_out_the_named_keys_alone(terminal: Terminal) -> None:
    keys = [stored(each) for each in range(4)]
    terminal.holds(*keys, bad="{}")
    done = terminal.run(f"revoke chat {keys[0].id} {keys[2].id} bad {keys[0].id}")
    assert done.status == 0
    assert set(terminal.keys()) == {keys[1].id, keys[3].id}
    assert "Warning" not in done.err


@pytest.mark.parametrize("command", ["revoke chat {known} nosuchkey", "rotate chat nosuchkey"])
def test_an_unknown_id_changes_nothing(terminal: Terminal, command: str) -> None:
    known = stored(1)
    terminal.holds(known)
    before = terminal.api.secret()
    done = terminal.run(command.format(known=known.id))
    assert (done.status, done.out) == (1, "")
    assert "nosuchkey" in done.err and known.id not in done.err
    assert terminal.api.secret() == before and "patch LLMService chat" not in terminal.api.calls


def test_the_last_admin_key_may_go_but_it_is_told(terminal: Terminal) -> None:
    admin, client = stored(1, role=Role.ADMIN), stored(2)
    terminal.holds(admin, client)
    done = terminal.run(f"revoke chat {admin.id}")
    assert done.status == 0 and "no admin key is left" in done.err


def test_the_last_key_may_go_but_it_is_told(terminal: Terminal) -> None:
    terminal.holds(stored(1), broken="{}")
    done = terminal.run(f"revoke chat {stored(1).id}")
    assert done.status == 0 and "no key is left" in done.err


def test_list_shows_keys_and_what_is_wrong_with_bad_ones_but_no_hash(terminal: Terminal) -> None:
    gold, admin = stored(1, "gold"), stored(2, role=Role.ADMIN)
    terminal.holds(gold, admin, broken="{")
    done = terminal.run("list chat")
    rows = [line.split(maxsplit=3) for line in done.out.splitlines()]
    assert rows[0] == ["ID", "TIER", "ROLE", "PROBLEM"]
    assert [gold.id, "gold", "client"] in rows and [admin.id, "default", "admin"] in rows
    assert ["broken", "-", "-", "bad: it is not JSON"] in rows
    assert not HASH.search(done.out + done.err)


def test_list_without_bad_entries_has_no_column_for_problems(terminal: Terminal) -> None:
    terminal.holds(stored(1))
    assert "PROBLEM" not in terminal.run("list chat").out


def test_list_as_json(terminal: Terminal) -> None:
    gold = stored(1, "gold")
    terminal.holds(gold, broken="{")
    listed = {each.pop("id"): each for each in terminal.run("list chat -o json").json["items"]}
    assert listed == {gold.id: {"tier": "gold", "role": "client"}, "broken": {"problem": "it is not JSON"}}


def test_list_of_no_secret_and_of_an_empty_one(terminal: Terminal) -> None:
    none = terminal.run("list chat")
    assert (none.status, none.out) == (0, "") and "does not exist" in none.err
    assert terminal.run("list chat -o json").json["items"] == []
    terminal.api.place("Secret", "team-a", "chat-keys")
    assert "holds no keys" in terminal.run("list chat").err
    assert not [call for call in terminal.api.calls if not call.startswith("get")]


def test_each_change_asks_for_a_refresh_and_nothing_else_does(terminal: Terminal) -> None:
    old = stored(1)
    terminal.holds(old, stored(2))
    for command in (f"rotate chat {old.id}", f"revoke chat {old.id}", "create chat"):
        terminal.api.calls.clear()
        done = terminal.run(command)
        assert terminal.api.calls[-1] == "patch LLMService chat"
        assert "within 10 seconds" in done.err
    assert terminal.api.service()["metadata"]["annotations"] == {
        "llmservice.dev/refresh": NOW.isoformat().replace("+00:00", "Z")
    }
    assert terminal.api.service()["spec"] == {"access": {"apiKeys": {"secretRef": {"name": "chat-keys"}}}}


def test_a_secret_that_something_makes_is_changed_with_a_warning(terminal: Terminal) -> None:
    terminal.holds(stored(1))
    owner = {"kind": "SealedSecret", "name": "chat-keys", "controller": True}
    terminal.api.objects["Secret", "team-a", "chat-keys"]["metadata"]["ownerReferences"] = [owner]
    assert "managed by SealedSecret chat-keys" in terminal.run("create chat").err


def test_the_namespace_and_the_secret_are_those_of_the_service(terminal: Terminal) -> None:
    terminal.api.place("LLMService", "team-b", "code", spec={"access": {"apiKeys": {"secretRef": {"name": "ours"}}}})
    made = terminal.run("create code -n team-b -o json").json
    assert list(terminal.api.secret("ours", "team-b")["data"]) == [made["id"]]
