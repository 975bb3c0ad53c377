"""The LLMService that a command is about: which Secret holds its keys, which tiers it knows, and the nudge."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmservice_contract.policy import DEFAULT_TIERS
from llmservice_operator.cli.client import KubernetesClient, ObjectRef
from llmservice_operator.cli.failure import Failure, Missing, no_such_service
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import LLMSERVICE

_EXAMPLE = """\
  spec:
    access:
      apiKeys:
        secretRef:
          name: {name}-keys
"""


@dataclass(frozen=True, slots=True)
class Service:
    """One service as it is now."""

    cluster: KubernetesClient
    thing: ObjectRef
    access: Mapping[str, Any]
    """Its ``spec.access``."""

    @property
    def secret(self) -> str:
        """Name of the Secret with its keys. Raises Failure where it takes none."""
        name = ((self.access.get("apiKeys") or {}).get("secretRef") or {}).get("name")
        if not name:
            raise Failure(
                f"the {self.thing} takes no keys, so everybody who reaches it may use it. Put a Secret's name into its "
                f"manifest:\n\n{_EXAMPLE.format(name=self.thing.name)}\nThen apply the manifest, and ask again"
            )
        return str(name)

    def knows_tier(self, tier: str) -> bool:
        """Whether it has limits of its own for a tier, or none at all."""
        from llmservice_operator.api.access import LimitMode

        limits = self.access.get("rateLimits") or {}
        own = {each.get("name") for each in limits.get("tiers") or ()}
        return limits.get("mode") == LimitMode.DISABLED or tier in DEFAULT_TIERS or tier in own

    def nudge(self, now: datetime.datetime) -> str | None:
        """Ask the operator to hasten what the pods know of the Secret; what hinders it, in words, or None.

        Microseconds: the second of two changes within one second is a change too.
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
