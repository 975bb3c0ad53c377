"""CPU seconds that the simulation behind `kubectl llm plan` takes for a change that replaces every replica, and CPU
milliseconds of one plan of the operator for the same service at rest and during the rollout:

.venv/bin/python hack/bench/plan_time.py 50 200 500
"""

from __future__ import annotations

import copy
import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from builders.services import a_service, merged
from builders.world import World
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.planner.planner import plan
from llmservice_operator.simulation.scheduler import ClusterCapacity
from llmservice_operator.simulation.simulate import simulate


def main() -> None:
    for replicas in map(int, sys.argv[1:]):
        world = World(a_service().from_source("s3://models/chat").read().with_replicas(replicas), replicas)
        world.until_quiet()
        wanted = copy.deepcopy(world.service)
        wanted["spec"] = merged(wanted["spec"], {"model": {"maxContextLength": 2048}})
        observed, begin = world.observe(None), time.process_time()
        found = simulate(observed, wanted, ClusterCapacity(nodes=[world._node()]))
        seconds = time.process_time() - begin
        print(f"{replicas} replicas: {seconds:.2f} s, {len(found.steps)} steps, {found.end}", flush=True)
        at_rest = _milliseconds(observed)
        world.change(2048)
        world.run(3)
        print(
            f"  one plan: {at_rest:.1f} ms at rest, {_milliseconds(world.observe(None)):.1f} ms in a rollout",
            flush=True,
        )


def _milliseconds(observed: Observed) -> float:
    """The fastest of several plans. The operator's cache keeps what was read of a pod until the pod changes."""
    observed = dataclasses.replace(observed, pods=list(map(pods.parsed, observed.pods)))
    times = []
    for _ in range(20):
        begin = time.process_time()
        plan(observed)
        times.append(time.process_time() - begin)
    return 1000 * min(times)


main()
