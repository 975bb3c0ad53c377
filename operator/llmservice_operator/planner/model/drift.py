"""Whether a live object has to be applied again.

It has to if the fingerprint of what was last applied differs, so that removed fields are noticed, or if not everything
desired is in the live object. The API server adds defaults, also in list items, and normalizes quantities; others may
add their own fields. These are not drift.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import kinds, names, quantity


def _list_keys() -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {"ownerReferences": {"uid"}}
    for kind in kinds.TABLE:
        for field, keys in kind.list_keys.items():
            found.setdefault(field, set()).update(keys)
    return {field: tuple(sorted(keys)) for field, keys in found.items()}


LIST_KEYS: Mapping[str, tuple[str, ...]] = _list_keys()
"""Fields of list items by which the API server merges lists. If lists of the same name have different keys in two
kinds, an item has those of its own kind."""

_WHOLE_MAPS = frozenset({"selector", "nodeSelector", "labelSelector"})
"""Maps that have one owner: an additional key is a change."""

_EXACT = frozenset[str]().union(*(kind.atomic_fields for kind in kinds.TABLE))
"""Fields that have one owner."""

_FALSE_IS_ABSENT = frozenset({"publishNotReadyAddresses"})
"""Booleans that the API server omits if they are false. Any other absent boolean is not false: without
``automountServiceAccountToken`` a pod gets a token."""

_QUANTITIES = frozenset({"requests", "limits"})

_COMPARED_AT_ONCE = frozenset({str, dict, list})
"""Types whose values are compared with ==."""


ItemKey = tuple[tuple[str, Any], ...]
"""The fields, with their values, by which the API server finds an item of a list."""
Path = tuple[str | ItemKey, ...]
"""Where a value is in an object: names of fields and keys of list items."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A value that the live object does not have as it is desired."""

    path: Path
    desired: Any = dataclasses.field(hash=False)
    live: Any = dataclasses.field(hash=False)
    """None if it is absent."""


def differs(desired: Object, actual: Object) -> bool:
    """Whether ``actual``, from the API server, differs from ``desired``."""
    annotations = actual["metadata"].get("annotations") or {}
    wanted = desired["metadata"].get("annotations") or {}
    if annotations.get(names.APPLIED_ANNOTATION) != wanted.get(names.APPLIED_ANNOTATION):
        return True
    return not within(desired, actual)


def within(desired: Any, actual: Any) -> bool:
    """Whether ``actual``, from the API server, contains all of ``desired``."""
    return _within(desired, actual, "")


def differences(desired: Any, actual: Any, at: Path = ()) -> Iterator[Difference]:
    """Everything desired that is not in ``actual``: none if and only if it is ``within``. Maps and lists with one owner
    are one value. The paths begin with ``at``."""
    return _differences(desired, actual, "", at)


def _differences(desired: Any, actual: Any, field: str, at: Path) -> Iterator[Difference]:
    if _within(desired, actual, field):
        return
    keys = LIST_KEYS.get(field)
    whole = field in _EXACT or (field in _WHOLE_MAPS and set(actual or ()) != set(desired or ()))
    if isinstance(desired, dict) and isinstance(actual, dict) and not whole:
        for key, value in desired.items():
            inner = {key: value} if field in _QUANTITIES else value
            found = {key: actual.get(key)} if field in _QUANTITIES else actual.get(key)
            if not _within(inner, found, field if field in _QUANTITIES else key):
                yield from _differences(value, actual.get(key), key, (*at, key))
    elif isinstance(desired, (list, tuple)) and isinstance(actual, (list, tuple)) and keys is not None and not whole:
        by_key = {_key(item, keys): item for item in actual}
        for item in desired:
            place = tuple((key, item[key]) for key in keys if key in item)
            yield from _differences(item, by_key.get(_key(item, keys)), "", (*at, place))
    else:
        yield Difference(at, desired, actual)


def _within(desired: Any, actual: Any, field: str) -> bool:
    if field in _EXACT:
        return bool(desired == actual)
    if isinstance(desired, dict):
        return _map_within(desired, actual, field)
    if isinstance(desired, (list, tuple)):
        return _list_within(desired, actual, field)
    if actual is None and (field in _FALSE_IS_ABSENT if desired is False else _empty(desired)):
        return True
    if field == "sizeLimit":
        return _same_quantity(desired, actual)
    return bool(desired == actual) and isinstance(desired, bool) == isinstance(actual, bool)


def _map_within(desired: dict[str, Any], actual: Any, field: str) -> bool:
    if not isinstance(actual, dict):
        return actual is None and _empty(desired)
    if field in _WHOLE_MAPS and set(actual) != set(desired):
        return False
    if field in _QUANTITIES:
        return all(_same_quantity(value, actual.get(key)) for key, value in desired.items())
    for key, value in desired.items():
        found = actual.get(key)
        # Most values are equal. Values of other types than these may be equal to a value of a different type.
        if (type(value) not in _COMPARED_AT_ONCE or value != found) and not _within(value, found, key):
            return False
    return True


def _list_within(desired: list[Any] | tuple[Any, ...], actual: Any, field: str) -> bool:
    if not isinstance(actual, (list, tuple)):
        return actual is None and not desired
    keys = LIST_KEYS.get(field)
    if keys is None:
        same = zip(desired, actual, strict=False)
        return len(desired) == len(actual) and all(_within(one, other, "") for one, other in same)
    by_key = {_key(item, keys): item for item in actual}
    return all(_within(item, by_key.get(_key(item, keys)), "") for item in desired)


def _key(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(key) for key in keys)


def _same_quantity(desired: Any, actual: Any) -> bool:
    if desired is None or actual is None:
        return desired is actual
    if type(desired) is str and desired == actual:
        return True
    return quantity.parse(desired) == quantity.parse(actual)


def _empty(value: Any) -> bool:
    return value is None or value in (0, "") or value == [] or value == {}
