"""The changed fields of a spec, and the effect of each one alone: whether pods are replaced, and which children change.

The effects are found by rendering the children for each field, so there is no list of fields to maintain.
"""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import names
from llmservice_operator.resources.children import make_children
from llmservice_operator.resources.objects import Owner, canonical
from llmservice_operator.resources.platform import Platform
from llmservice_operator.simulation.diff import Field, fields_of

_SETS = "StatefulSet"


@dataclasses.dataclass(frozen=True)
class SpecChange:
    """One changed field of the spec, and its effect alone."""

    field: Field
    restarts: bool
    """Whether pods are replaced because of it."""
    children: tuple[str, ...]
    """Kinds of the children that change because of it."""


def of_change(
    owner: Owner, before: Mapping[str, Any], after: Mapping[str, Any], platform: Platform
) -> tuple[SpecChange, ...]:
    """Each field that differs. Its effect is determined with the previous spec or, if that becomes invalid, with the
    new one. If both are invalid, its effect is that of the smallest part of the spec around it that can change alone,
    such as spec.scaling; if there is none, the field counts as one that replaces pods."""
    fields = fields_of(before, after, "spec", exact=True)
    return tuple(_effect(owner, dict(before), dict(after), field, platform) for field in fields)


def _effect(
    owner: Owner, before: dict[str, Any], after: dict[str, Any], field: Field, platform: Platform
) -> SpecChange:
    found = _alone(owner, before, after, field, field, platform)
    path = field.path
    while found is None and "." in (path := path.rpartition(".")[0]):
        around = Field(path, _at(before, path), _at(after, path))
        found = _alone(owner, before, after, field, around, platform)
    return found or SpecChange(field, True, (_SETS,))


def _alone(
    owner: Owner, before: dict[str, Any], after: dict[str, Any], field: Field, changed: Field, platform: Platform
) -> SpecChange | None:
    """The effect of ``changed`` alone, which has ``field`` in it; None if the spec is invalid with it alone."""
    for base, value in ((before, changed.after), (after, changed.before)):
        one = _rendered(owner, base, platform)
        other = _rendered(owner, _with(base, changed.path, value), platform)
        if one is not None and other is not None:
            kinds = {key[0] for key in {*one, *other} if canonical(one.get(key)) != canonical(other.get(key))}
            return SpecChange(field, _templates(one) != _templates(other), tuple(sorted(kinds)))
    return None


def _at(spec: Mapping[str, Any], path: str) -> Any:
    """The part of the spec at a path; None if it is absent."""
    place: Any = spec
    for part in list(_parts(path))[1:]:
        place = place.get(part) if isinstance(place, Mapping) else None
    return place


def _templates(children: Mapping[tuple[str, str], Any]) -> str:
    found = {name: each["spec"]["template"] for (kind, name), each in children.items() if kind == _SETS}
    return canonical(found)


def _rendered(owner: Owner, spec: Mapping[str, Any], platform: Platform) -> dict[tuple[str, str], Any] | None:
    """The children without their fingerprints; None if the spec is invalid."""
    try:
        parsed = LLMServiceSpec.model_validate(spec)
        found = make_children(owner, parsed, platform, 1 if parsed.replicas is None else parsed.replicas)
    except (pydantic.ValidationError, ValueError):
        return None
    return {(each["kind"], each["metadata"]["name"]): _without_fingerprint(each) for each in found}


def _without_fingerprint(child: Object) -> dict[str, Any]:
    meta = child["metadata"]
    annotations = {key: text for key, text in meta["annotations"].items() if key != names.APPLIED_ANNOTATION}
    return {**child, "metadata": {**meta, "annotations": annotations}}


def _with(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The spec with one field set or removed."""
    result = copy.deepcopy(spec)
    place: Any = result
    *parents, last = list(_parts(path))[1:] or [""]
    for part in parents:
        if isinstance(place, list):
            place = next((item for item in place if item.get("name") == part), None)
            if place is None:
                return result
        else:
            place = place.setdefault(part, {})
    if isinstance(place, list):
        place[:] = [item for item in place if item.get("name") != last] + ([value] if value is not None else [])
    elif value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return result


def _parts(path: str) -> Iterator[str]:
    """The keys of a path such as ``spec.scheduling.nodeSelector[example.com/pool]``."""
    part, inside = "", False
    for sign in path:
        if sign == "[" and not inside:
            yield part
            part, inside = "", True
        elif sign == "]" and inside:
            inside = False
        elif sign == "." and not inside:
            yield part
            part = ""
        else:
            part += sign
    yield part
