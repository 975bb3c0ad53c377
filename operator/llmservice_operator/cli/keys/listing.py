"""`keys list`: id, tier and role of each key, without hashes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from llmservice_operator.cli.keys.keyring import Entry, entries
from llmservice_operator.cli.keys.target import target
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import give, say, table

if TYPE_CHECKING:
    from llmservice_operator.cli import wire


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
