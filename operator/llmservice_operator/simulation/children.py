"""The service's children during a simulation, stored as the API server would store them."""

from collections.abc import Iterable, Iterator
from typing import Any

from llmservice_operator.planner.model import drift, pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.simulation import server_side_apply
from llmservice_operator.simulation.pod_model import Json

Key = tuple[str, str]
"""Kind and name."""


class Children:
    """The children, and what the operator last applied of each."""

    def __init__(self, found: Iterable[Object]) -> None:
        self._live: dict[Key, Json] = {}
        self._applied: dict[Key, Object] = {}
        self._left: dict[Key, Json] = {}
        self._made = 0
        self.released: set[str] = set()
        """StatefulSets that were deleted without their pods and created again."""
        for child in found:
            self.keep(copied(dict(child)))
            self._applied[key_of(child)] = server_side_apply.as_applied(child)

    def __iter__(self) -> Iterator[Json]:
        return iter(list(self._live.values()))

    def snapshot(self) -> dict[Key, Json]:
        """Copies of all children."""
        return {key: copied(child) for key, child in self._live.items()}

    def get(self, kind: str, name: str) -> Json | None:
        """A child; None if it does not exist."""
        return self._live.get((kind, name))

    def of_kind(self, kind: str) -> list[Json]:
        """All children of a kind."""
        return [child for (of, _), child in self._live.items() if of == kind]

    def keep(self, child: Json) -> None:
        """Stores a child that another client has written."""
        self._live[key_of(child)] = child

    def apply(self, desired: Object) -> bool:
        """Applies a child as the operator does. Returns whether anything changed."""
        key = key_of(desired)
        before = self._live.get(key)
        if before is not None and not drift.differs(desired, before):
            return False
        if before is None:
            self._made += 1
            left = self._left.pop(key, None)  # the API server would set the same defaults again
            found = dict(desired) if left is None else server_side_apply.applied(left, self._applied.get(key), desired)
            found = copied({field: value for field, value in found.items() if field != "status"})
            found["metadata"] |= {"uid": f"simulated-{desired['kind']}-{self._made}", "generation": 1}
        else:
            found = copied(server_side_apply.applied(before, self._applied.get(key), desired))
            changed = found.get("spec") != before.get("spec")
            found["metadata"]["generation"] = int(before["metadata"].get("generation") or 0) + changed
        self._applied[key] = desired
        self.keep(found)
        return True

    def release(self, kind: str, name: str) -> None:
        """Deletes a child without its pods. It will be created again."""
        self._left[kind, name] = self._live.pop((kind, name))
        self.released.add(name)

    def delete(self, uid: str) -> Key | None:
        """Deletes the child with this uid; None if it does not exist."""
        found = next((key for key, child in self._live.items() if child["metadata"].get("uid") == uid), None)
        if found is not None:
            del self._live[found]
        return found


def copied(value: Any) -> Any:
    """A deep copy of JSON."""
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, (list, tuple)) else value


def key_of(child: Object) -> Key:
    """Kind and name."""
    return str(child["kind"]), pods.name(child)
