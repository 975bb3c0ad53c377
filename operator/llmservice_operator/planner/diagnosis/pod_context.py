"""A pod that is looked at, and all that its diagnosis may depend on."""

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.observed import Object, ObservedEvent


@dataclasses.dataclass(frozen=True)
class PodContext:
    """A pod, the container in it that matters, and how long that may take to get ready."""

    pod: Object
    now: datetime.datetime
    budget_seconds: int | None = None
    container: str = ENGINE_CONTAINER
    events: Sequence[ObservedEvent] = ()
    """What Kubernetes reported lately of pods of this name, in the order of time; empty where it is not known."""

    @property
    def name(self) -> str:
        """The pod's name."""
        return pods.name(self.pod)

    @property
    def status(self) -> dict[str, Any]:
        """The container's status; empty where there is none yet."""
        return pods.container(self.pod, self.container)

    @property
    def waiting(self) -> dict[str, Any]:
        """Why the container waits; empty where it does not."""
        return dict(self.status.get("state", {}).get("waiting") or {})

    @property
    def ended(self) -> dict[str, Any]:
        """The container's latest end, also of a run before this one; empty where it never ended."""
        status = self.status
        now, before = status.get("state", {}).get("terminated"), status.get("lastState", {}).get("terminated")
        return dict(now or before or {})

    @property
    def image(self) -> str:
        """The container's image."""
        return str(self.status.get("image") or "the image")

    @property
    def made(self) -> datetime.datetime | None:
        """When the pod was made; None where that is not known."""
        return timestamps.parse(self.pod["metadata"].get("creationTimestamp"))

    def reported(self, *reasons: str) -> Iterator[ObservedEvent]:
        """What was reported of this very pod under these reasons, the latest first."""
        uid = self.pod["metadata"].get("uid")
        return (event for event in reversed(self.events) if event.reason in reasons and event.uid in ("", uid))
