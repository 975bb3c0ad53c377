"""Records changes of pods, and summarizes them as steps for people.

A step is a set of replicas that change at the same time; it lasts until the next one begins. ``ready`` and ``devices``
of a step are the minimum number of ready replicas and the maximum number of devices meanwhile.
"""

import dataclasses
import datetime
from collections.abc import Iterable
from enum import StrEnum

from llmservice_operator.api.rollout import RolloutStrategy
from llmservice_operator.simulation.pod_model import Pod


class Action(StrEnum):
    """The change of replicas in one step."""

    START = "Start"
    """They are started, because the count increases."""
    START_SURGE = "StartSurge"
    """A surge replica is started, so that enough replicas stay ready."""
    REPLACE = "Replace"
    """They are deleted and created again with the new spec."""
    ROLL_BACK = "RollBack"
    """They are deleted and created again with the previous spec."""
    STOP = "Stop"
    """They are deleted, because the count decreases."""
    STOP_SURGE = "StopSurge"
    """The surge replica is deleted."""


@dataclasses.dataclass(frozen=True)
class UpdateWay:
    """How replicas are replaced."""

    strategy: RolloutStrategy
    why: str
    """The reason, as part of a sentence."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a rollout."""

    action: Action
    replicas: tuple[int, ...]
    """Numbers of the replicas, in the order of their changes."""
    pods: tuple[str, ...]
    """Their pods, in the same order."""
    ready: int
    """Minimum number of ready replicas during the step."""
    devices: int
    """Maximum number of devices that the service's pods hold during the step."""


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
    """All recorded changes."""

    def __init__(self, ready: int, devices: int, pods: int) -> None:
        self.least_ready, self.most_devices, self.most_pods = ready, devices, pods
        self._ready, self._devices = ready, devices
        self._begun: list[_Begun] = []
        self._deleted: set[str] = set()
        self._remade: set[tuple[int, str]] = set()
        self._last: dict[str, int] = {}

    def note(self, what: str, pod: Pod, at: datetime.datetime, *, surplus: bool, back: bool) -> None:
        """Records that a pod was made or deleted. ``surplus``: its number exceeds the desired count; ``back``: the
        rollout has failed and is rolled back."""
        if what == "made" and pod.name in self._deleted:
            self._deleted.discard(pod.name)
            before = self._last.pop(pod.name)
            if self._begun[before].surplus == surplus:  # otherwise it stopped, and is started for another reason
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
        """Records the current numbers."""
        self._ready, self._devices = ready, devices
        self.most_pods = max(self.most_pods, pods)
        self.least_ready, self.most_devices = min(self.least_ready, ready), max(self.most_devices, devices)
        if self._begun:
            last = self._begun[-1]
            last.ready, last.devices = min(last.ready, ready), max(last.devices, devices)

    def steps(self) -> tuple[Step, ...]:
        """The steps, in order."""
        found: list[Step] = []
        surge: set[str] = set()
        for index, begun in enumerate(self._begun):
            again = [(index, name) in self._remade for name, _ in begun.pods]
            for remade in dict.fromkeys(again):
                members = [pod for pod, back in zip(begun.pods, again, strict=True) if back is remade]
                names = {name for name, _ in members}
                action = _action(begun, remade, surge >= names)
                surge |= names if action is Action.START_SURGE else set()
                found.append(_step(action, begun, members))
        return tuple(found)


def _action(begun: _Begun, remade: bool, surge: bool) -> Action:
    """``surge``: whether these pods were started as a surge."""
    if begun.made:
        return Action.START_SURGE if begun.surplus else Action.START
    if remade:
        return Action.ROLL_BACK if begun.back else Action.REPLACE
    return Action.STOP_SURGE if surge else Action.STOP


def _step(action: Action, begun: _Begun, members: Iterable[tuple[str, int]]) -> Step:
    there = list(members)
    numbers = tuple(dict.fromkeys(number for _, number in there))
    return Step(action, numbers, tuple(name for name, _ in there), begun.ready, begun.devices)
