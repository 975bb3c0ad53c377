"""JSON merge patches (RFC 7386): the one that makes an object into another, and what an object is with one applied."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def between(old: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    """The patch from ``old`` to ``new``; empty if they are equal. None in ``new`` means absent."""
    patch: Json = {key: None for key in old if new.get(key) is None}
    for key, value in new.items():
        if value is None or value == old.get(key):
            continue
        before = old.get(key)
        patch[key] = between(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return patch


def patched(target: Any, patch: Any) -> Any:
    """``target`` with ``patch`` applied. Neither is changed; the result shares parts with both."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = patched(result.get(key), value)
    return result
