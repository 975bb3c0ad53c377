"""The Secret with the keys of a service: one entry for each key. Other entries are never changed.

What a change rests on is what the Secret is at that moment: `swap` names the version that it has read, so a key that
another user revokes meanwhile does not come back.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmservice_contract.keys import BadKey, StoredKey, read_entry
from llmservice_operator.cli.client import FIELD_MANAGER, KubernetesClient
from llmservice_operator.cli.failure import Clash, Failure, Missing, RefusedByServer, TooLarge
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.resources import names

COMPONENT = "api-keys"
ATTEMPTS = 8
"""How often a change is tried while others change the same Secret."""
_PAUSE = 0.05
"""Seconds before the second attempt; each further one waits as long again."""

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the Secret: a key, or why it is none."""

    name: str
    key: StoredKey | None
    problem: str = ""


def entries(secret: Object) -> list[Entry]:
    """All entries, by name."""
    return [_entry(name, value) for name, value in sorted((secret.get("data") or {}).items())]


def maker(secret: Object) -> str:
    """Kind and name of what makes the Secret and will undo changes of it; empty if nothing does."""
    owners = secret.get("metadata", {}).get("ownerReferences") or ()
    return next((f"{each['kind']} {each['name']}" for each in owners if each.get("controller")), "")


class Keyring:
    """The Secret of that name, on the cluster."""

    def __init__(self, cluster: KubernetesClient, namespace: str, name: str, sleep: Callable[[float], None]) -> None:
        self._cluster = cluster
        self._sleep = sleep
        self.thing = ObjectRef("/api/v1", "Secret", "secrets", namespace, name)

    def read(self) -> Object | None:
        """The Secret; None if there is none. Raises Failure."""
        try:
            return self._cluster.get(self.thing)
        except Missing:
            return None

    def add(self, key: StoredKey) -> Object:
        """Add a key, to a new Secret if there is none; the Secret as it is then. Raises Failure."""
        patch = {"data": {key.id: _encoded(key)}}

        def attempt() -> Object:
            try:
                return self._cluster.merge(self.thing, patch)
            except Missing:
                return self._cluster.create(self.thing, {**self._bare(), **patch})

        return self._settled(attempt)

    def swap(self, old: Sequence[str], new: Callable[[Object], Sequence[StoredKey]]) -> Object:
        """Take out the entries of the names ``old`` and put in what ``new`` makes of the Secret, all at once.

        Raises Failure, with nothing changed, if one of ``old`` is not there or ``new`` raises it.
        """

        def attempt() -> Object:
            secret = self._cluster.get(self.thing)
            added = {key.id: _encoded(key) for key in new(secret)}
            version = secret["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version}, "data": {**dict.fromkeys(old), **added}}
            return self._cluster.merge(self.thing, patch)

        return self._settled(attempt)

    def _settled(self, attempt: Callable[[], Object]) -> Object:
        for number in range(1, ATTEMPTS + 1):
            try:
                return attempt()
            except Clash:
                if number == ATTEMPTS:
                    raise
                self._sleep(_PAUSE * number)
            except RefusedByServer as refused:
                raise _explained(self.thing, refused) from None
        raise AssertionError("the last attempt returns or raises")

    def _bare(self) -> dict[str, Any]:
        """The Secret has no owner: keys outlive a service that is deleted and created again, and services may share
        it."""
        labels = {
            names.NAME_LABEL: names.APPLICATION,
            names.COMPONENT_LABEL: COMPONENT,
            names.PART_OF_LABEL: names.APPLICATION,
            names.MANAGED_BY_LABEL: FIELD_MANAGER,
        }
        metadata = {"name": self.thing.name, "namespace": self.thing.namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata}


def _entry(name: str, value: str) -> Entry:
    try:
        return Entry(name, read_entry(name, base64.b64decode(value, validate=True).decode()))
    except (UnicodeDecodeError, binascii.Error):
        return Entry(name, None, "it is not text")
    except BadKey as error:
        return Entry(name, None, str(error))


def _encoded(key: StoredKey) -> str:
    return base64.b64encode(key.entry().encode()).decode()


def _explained(thing: ObjectRef, refused: RefusedByServer) -> Failure:
    if isinstance(refused, TooLarge):
        return Failure(
            f"the {thing} is full: a Secret holds 1 MiB, which is about 9,000 keys. Revoke unused keys "
            f"(`keys list` shows them), or set another Secret in the service. The API server says: {refused.message}"
        )
    if "immutable" in refused.message:
        return Failure(
            f"the {thing} is marked immutable, so its keys can't change: delete it and create it without `immutable`"
        )
    return refused
