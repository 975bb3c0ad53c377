"""The LLMService to which requests go: the name of its model, and why it can't answer if it can't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure, Missing, no_such_service
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.cli.terminal import one_line
from llmservice_operator.resources.kinds import LLMSERVICE

_LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class ModelService:
    """One LLMService as it was read."""

    thing: ObjectRef
    spec: Mapping[str, Any]
    status: Mapping[str, Any]

    @classmethod
    def read(cls, cluster: KubernetesClient, namespace: str, name: str) -> ModelService:
        """The service as it is now. Raises Failure."""
        thing = ObjectRef.of(LLMSERVICE, namespace, name)
        try:
            found = cluster.get(thing)
        except Missing:
            raise no_such_service(thing) from None
        return cls(thing, found.get("spec") or {}, found.get("status") or {})

    @property
    def model(self) -> str:
        """The first name under which its model is served."""
        served = (self.spec.get("model") or {}).get("servedNames") or ()
        return str(served[0]) if served else self.thing.name

    @property
    def ready_replicas(self) -> int:
        """Replicas that answer requests."""
        count = self.status.get("readyReplicas")
        return count if isinstance(count, int) else 0

    def check(self) -> None:
        """Raises Failure if no replica is ready."""
        if not self.ready_replicas:
            raise self.not_ready()

    def not_ready(self) -> Failure:
        """Why it can't answer, from its conditions."""
        conditions = self.status.get("conditions") or ()
        ready = next((each for each in conditions if each.get("type") == "Ready"), None)
        if ready is None:
            why = "the operator has not reported its state yet"
        elif ready.get("status") == "True":
            why = "its status is Ready, but none of its replicas accepts connections now"
        else:
            message = one_line(str(ready.get("message") or ""))[:_LONGEST_MESSAGE].rstrip(".")
            why = ": ".join(part for part in (str(ready.get("reason") or "Unknown"), message) if part)
        return Failure(
            f"the {self.thing} has no ready replica: {why}. Run `kubectl llm explain {self.thing.name} -n "
            f"{self.thing.namespace}`"
        )
