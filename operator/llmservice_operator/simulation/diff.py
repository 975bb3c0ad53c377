"""Differences of the children before and after a change, field by field.

Not included: fields of the API server and of other clients, annotations for the operator itself, and names of
ConfigMaps that are hashes of their content if the content is included.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from llmservice_contract.foreign import read_json
from llmservice_operator.planner.model import drift, pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import kinds, names
from llmservice_operator.simulation import server_side_apply
from llmservice_operator.simulation.children import Key

_OWN_ANNOTATIONS = frozenset(
    {names.APPLIED_ANNOTATION, names.ROLLOUT_ANNOTATION, names.LAST_GOOD_ANNOTATION, names.IMMUTABLE_ANNOTATION}
)
_PROGRESS = frozenset({"updateStrategy"})
"""Fields of a StatefulSet's spec that only describe the progress of a rollout."""
_REVISION = "(by content)"
"""Replaces the name of a ConfigMap that is a hash of its content."""


class Change(StrEnum):
    """The change of a child."""

    CREATE = "Create"
    UPDATE = "Update"
    REPLACE = "Replace"
    """Replaced by another one, because its name is a hash of its content."""
    RENAME = "Rename"
    """The same content with another name."""
    RECREATE = "Recreate"
    """Deleted without its pods and created again, because an immutable field changes."""
    DELETE = "Delete"


@dataclasses.dataclass(frozen=True)
class Field:
    """One field that differs. None: the field is absent."""

    path: str
    before: Any
    after: Any


@dataclasses.dataclass(frozen=True)
class ChildChange:
    """The change of one child."""

    change: Change
    kind: str
    name: str
    before: str = ""
    """The name of the child that it replaces; empty if the name stays the same."""
    fields: tuple[Field, ...] = ()


def children(
    live: Mapping[Key, Object], wanted: Mapping[Key, Object], released: frozenset[str] = frozenset()
) -> tuple[ChildChange, ...]:
    """The change of each child. ``released``: StatefulSets that are created again."""
    found = _each(_shown(live), _shown(wanted), released)
    return tuple(sorted(found, key=lambda change: (kinds.SHOWN.index(change.kind), change.name)))


def _shown(objects: Mapping[Key, Object]) -> dict[Key, Object]:
    return {key: each for key, each in objects.items() if key[0] in kinds.SHOWN}


def _each(live: Mapping[Key, Object], wanted: Mapping[Key, Object], released: frozenset[str]) -> Iterator[ChildChange]:
    replaced = dict(_replacements(live, wanted))
    for key, desired in wanted.items():
        kind, name = key
        before = live.get(key)
        old = replaced.get(key)
        if before is None and old is not None:
            fields = tuple(fields_of(_compared(live[old]), _compared(desired)))
            yield ChildChange(Change.REPLACE if fields else Change.RENAME, kind, name, old[1], fields)
        elif before is None:
            yield ChildChange(Change.CREATE, kind, name)
        else:
            after = server_side_apply.applied(before, server_side_apply.as_applied(before), desired)
            fields = tuple(fields_of(_compared(before), _compared(after)))
            again = kind == "StatefulSet" and name in released
            if fields or again:
                yield ChildChange(Change.RECREATE if again else Change.UPDATE, kind, name, fields=fields)
    for key in live:
        if key not in wanted and key not in replaced.values():
            yield ChildChange(Change.DELETE, *key)


def _replacements(live: Mapping[Key, Object], wanted: Mapping[Key, Object]) -> Iterator[tuple[Key, Key]]:
    """ConfigMaps that replace others: engine environments and access policies, as pairs (new, old)."""
    for choose in (_is_environment, _is_access):
        old = [key for key, each in live.items() if choose(each) and key not in wanted]
        new = [key for key, each in wanted.items() if choose(each) and key not in live]
        used = {name for (kind, _), each in live.items() if kind == "StatefulSet" for name in _mentioned(each)}
        old.sort(key=lambda key: key[1] in used)
        if old and new:
            yield new[0], old[-1]


def _is_environment(child: Object) -> bool:
    return child["kind"] == "ConfigMap" and bool(child.get("immutable"))


