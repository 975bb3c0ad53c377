"""The services that are looked at."""

from __future__ import annotations

from typing import Any

from llmservice_operator.api import GROUP, KIND, PLURAL, VERSION
from llmservice_operator.cli.cluster import Cluster, Thing
from llmservice_operator.cli.failure import Missing, no_such_service

API = f"/apis/{GROUP}/{VERSION}"


def find(cluster: Cluster, namespace: str | None, name: str | None) -> list[dict[str, Any]]:
    """The one of that name, or all of the namespace, or of all namespaces. Raises Failure."""
    if not name or not namespace:
        return cluster.list(API, KIND, PLURAL, namespace)
    thing = Thing(API, KIND, PLURAL, namespace, name)
    try:
        return [cluster.get(thing)]
    except Missing:
        raise no_such_service(thing) from None
