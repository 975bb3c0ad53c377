"""The pods that the operator created, and their addresses. Only their series count, whatever labels other pods have.

A pod belongs to a service if the service's StatefulSet controls it. A deleted pod is remembered as long as Prometheus
may return its samples.
"""

import ipaddress
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_operator.autoscaling.signals import Owned
from llmservice_operator.controller.informer.store import Cache, ServiceKey
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import POD, STATEFULSET

KEPT_SECONDS = 600.0
"""How long a deleted pod is remembered: Prometheus returns its last sample for five minutes, and a rate covers the
window before that."""
MOST_GONE = 1000
"""Maximum pods and addresses of one service that are remembered."""


logger = logging.getLogger(__name__)


class OwnPods:
    """``known`` reads the cache; call it for each reading."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._seen: dict[ServiceKey, dict[tuple[str, str], float]] = {}
        """When each pod was last seen at each address; the address is empty if it has none."""

    def known(self, now: float) -> Owned:
        """The pods of every service. ``now`` is the time of a monotonic clock, in seconds."""
        keys = set(self._cache.services())
        for gone in self._seen.keys() - keys:
            del self._seen[gone]
        return {key: self._isolated(key, now) for key in keys}

    def _isolated(self, key: ServiceKey, now: float) -> Mapping[str, frozenset[str]]:
        """An error affects one service: none of its series count, and the others are read as usual."""
        try:
            return self._of(key, now)
        except Exception:
            logger.exception("%s/%s: could not list its pods", *key)
            return {}

    def _of(self, key: ServiceKey, now: float) -> Mapping[str, frozenset[str]]:
        seen = self._seen.setdefault(key, {})
        for pod in self._own(key):
            for address in _addresses(pod):
                seen.pop((pods.name(pod), address), None)
                seen[pods.name(pod), address] = now
        # The least recently seen ones come first.
        for each, at in list(seen.items()):
            if now - at <= KEPT_SECONDS and (at == now or len(seen) <= MOST_GONE):
                break
            del seen[each]
        found: dict[str, set[str]] = {}
        for name, address in seen:
            found.setdefault(name, set()).update({address} - {""})
        return {name: frozenset(addresses) for name, addresses in found.items()}

    def _own(self, key: ServiceKey) -> Iterator[Object]:
        statefulset = self._cache.get(STATEFULSET.kind, key[0], names.engine_statefulset(key[1]))
        service = self._cache.service(key)
        if statefulset is None or service is None or not pods.owned_by(statefulset, service["metadata"]["uid"]):
            return
        uid = statefulset["metadata"]["uid"]
        for obj in self._cache.related(key):
            if obj["kind"] == POD.kind and (pods.controller(obj) or {}).get("uid") == uid:
                yield obj


def _addresses(pod: Mapping[str, Any]) -> Iterator[str]:
    """The pod's canonical addresses, and an empty one for a pod without addresses."""
    yield ""
    for each in (pod.get("status") or {}).get("podIPs") or ():
        try:
            yield str(ipaddress.ip_address(each.get("ip", "")))
        except ValueError:
            continue
