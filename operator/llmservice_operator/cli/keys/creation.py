"""`keys create` and `keys rotate`: a new key, by itself or in the place of another."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from llmservice_contract.keys import ID_BYTES, SECRET_BYTES, Role, StoredKey, make_key
from llmservice_operator.cli.failure import Failure, Uncertain, Unprinted
from llmservice_operator.cli.keys.keyring import Object
from llmservice_operator.cli.keys.target import Target, target
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import give, say


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
