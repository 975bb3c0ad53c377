"""The fields of an object that a manager owns, as server-side apply writes them down, and how a person spoils one."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

Pointer = tuple[str | int, ...]

OTHER_WORDS = {
    "IfNotPresent": "Always",
    "RuntimeDefault": "Unconfined",
    "RollingUpdate": "OnDelete",
    "FallbackToLogsOnError": "File",
    "Exists": "Equal",
    "TCP": "UDP",
    "http": "other",
    "NoSchedule": "NoExecute",
    "ScheduleAnyway": "DoNotSchedule",
    "kubernetes.io/hostname": "topology.kubernetes.io/zone",
}
"""Words of a small vocabulary, each with another that the API server takes too."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One owned field: where it is in the live object."""

    pointer: Pointer

    def __str__(self) -> str:
        return ".".join(str(part) for part in self.pointer)

    @property
    def json_pointer(self) -> str:
        """The same by RFC 6901."""
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in self.pointer)

    def of(self, obj: Any) -> Any:
        """Its value; None if it is absent."""
        for part in self.pointer:
            try:
                obj = obj[part]
            except (KeyError, IndexError, TypeError):
                return None
        return obj


def owned(obj: Mapping[str, Any], manager: str) -> list[Field]:
    """The leaves that ``manager`` owns by server-side apply; one that holds a zero may be absent in ``obj``."""
    found: list[Field] = []
    for entry in obj["metadata"].get("managedFields", ()):
        if entry["manager"] == manager and entry["operation"] == "Apply" and "subresource" not in entry:
            found += [Field(pointer) for pointer in _leaves(entry["fieldsV1"], obj, ())]
    return found


def _leaves(fields: Mapping[str, Any], value: Any, at: Pointer) -> Iterator[Pointer]:
    below = {key: each for key, each in fields.items() if key != "."}
    if not below:
        yield at
    for key, each in below.items():
        kind, _, name = key.partition(":")
        match kind:
            case "f":
                yield from _leaves(each, (value or {}).get(name), (*at, name))
            case "k":
                wanted = json.loads(name)
                index = next(i for i, item in enumerate(value) if wanted.items() <= item.items())
                yield from _leaves(each, value[index], (*at, index))
            case "v":
                yield (*at, value.index(json.loads(name)))


def spoiled(value: Any) -> list[Any]:
    """Values that a user might set instead, the most likely valid one first."""
    match value:
        case None:
            return [1, True, "x"]
        case bool():
            return [not value]
        case int():
            return [value + 1, max(value - 1, 0)]
        case str() if value in OTHER_WORDS:
            return [OTHER_WORDS[value]]
        case str() if value.endswith("Gi"):
            return [f"{int(value[:-2]) + 1}Gi"]
        case str() if value.isdigit():
            return [str(int(value) + 1), f"{value}x"]
        case str():
            return [f"{value}x", f"x{value}"]
        case dict() if value:
            return [{key: next(iter(spoiled(each)), each) for key, each in value.items()}]
        case list() if value:
            return [[*(next(iter(spoiled(each)), each) for each in value)]]
        case _:
            return []
