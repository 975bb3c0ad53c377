"""The services that are shown."""

from __future__ import annotations

from typing import Any

from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Missing, no_such_service
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.resources.kinds import LLMSERVICE


def find(cluster: KubernetesClient, namespace: str | None, name: str | None) -> list[dict[str, Any]]:
    """The service of that name, or all services of the namespace or of all namespaces. Raises Failure."""
    if not name or not namespace:
        return cluster.list(LLMSERVICE.root, LLMSERVICE.kind, LLMSERVICE.plural, namespace)
    thing = ObjectRef.of(LLMSERVICE, namespace, name)
    try:
        return [cluster.get(thing)]
    except Missing:
        raise no_such_service(thing) from None
