"""The target of a keys command: the service and its Secret, and the messages after a change."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from llmservice_operator.cli import kubeconfig, service
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.keys.keyring import Entry, Keyring, Object, entries, maker
from llmservice_operator.cli.parsing import PROGRAM
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import say


@dataclass(frozen=True, slots=True)
class Target:
    """The service and its keys."""

    service: service.Service
    keyring: Keyring
    outside: System
    where: str
    """Options that lead to the same service."""

    def command(self, verb: str, *ids: str) -> str:
        """A command about the same service, to copy."""
        return f"`{' '.join((PROGRAM, 'keys', verb, self.service.thing.name, *ids))} {self.where}`"

    def found(self, secret: Object, ids: Sequence[str]) -> list[Entry]:
        """The entries of these names. Raises Failure if one does not exist."""
        there = {entry.name: entry for entry in entries(secret)}
        unknown = [each for each in ids if each not in there]
        if unknown:
            raise Failure(
                f"the {self.keyring.thing} has no key {', '.join(unknown)}, so nothing was changed: "
                f"{self.command('list')} shows its keys"
            )
        return [there[each] for each in ids]

    def spread(self, secret: Object) -> None:
        """After a change: have it known soon, and say when."""
        if made_by := maker(secret):
            say(
                f"Warning: the {self.keyring.thing} is managed by {made_by}, which will undo this change. "
                "Make the same change there; `keys create --dry-run` prints an entry and writes nothing."
            )
        hindrance = self.service.nudge(self.outside.now())
        if hindrance:
            say(f"Warning: it takes up to two minutes until all replicas have the change: {hindrance}.")
        else:
            say("All replicas have the change within 10 seconds.")


def target(options: argparse.Namespace, outside: System) -> Target:
    """What the command line means. Raises Failure."""
    cluster, namespace = kubeconfig.connect(options)
    found = service.read(cluster, namespace, options.service)
    given = {"-n": namespace, "--context": options.context, "--kubeconfig": options.kubeconfig}
    where = shlex.join(part for option, value in given.items() if value for part in (option, value))
    return Target(found, Keyring(cluster, namespace, found.secret, outside.sleep), outside, where)