def _is_access(child: Object) -> bool:
    return child["kind"] == "ConfigMap" and not child.get("immutable")


def _mentioned(statefulset: Object) -> list[str]:
    template = statefulset["spec"]["template"]
    return [*pods.environments(template), *pods.mounted_configmaps(template)]


def _compared(child: Object) -> dict[str, Any]:
    """The part of a child that is compared."""
    meta = child["metadata"]
    notes = {key: text for key, text in (meta.get("annotations") or {}).items() if key not in _OWN_ANNOTATIONS}
    found = {key: value for key, value in child.items() if key not in ("metadata", "status", "apiVersion", "kind")}
    found["metadata"] = {"labels": dict(meta.get("labels") or {}), "annotations": notes}
    if child["kind"] == "StatefulSet":
        spec = {key: value for key, value in child["spec"].items() if key not in _PROGRESS}
        claims = {claim["metadata"]["name"]: claim["spec"] for claim in spec.pop("volumeClaimTemplates", None) or ()}
        disks = {"volumeClaimTemplates": claims} if claims else {}
        found["spec"] = {**spec, "template": _without_names(spec["template"]), **disks}
    return found


def _without_names(template: Any) -> Any:
    """The template with the same placeholder for all names of ConfigMaps that are hashes of their content."""
    copy = json.loads(json.dumps(template))
    for container in copy["spec"].get("containers") or ():
        for source in container.get("envFrom") or ():
            if "configMapRef" in source:
                source["configMapRef"]["name"] = _REVISION
    for volume in copy["spec"].get("volumes") or ():
        if volume["name"] == names.ACCESS_VOLUME and "configMap" in volume:
            volume["configMap"]["name"] = _REVISION
    return copy


def fields_of(before: Any, after: Any, path: str = "", field: str = "", *, exact: bool = False) -> Iterator[Field]:
    """The fields that differ, one by one in maps and in lists with keys. Unless ``exact``, values that the API server
    treats as equal are not a difference, such as a quantity in another unit."""
    same = before is not None and after is not None and not exact and _equal(before, after, field)
    if before == after or same:
        return
    if isinstance(before, str) and isinstance(after, str):
        parsed = _as_json(before), _as_json(after)
        if isinstance(parsed[0], dict) and isinstance(parsed[1], dict):
            before, after = parsed
    if isinstance(before, dict) or isinstance(after, dict):
        one, other = (value if isinstance(value, dict) else {} for value in (before, after))
        if before is None or after is None or (isinstance(before, dict) and isinstance(after, dict)):
            if not one and not other:
                yield Field(path, before, after)
            for key in [*one, *(key for key in other if key not in one)]:
                yield from fields_of(one.get(key), other.get(key), _below(path, key), key, exact=exact)
            return
    keyed = _keyed(before, field), _keyed(after, field)
    if keyed[0] is not None and keyed[1] is not None and (keyed[0] or keyed[1]):
        for key in [*keyed[0], *(key for key in keyed[1] if key not in keyed[0])]:
            mine, theirs = keyed[0].get(key), keyed[1].get(key)
            if mine is None or theirs is None:
                yield Field(f"{path}[{key}]", mine, theirs)
            else:
                yield from fields_of(mine, theirs, f"{path}[{key}]", exact=exact)
        return
    yield Field(path, before, after)


def _equal(before: Any, after: Any, field: str) -> bool:
    return drift.within({field: after}, {field: before}) and drift.within({field: before}, {field: after})


def _keyed(value: Any, field: str) -> dict[str, Any] | None:
    """Items of a list by their keys; None for anything else."""
    if value is None:
        return {}
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, dict) for item in value):
        return None
    keys = drift.LIST_KEYS.get(field) or ("name",)
    if not all(any(item.get(key) is not None for key in keys) for item in value):
        return None
    return {"/".join(str(item[key]) for key in keys if item.get(key) is not None): item for item in value}


def _below(path: str, key: str) -> str:
    if not key.replace("-", "").replace("_", "").isalnum():
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _as_json(text: str) -> Any:
    return read_json(text) if text[:1] == "{" else None
