"""The differences between two pod templates, as lines for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_contract.engine_settings import with_current_names
from llmservice_operator.planner.model import drift
from llmservice_operator.planner.report import phrases

MOST = 20
LONGEST = 160
USERS = ("runAsUser", "runAsGroup", "fsGroup")


def changes(live: Any, rendered: Any, environment: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    """A line for each changed field of the pods and each changed variable of their environment. A variable that only
    has a new name is not a change."""
    environment, asked = with_current_names(environment), with_current_names(asked)
    variables = [
        f"{name}: {_shown(environment.get(name))} -> {_shown(asked.get(name))}"
        for name in sorted({*environment, *asked})
        if environment.get(name) != asked.get(name)
    ]
    found = [*variables, *_users(live, rendered), *_fields(live, rendered, "")]
    more = len(found) - MOST
    return [*found[:MOST], *([f"and {more} more"] if more > 0 else [])]


def _users(live: Any, rendered: Any) -> Iterator[str]:
    """Users and groups that are removed. Other fields that only the live object has are defaults of the API server."""
    before, after = (each.get("spec", {}).get("securityContext") or {} for each in (live, rendered))
    for key in USERS:
        if key in before and key not in after:
            yield f"spec.securityContext.{key}: {before[key]} -> nothing"


def _fields(live: Any, rendered: Any, path: str) -> Iterator[str]:
    if drift.within(rendered, live):
        return
    if isinstance(rendered, dict) and isinstance(live, dict):
        for key, value in rendered.items():
            if key != "envFrom":  # its name is a hash of its content, and the content is compared
                yield from _fields(live.get(key), value, f"{path}.{key}" if path else key)
        return
    named = _by_name(rendered)
    if named is not None:
        there = _by_name(live) or {}
        for name, item in named.items():
            yield from _fields(there.get(name), item, f"{path}[{name}]")
        for name in there.keys() - named.keys():
            yield f"{path}[{name}]: removed"
        return
    yield f"{path}: {_shown(live)} -> {_shown(rendered)}"


def _by_name(items: Any) -> dict[str, Any] | None:
    """Items of a list by name; None for anything else."""
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, dict) and "name" in item for item in items):
        return None
    return {item["name"]: item for item in items}


def _shown(value: Any) -> str:
    return "nothing" if value is None else phrases.head(_plain(str(value)), LONGEST)


def _plain(text: str) -> str:
    """One line without control characters. Anyone who may write the service's objects may have written the text."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * LONGEST]).split())
