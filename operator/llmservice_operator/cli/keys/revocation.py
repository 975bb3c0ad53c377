"""`keys revoke`: all of the keys at once, or none."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from llmservice_contract.keys import Role, StoredKey
from llmservice_operator.cli.keys.keyring import Entry, Object, entries
from llmservice_operator.cli.keys.target import target
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import say


def revoke(options: argparse.Namespace, outside: System) -> None:
    """Take keys back, bad entries too. Raises Failure."""
    to = target(options, outside)
    ids = list(dict.fromkeys(options.ids))
    gone: list[Entry] = []

    def nothing_new(secret: Object) -> Sequence[StoredKey]:
        gone[:] = to.found(secret, ids)
        return []

    secret = to.keyring.swap(ids, nothing_new)
    say(f"Revoked: {', '.join(ids)}.")
    left = entries(secret)
    if not any(entry.key for entry in left):
        say(f"Warning: no key is left: the {to.service.thing} refuses every request that needs one.")
    elif _has_admin(gone) and not _has_admin(left):
        say("Warning: no admin key is left: the admin routes are closed.")
    to.spread(secret)


def _has_admin(found: Iterable[Entry]) -> bool:
    return any(entry.key is not None and entry.key.role is Role.ADMIN for entry in found)
