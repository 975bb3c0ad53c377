"""Which manifest is about which service: by namespace and name, as the API server knows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmservice_operator.api import KIND
from llmservice_operator.cli.failure import Failure

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One service in the old and the new manifests."""

    namespace: str
    name: str
    before: Object | None
    """None for a new service."""
    after: Object | None
    """None for a service that the new manifests do not have."""
    notes: tuple[str, ...] = ()


def by_key(manifests: Sequence[Object], paths: Sequence[str], given: str | None, default: str) -> dict[Key, Object]:
    """Each service by its namespace and name, in the order of the manifests. ``given``: the value of --namespace;
    ``default``: the namespace without it. Raises Failure for a service that occurs twice, or contradicts --namespace.
    """
    found: dict[Key, Object] = {}
    for manifest in manifests:
        name, stated = str(manifest["metadata"]["name"]), manifest["metadata"].get("namespace")
        if stated and given and stated != given:
            raise Failure(f"{KIND} {name} is in namespace {stated}, but --namespace is {given}")
        key = str(stated or given or default), name
        if key in found:
            count = sum(str(each["metadata"]["name"]) == name for each in manifests)
            raise Failure(
                f"{', '.join(paths)} has {count} {KIND}s {key[0]}/{name}, and only the last one would count: remove "
                "the others"
            )
        found[key] = manifest
    return found


def paired(old: Mapping[Key, Object], new: Mapping[Key, Object]) -> Iterator[Pair]:
    """The services of the new manifests, then those of the old ones alone."""
    for namespace, name in [*new, *(key for key in old if key not in new)]:
        key = namespace, name
        yield Pair(namespace, name, old.get(key), new.get(key), _notes(key, old, new))


def _notes(key: Key, old: Mapping[Key, Object], new: Mapping[Key, Object]) -> tuple[str, ...]:
    """A manifest without a namespace may be that of a service which the other manifests have in a namespace."""
    if key in old or new[key]["metadata"].get("namespace"):
        return ()
    elsewhere = sorted(namespace for namespace, name in old if name == key[1] and (namespace, name) not in new)
    return tuple(
        f"the manifest has no namespace, and --against has {key[1]} in namespace {namespace}: to compare them, pass "
        f"--namespace {namespace}"
        for namespace in elsewhere[:1]
    )
