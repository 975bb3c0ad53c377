"""Which services of a namespace the operator manages: the oldest ones, up to a maximum, so that one namespace can't use
up the operator.

The age is given by ``creationTimestamp`` and uid, so the result is the same in every reconciliation.
"""

import bisect
from collections.abc import Mapping
from typing import Any

_Key = tuple[str, str]
_Place = tuple[str, str, str]
"""Creation time, uid and name."""


class ServiceOrder:
    """The services of each namespace by age. With ``most`` 0 all are managed."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self._places: dict[str, list[_Place]] = {}
        self._place_of: dict[_Key, _Place] = {}

    def add(self, service: Mapping[str, Any]) -> set[_Key]:
        """Adds a service. Returns the other services that are no longer managed because of it, or are now."""
        meta = service["metadata"]
        key = (meta["namespace"], meta["name"])
        place = (str(meta.get("creationTimestamp") or ""), str(meta["uid"]), meta["name"])
        if self._place_of.get(key) == place:
            return set()
        risen = self.remove(key)
        places = self._places.setdefault(key[0], [])
        bisect.insort(places, place)
        self._place_of[key] = place
        pushed_out = bool(self.most) and len(places) > self.most and place < places[self.most]
        return risen ^ ({(key[0], places[self.most][2])} if pushed_out else set())

    def remove(self, key: _Key) -> set[_Key]:
        """Removes a service. Returns those that are managed now because of it."""
        place = self._place_of.pop(key, None)
        if place is None:
            return set()
        places = self._places[key[0]]
        at = bisect.bisect_left(places, place)
        del places[at]
        if not places:
            del self._places[key[0]]
        rises = at < self.most <= len(places)
        return {(key[0], places[self.most - 1][2])} if rises else set()

    def exceeds(self, key: _Key) -> bool:
        """Whether ``most`` services of its namespace are older."""
        place = self._place_of.get(key)
        return bool(self.most) and place is not None and bisect.bisect_left(self._places[key[0]], place) >= self.most
