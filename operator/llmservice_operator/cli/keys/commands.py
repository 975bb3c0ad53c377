"""`keys create`, `keys rotate`, `keys list` and `keys revoke`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llmservice_contract.keys import ID_BYTES, SECRET_BYTES, Role, StoredKey, make_key
from llmservice_operator.cli.failure import Failure, Uncertain, Unprinted
from llmservice_operator.cli.keys.keyring import Entry, Object, entries
from llmservice_operator.cli.keys.target import Target, target
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import give, say, table

if TYPE_CHECKING:
    from llmservice_operator.cli import wire


def create(options: argparse.Namespace, outside: System) -> None:
    """One key more. Raises Failure."""
    to = target(options, outside)
    plain, key = _make(to, options.tier, options.role)
    if not to.service.knows_tier(key.tier):
        say(f"Warning: the {to.service.thing} has no tier {key.tier}: until it has, the limits of `default` apply.")
    if options.dry_run:
        _show(to, plain, key, options.output)
        say(f"Nothing was written. The key is valid once the {to.keyring.thing} has this entry:\n{_line(key)}")
        return
    try:
        secret = to.keyring.add(key)
    except Uncertain as failure:
        raise _unsure(to, failure, key) from None
    _hand_over(to, plain, key, options.output)
    to.spread(secret)


def rotate(options: argparse.Namespace, outside: System) -> None:
    """A key like another, which goes now or later. Raises Failure."""
    to = target(options, outside)
    made: list[tuple[str, StoredKey]] = []

    def successor(secret: Object) -> Sequence[StoredKey]:
        old = to.found(secret, [options.id])[0]
        if old.key is None:
            raise Failure(
                f"{old.name} in the {to.keyring.thing} is not a key: {old.problem}. Run "
                f"{to.command('revoke', old.name)} and {to.command('create')} instead"
            )
        made.append(_make(to, old.key.tier, old.key.role))
        return [made[-1][1]]

    try:
        secret = to.keyring.swap([options.id] if options.revoke_old else [], successor)
    except Uncertain as failure:
        raise _unsure(to, failure, made[-1][1]) from None
    _hand_over(to, *made[-1], options.output)
    if options.revoke_old:
        say(f"Key {options.id} is revoked.")
    else:
        say(f"Key {options.id} stays valid. To revoke it: {to.command('revoke', options.id)}.")
    to.spread(secret)


def revoke(options: argparse.Namespace, outside: System) -> None:
    """Take keys back, bad entries too. Raises Failure."""
    to = target(options, outside)
    ids = list(dict.fromkeys(options.ids))
    gone: list[Entry] = []

    def nothing_new(secret: Object) -> Sequence[StoredKey]:
        gone[:] = to.found(secret, ids)
        return []

    try:
        secret = to.keyring.swap(ids, nothing_new)
    except Uncertain as failure:
        raise Failure(f"{failure}. For each key that {to.command('list')} still shows, revoke it again") from None
    say(f"Revoked: {', '.join(ids)}.")
    left = entries(secret)
    if not any(entry.key for entry in left):
        say(f"Warning: no key is left: the {to.service.thing} refuses every request that needs one.")
    elif _has_admin(gone) and not _has_admin(left):
        say("Warning: no admin key is left: the admin routes are closed.")
    to.spread(secret)


def _has_admin(found: Iterable[Entry]) -> bool:
    return any(entry.key is not None and entry.key.role is Role.ADMIN for entry in found)


def show_all(options: argparse.Namespace, outside: System) -> None:
    """All entries of the Secret. Raises Failure."""
    to = target(options, outside)
    secret = to.keyring.read()
    found = entries(secret or {})
    if options.output == "json":
        from llmservice_operator.cli import wire

        give(wire.text(wire.KeyList(items=[_item(entry) for entry in found])))
    elif found:
        give(table(("ID", "TIER", "ROLE", "PROBLEM"), [_row(entry) for entry in found]))
    if not found:
        there = "does not exist" if secret is None else "holds no keys"
        say(f"The {to.keyring.thing} {there}: {to.command('create')} creates one.")


def _item(entry: Entry) -> wire.KeyItem:
    from llmservice_operator.cli import wire

    if entry.key is None:
        return wire.KeyItem(id=entry.name, problem=entry.problem)
    return wire.KeyItem(id=entry.name, tier=entry.key.tier, role=entry.key.role.value)


def _row(entry: Entry) -> tuple[str, str, str, str]:
    if entry.key is None:
        return entry.name, "-", "-", f"bad: {entry.problem}"
    return entry.name, entry.key.tier, entry.key.role.value, ""


def _make(to: Target, tier: str, role: Role) -> tuple[str, StoredKey]:
    return make_key(to.outside.random(ID_BYTES + SECRET_BYTES), tier, role)


def _hand_over(to: Target, plain: str, key: StoredKey, form: str) -> None:
    _show(to, plain, key, form)
    say(f"Key {key.id} (tier {key.tier}, role {key.role}) is in the {to.keyring.thing}. It is not shown again.")


def _show(to: Target, plain: str, key: StoredKey, form: str) -> None:
    try:
        give(plain if form == "key" else _document(to, plain, key))
    except Unprinted as failure:
        raise _lost(to, str(failure), key) from None


def _document(to: Target, plain: str, key: StoredKey) -> str:
    from llmservice_operator.cli import wire

    made = wire.NewKey(
        id=key.id,
        key=plain,
        tier=key.tier,
        role=key.role.value,
        secret=to.keyring.thing.name,
        entry=key.entry(),
    )
    return wire.text(made, indent=None)


def _line(key: StoredKey) -> str:
    return f"  {key.id}: '{key.entry()}'"


def _unsure(to: Target, failure: Uncertain, key: StoredKey) -> Failure:
    return _lost(to, f"{failure}. Key {key.id} was not shown", key)


def _lost(to: Target, said: str, key: StoredKey) -> Failure:
    return Failure(
        f"{said}, so it is lost: if {to.command('list')} shows it, run {to.command('revoke', key.id)}, then try again"
    )
