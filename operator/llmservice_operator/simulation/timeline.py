"""What happens to pods on the way, as it happens, and the steps that a person would tell it in.

A step is a set of replicas that something happens to at once; it lasts until the next one begins. ``ready`` and
``devices`` of a step are the fewest replicas that answer and the most devices that are held while it lasts.
"""

import dataclasses
import datetime
from collections.abc import Iterable
from enum import StrEnum

from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.simulation.pod_model import Pod


class Action(StrEnum):
    """What happens to replicas in one step."""

    START = "Start"
    """They are started: so many more are asked for."""
    START_ONE_MORE = "StartOneMore"
    """One more than is asked for is started, so that as many go on answering."""
    REPLACE = "Replace"
    """They end, and come back as the changed spec wants them."""
    GO_BACK = "GoBack"
    """They end, and come back as they were before the change."""
    STOP = "Stop"
    """They end: fewer are asked for."""
    STOP_ONE_MORE = "StopOneMore"
    """The one that was started beside the others ends."""


@dataclasses.dataclass(frozen=True)
class UpdateWay:
    """How replicas are replaced."""

    strategy: RolloutStrategy
    why: str
    """As part of a sentence."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step on the way."""

    action: Action
    replicas: tuple[int, ...]
    """Numbers of the replicas, in the order in which it happens to them."""
    pods: tuple[str, ...]
    """Their pods, in the same order."""
    ready: int
    """The fewest replicas that answer while it lasts."""
    devices: int
    """The most devices that the service's pods hold while it lasts."""


@dataclasses.dataclass
class _Begun:
    at: datetime.datetime
    made: bool
    surplus: bool
    back: bool
    pods: list[tuple[str, int]]
    ready: int
    devices: int


class Timeline:
    """Everything that is noted."""

    def __init__(self, ready: int, devices: int, pods: int) -> None:
        self.least_ready, self.most_devices, self.most_pods = ready, devices, pods
        self._ready, self._devices = ready, devices
        self._begun: list[_Begun] = []
        self._deleted: set[str] = set()
        self._remade: set[tuple[int, str]] = set()
        self._last: dict[str, int] = {}

    def note(self, what: str, pod: Pod, at: datetime.datetime, *, surplus: bool, back: bool) -> None:
        """A pod was made or deleted. ``surplus``: its number is beyond what is asked for; ``back``: the changed spec
        was given up."""
        if what == "made" and pod.name in self._deleted:
            self._deleted.discard(pod.name)
            before = self._last.pop(pod.name)
            if self._begun[before].surplus == surplus:  # else it stopped, and is started for another reason
                self._remade.add((before, pod.name))
                return
        made = what == "made"
        last = self._begun[-1] if self._begun else None
        if last is None or (last.at, last.made, last.surplus, last.back) != (at, made, surplus, back):
            last = _Begun(at, made, surplus, back, [], self._ready, self._devices)
            self._begun.append(last)
        last.pods.append((pod.name, pod.number))
        if not made:
            self._deleted.add(pod.name)
            self._last[pod.name] = len(self._begun) - 1

    def sample(self, ready: int, devices: int, pods: int) -> None:
        """How it stands now."""
        self._ready, self._devices = ready, devices
        self.most_pods = max(self.most_pods, pods)
        self.least_ready, self.most_devices = min(self.least_ready, ready), max(self.most_devices, devices)
        if self._begun:
            last = self._begun[-1]
            last.ready, last.devices = min(last.ready, ready), max(last.devices, devices)

    def steps(self) -> tuple[Step, ...]:
        """The steps, in order."""
        found: list[Step] = []
        more: set[str] = set()
        for index, begun in enumerate(self._begun):
            again = [(index, name) in self._remade for name, _ in begun.pods]
            for remade in dict.fromkeys(again):
                members = [pod for pod, back in zip(begun.pods, again, strict=True) if back is remade]
                names = {name for name, _ in members}
                action = _action(begun, remade, more >= names)
                more |= names if action is Action.START_ONE_MORE else set()
                found.append(_step(action, begun, members))
        return tuple(found)


def _action(begun: _Begun, remade: bool, more: bool) -> Action:
    """``more``: whether these pods were started as one more."""
    if begun.made:
        return Action.START_ONE_MORE if begun.surplus else Action.START
    if remade:
        return Action.GO_BACK if begun.back else Action.REPLACE
    return Action.STOP_ONE_MORE if more else Action.STOP


def _step(action: Action, begun: _Begun, members: Iterable[tuple[str, int]]) -> Step:
    there = list(members)
    numbers = tuple(dict.fromkeys(number for _, number in there))
    return Step(action, numbers, tuple(name for name, _ in there), begun.ready, begun.devices)
