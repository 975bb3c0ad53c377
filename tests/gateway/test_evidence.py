"""How many requests a canary gets, by how bad it is: simulated rollouts with the gateway's own tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmservice_operator.api.rollout import Canary
from llmservice_operator.planner.model.canary_counts import CanaryCounts, RequestCounts
from llmservice_operator.planner.rollout import canary, evidence
from support.campaign import FULL
from support.nginx_gateway import run_lua

REQUESTS = 4000
RUNS = 1000 if FULL else 200
LONG_RUNS = 1000 if FULL else 40
AT_ONCE = 40
"""Runs in one request to NGINX."""
PERCENT_OF_ALL = REQUESTS // 100

SIMULATION = """
local evidence = require "evidence"
local exp, log, sqrt, cos, random = math.exp, math.log, math.sqrt, math.cos, math.random
local given = require("cjson").decode([==[GIVEN]==])
math.randomseed(given.seed)

local function time(sigma)
  return 0.3 * exp(sigma * sqrt(-2 * log(1 - random())) * cos(2 * math.pi * random()))
end

-- With the times of the requests that others got since the last one of the canary.
local function more(window, sigma)
  for _ = 1, 19 do window = evidence.remember(window, time(sigma)) end
  return window
end

-- Requests that the canary got, and whether it was stopped.
local function rollout(case)
  local n, failed, ranked, slow, turn, step, window = 0, 0, 0, 0, random(), given.step, nil
  for _ = 1, case.requests do
    turn = turn + given.weight * step / 10000
    if turn >= 1 then
      turn, n = turn - 1, n + 1
      if random() < case.fails then
        failed = failed + 1
        if evidence.above(n, failed, given.allowed + case.others) then return n, true end
      else
        window = more(window, case.sigma)
        local is_slow = evidence.is_slow(window, time(case.sigma) * case.slower, case.limit)
        ranked = ranked + (is_slow == nil and 0 or 1)
        slow = slow + (is_slow and 1 or 0)
        if is_slow and evidence.above(ranked, slow, evidence.slow_ratio) then return n, true end
      end
      if failed <= (given.failed[n] or n) and slow <= (given.slow[ranked] or ranked) then step = 100 end
    end
  end
  return n, false
end

local found = {}
for number = 1, given.runs do
  local n, stopped = rollout(given.case)
  found[number] = n .. (stopped and "x" or "")
end
ngx.print(table.concat(found, " "))
"""


@dataclass(frozen=True)
class Case:
    """A canary."""

    fails: float = 0.01
    """Ratio of its failures."""
    slower: float = 1
    """Its times by those of the others."""
    limit: float = 2
    """What `maxLatencyPercent` allows."""
    sigma: float = 1
    """Standard deviation of the logarithms of times."""
    others: float = 0.01
    """Ratio of the others' failures."""
    requests: int = REQUESTS


def simulate(directory: Path, case: Case, runs: int = RUNS) -> tuple[list[int], float]:
    """Requests that the canary got in each run, sorted, and the part of runs in which it was stopped."""
    most = 200

    def likely(counts: CanaryCounts) -> bool:
        return canary._answers_well(Canary(), counts)

    old = RequestCounts(100_000, round(case.others * 100_000))
    failed = [
        max((x for x in range(n + 1) if likely(CanaryCounts(RequestCounts(n, x), old))), default=-1)
        for n in range(1, most)
    ]
    good = RequestCounts(1000)
    slow = [
        max((x for x in range(n + 1) if likely(CanaryCounts(good, old, ranked=n, slow=x))), default=-1)
        for n in range(1, most)
    ]
    found: list[str] = []
    given = {
        "case": vars(case),
        "runs": AT_ONCE,
        "weight": 5,
        "step": canary.STEP_PERCENT,
        "allowed": 0.05,
        "failed": failed,
        "slow": slow,
    }
    for seed in range(runs // AT_ONCE):
        found += run_lua(directory, SIMULATION.replace("GIVEN", json.dumps(given | {"seed": seed}))).split()
    return sorted(int(each.rstrip("x")) for each in found), sum(each.endswith("x") for each in found) / runs


BAD = {
    "all fail": Case(fails=1),
    "half fail": Case(fails=0.5),
    "a fifth fails": Case(fails=0.2),
    "a tenth fails": Case(fails=0.1),
    "five times slower": Case(slower=5),
    "five times slower, equal requests": Case(slower=5, sigma=0.5),
    "twice as slow, 120 % allowed": Case(slower=2, limit=1.2),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_canary_gets_less_than_a_hundredth_of_the_requests(tmp_path: Path, name: str) -> None:
    got, stopped = simulate(tmp_path, BAD[name])
    print(f"{name}: mean {sum(got) / RUNS:.1f} p95 {got[RUNS * 95 // 100]} most {got[-1]} stopped {stopped:.3f}")
    assert sum(got) / RUNS < PERCENT_OF_ALL
    assert sum(each < PERCENT_OF_ALL for each in got) >= RUNS * 0.9
    if name in ("all fail", "half fail", "five times slower, equal requests"):
        assert stopped > 0.95


GOOD = {
    "good": Case(requests=20_000),
    "as bad as the others": Case(fails=0.1, others=0.1, requests=20_000),
    "as bad as allowed": Case(fails=0.06, requests=20_000),
    "as slow as allowed": Case(slower=2, requests=20_000),
    "as slow as allowed, equal requests": Case(slower=2, sigma=0.1, requests=20_000),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_canary_within_its_limits_is_not_stopped(tmp_path: Path, name: str) -> None:
    got, stopped = simulate(tmp_path, GOOD[name], LONG_RUNS)
    print(f"{name}: mean {sum(got) / LONG_RUNS:.1f} least {got[0]} stopped {stopped:.4f}")
    assert stopped <= 4 / LONG_RUNS, "0.001 for each of two tests"
    if name == "good":
        assert stopped == 0
        assert got[LONG_RUNS // 10] > 20_000 * 0.025, "nine of ten get their whole weight before long"


GRID = [
    (n, x, ratio)
    for n in (1, 3, 7, 20, 63, 500, 100_000)
    for x in range(min(n, 30) + 1)
    for ratio in (0.01, 0.05, 0.25)
]


def test_operator_and_gateway_decide_alike(tmp_path: Path) -> None:
    script = (
        'local above = require("evidence").above\nfor _, each in ipairs(require("cjson").decode([==[GRID]==])) do\n'
    )
    script += "ngx.print(above(each[1], each[2], each[3]) and 1 or 0)\nend"
    found = run_lua(tmp_path, script.replace("GRID", json.dumps(GRID)))
    assert found == "".join(str(int(evidence.above(*each))) for each in GRID)
    assert "0" in found and "1" in found
    assert [evidence.above(n, n, 0.05) for n in (2, 3)] == [False, True]
