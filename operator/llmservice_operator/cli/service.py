"""The LLMServices that a command is about: the Secret with the keys of one, its tiers, and the refresh annotation."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmservice_contract.policy import DEFAULT_TIERS
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure, Missing, no_such_service
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.resources import names
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


_EXAMPLE = """\
  spec:
    access:
      apiKeys:
        secretRef:
          name: {name}-keys
"""


@dataclass(frozen=True, slots=True)
class Service:
    """The current state of one service."""

    cluster: KubernetesClient
    thing: ObjectRef
    access: Mapping[str, Any]
    """Its ``spec.access``."""

    @property
    def secret(self) -> str:
        """Name of the Secret with its keys. Raises Failure if it has no API keys."""
        name = ((self.access.get("apiKeys") or {}).get("secretRef") or {}).get("name")
        if not name:
            raise Failure(
                f"the {self.thing} has no API keys, so every client that can connect may use it. Set a Secret in "
                f"its manifest:\n\n{_EXAMPLE.format(name=self.thing.name)}\nThen apply the manifest, and run this "
                "command again"
            )
        return str(name)

    def knows_tier(self, tier: str) -> bool:
        """Whether the service defines the tier, or has no rate limits."""
        from llmservice_operator.api.access import LimitMode

        limits = self.access.get("rateLimits") or {}
        own = {each.get("name") for each in limits.get("tiers") or ()}
        return limits.get("mode") == LimitMode.DISABLED or tier in DEFAULT_TIERS or tier in own

    def nudge(self, now: datetime.datetime) -> str | None:
        """Annotate the service, so that its pods reload the Secret soon; returns the error message, or None.

        The annotation has microseconds, because two changes within one second must differ.
        """
        stamp = now.astimezone(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        try:
            self.cluster.merge(self.thing, {"metadata": {"annotations": {names.REFRESH_ANNOTATION: stamp}}})
        except Failure as failure:
            return str(failure)
        return None


def read(cluster: KubernetesClient, namespace: str, name: str) -> Service:
    """The service of that name. Raises Failure."""
    thing = ObjectRef.of(LLMSERVICE, namespace, name)
    try:
        found = cluster.get(thing)
    except Missing:
        raise no_such_service(thing) from None
    return Service(cluster, thing, (found.get("spec") or {}).get("access") or {})
