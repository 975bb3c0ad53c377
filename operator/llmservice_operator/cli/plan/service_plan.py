"""The plan of one service, for all output formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from llmservice_contract.inspection import ModelFacts
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.cli.plan import CHANGE, FAILS, NOTHING
from llmservice_operator.planner.model.observed import NodeCapacity
from llmservice_operator.resources.platform import Prices
from llmservice_operator.simulation.simulate import SimulationResult, StartingPoint

DOES_NOT_FIT = "DoesNotFit"


@dataclasses.dataclass(frozen=True)
class DryRunRefusal:
    """Something that would not be taken."""

    by: str
    """Whose words they are: ``API server``, or ``types`` and ``rules`` of this program if no cluster was asked."""
    what: str
    """The object, such as ``StatefulSet chat``."""
    message: str


@dataclasses.dataclass(frozen=True)
class Fit:
    """Whether the model fits its GPUs."""

    verdict: str
    """Fits, DoesNotFit or Unknown."""
    message: str


@dataclasses.dataclass(frozen=True)
class Side:
    """The service before or after the change, as far as memory and money go."""

    spec: LLMServiceSpec
    replicas: int
    facts: ModelFacts | None
    """What is known of the spec's model; None for nothing."""
    nodes: Sequence[NodeCapacity] | None
    """None if they are not known."""
    draft: Mapping[str, Any] | None = None
    """config.json of the draft model; None if it is not known."""
    prices: Prices = dataclasses.field(default_factory=Prices)
    """Empty if they are not known."""
    product: str = ""
    """Of the GPUs that the service has now; empty if that is not known."""


@dataclasses.dataclass(frozen=True)
class Appraisal:
    """What is known of one side; None for each that is not."""

    fit: Fit | None = None
    cost_per_hour: float | None = None
    currency: str = ""


@dataclasses.dataclass(frozen=True)
class Removal:
    """A service that the new manifests do not have."""

    before: StartingPoint
    claims: tuple[str, ...]
    """Volume claims of its own, which are deleted with it."""


@dataclasses.dataclass(frozen=True)
class PlannedChange:
    """All that is known of what a change will do to one service."""

    namespace: str
    name: str
    refusals: tuple[DryRunRefusal, ...]
    simulation: SimulationResult | None
    """None if the change would be refused."""
    notes: tuple[str, ...]
    """What could not be known, and what was taken for granted instead."""
    device: str = "GPU"
    """What a device is called."""
    before: Appraisal = dataclasses.field(default_factory=Appraisal)
    after: Appraisal = dataclasses.field(default_factory=Appraisal)
    removal: Removal | None = None
    """None unless the new manifests do not have the service."""

    @property
    def status(self) -> int:
        """The exit status that it calls for."""
        if self.removal is not None:
            return CHANGE
        fits = self.after.fit is None or self.after.fit.verdict != DOES_NOT_FIT
        if self.simulation is None or not self.simulation.changes:
            return FAILS if self.refusals else NOTHING
        return CHANGE if fits and self.simulation.succeeds and not self.refusals else FAILS
