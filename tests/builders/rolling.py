"""Services during rollouts, on a simulated cluster."""

from __future__ import annotations

from builders.services import a_service
from builders.world import World

OLD, NEW, BAD = 1024, 2048, 4096
"""Longest contexts: of what runs, of what takes its place, and of one that never starts."""


def serving(
    replicas: int = 3, gpus: int = 3, *, source: str = "pvc://m/chat", old_controller: bool = False, **rollout: object
) -> World:
    """A service all of whose replicas answer."""
    service = (
        a_service()
        .from_source(source)
        .read()
        .with_replicas(replicas)
        .with_spec(model={"maxContextLength": OLD}, rollout=dict(rollout))
    )
    world = World(service, gpus, old_controller=old_controller)
    world.until_quiet()
    assert (world.answering, world.contexts()) == (replicas, [OLD] * replicas)
    return world
