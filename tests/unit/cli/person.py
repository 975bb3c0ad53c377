"""A user of `kubectl llm plan`, and a running service."""

from __future__ import annotations

import datetime
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.services import a_service, merged
from builders.world import World
from llmservice_operator.cli.main import main
from llmservice_operator.cli.system import System
from unit.cli.done import Done
from unit.cli.planning import PlanningAPI

NOW = datetime.datetime(2026, 1, 1, 13, tzinfo=datetime.UTC)
LONGER = {"model": {"maxContextLength": 2048}}
"""A change that replaces pods."""
NOTHING, FAILED, CHANGE, FAILS = 0, 1, 2, 3
"""Exit status."""


class Person:
    """A user with a manifest of the service chat in team-a, which runs 3 replicas on a node with 3 GPUs."""

    def __init__(self, api: PlanningAPI, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.api = api
        self._folder = folder
        self._capfd = capfd
        self.runs(3, 3)

    def runs(self, replicas: int, gpus: int, **spec: Any) -> None:
        """So many replicas on so many GPUs."""
        self.api.shows(_at_rest(replicas, gpus, json.dumps(spec)))

    def manifest(self, change: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
        """What they would apply: the service as it is, with this change."""
        live = self.api.service()
        spec = merged(live["spec"], change or {})
        meta = {"name": "chat", **metadata}
        return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": meta, "spec": spec}

    def plan(self, *documents: dict[str, Any], options: str = "") -> Done:
        """`kubectl llm plan -f` of these documents."""
        file = self._folder / "new.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        return self.run(f"-f {file} {options}")

    def json(self, change: dict[str, Any], options: str = "") -> dict[str, Any]:
        """The plan of a change, as JSON."""
        done = self.plan(self.manifest(change), options=f"-o json {options}")
        return dict(done.json["services"][0])

    def run(self, line: str) -> Done:
        """`kubectl llm plan ...`"""
        status = main(["plan", *line.split()], System(now=lambda: NOW))
        return Done(status, *self._capfd.readouterr())


@functools.cache
def _at_rest(replicas: int, gpus: int, spec: str) -> World:
    """A shared world at rest; it takes a while to create, so do not change it."""
    service = a_service().from_source("s3://models/chat").read().with_replicas(replicas).with_spec(**json.loads(spec))
    world = World(service, gpus)
    world.until_quiet()
    return world
