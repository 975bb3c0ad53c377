"""The pod to diagnose and everything that its diagnosis may depend on."""

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.planner.model import pods, timestamps
from llmservice_operator.planner.model.observed import Object, ObservedEvent


@dataclasses.dataclass(frozen=True)
class PodContext:
    """A pod, its container of interest, and the loading budget of that container in seconds."""

    pod: Object
    now: datetime.datetime
    budget_seconds: int | None = None
    container: str = ENGINE_CONTAINER
    events: Sequence[ObservedEvent] = ()
    """Recent Events about pods of this name, the oldest first; empty if they are not known."""
    own_image: bool = False
    """Whether the spec names the image."""

    @property
    def name(self) -> str:
        """The pod's name."""
        return pods.name(self.pod)

    @property
    def status(self) -> dict[str, Any]:
        """The container's status; empty if there is none yet."""
        return pods.container(self.pod, self.container)

    @property
    def waiting(self) -> dict[str, Any]:
        """Why the container waits; empty if it does not."""
        return dict(self.status.get("state", {}).get("waiting") or {})

    @property
    def ended(self) -> dict[str, Any]:
        """The container's latest exit, also of its previous run; empty if it has never exited."""
        status = self.status
        now, before = status.get("state", {}).get("terminated"), status.get("lastState", {}).get("terminated")
        return dict(now or before or {})

    @property
    def image(self) -> str:
        """The container's image."""
        return str(self.status.get("image") or "the image")

    @property
    def made(self) -> datetime.datetime | None:
        """When the pod was created; None if it is not known."""
        return timestamps.parse(self.pod["metadata"].get("creationTimestamp"))

    def reported(self, *reasons: str) -> Iterator[ObservedEvent]:
        """Events about this pod with one of these reasons, the latest first."""
        uid = self.pod["metadata"].get("uid")
        return (event for event in reversed(self.events) if event.reason in reasons and event.uid in ("", uid))
