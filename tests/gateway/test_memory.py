"""What the gateway keeps in shared memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.nginx_gateway import run_lua

GONE = """
local replicas = require "replicas"
local found = {}
local function keys() found[#found + 1] = #ngx.shared.load:get_keys(0) end
local function service(number)
  local peers = {}
  for pod = 1, 10 do
    peers[pod] = { address = "10.0." .. number .. "." .. pod .. ":8000" }
  end
  return { peers = peers }
end
for number = 1, 20 do
  local of = service(number)
  for _ = 1, 50 do
    local peer, _, bytes = replicas.choose("a/chat", of.peers, nil, {}, 5000)
    replicas.release(peer.address, bytes)
  end
  replicas.tidy({ a = { services = { chat = of } } })
  keys()
end
replicas.tidy({})
keys()
ngx.print(table.concat(found, " "))
"""


def test_counts_of_pods_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    *sizes, last = map(int, run_lua(tmp_path, GONE).split())
    assert 0 < max(sizes) <= 40, "two counts of each pod, in all and of this worker"
    assert last == 0


COUNTING = """
local made = require("counts").new(ngx.shared.state, "x")
local refused, kept = 0, 0
for number = 1, 1000 do
  if not made:add("name-" .. number, 7) then refused = refused + 1 end
end
for number = 1, 1000 do
  if made:get("name-" .. number) == 7 then kept = kept + 1 end
end
for number = 1, kept do made:add("name-" .. number, -7) end
made:tidy(function(name) return name == "name-1" end)
ngx.print(refused, " ", kept, " ", #ngx.shared.state:get_keys(0), " ", made:add("name-1", 1))
"""


def test_a_count_for_which_there_is_no_memory_is_refused_and_none_is_lost(tmp_path: Path) -> None:
    refused, kept, keys, one = map(int, run_lua(tmp_path, COUNTING, state="32k").split())
    assert refused > 0
    assert kept > 0
    assert refused + kept == 1000
    assert (keys, one) == (2, 1)


FLOOD = """
local cjson = require "cjson.safe"
local hold = require "hold"
local wanted = ngx.shared.wanted
local verdicts = {}
for number = 1, 2500 do
  local question = "a/chat:k" .. number .. ":0"
  wanted:set(question, true, 60)
  verdicts[question] = "invalid"
end
ngx.shared.starting:set("b/open", true, 60)
ngx.exit, ngx.req.read_body = function() end, function() end
ngx.req.get_body_data = function() return cjson.encode(verdicts) end
hold.judge()
ngx.status = 200
hold.wanted()
"""


def test_keys_that_are_judged_hide_no_service_that_is_to_start(tmp_path: Path) -> None:
    assert run_lua(tmp_path, FLOOD) == "service:b/open"


def test_counters_without_end_fail_no_request_and_forget_the_oldest(tmp_path: Path) -> None:
    script = """
    local metrics = require "metrics"
    local function count(service)
        metrics.count("llmservice_gateway_retries_total", metrics.labels("team-a", service) .. "}")
    end
    for number = 1, 20000 do
        count("chat-" .. number % 5000 .. string.rep("x", number % 60))
    end
    count("newest")
    ngx.print(metrics.page())
    """
    page = run_lua(tmp_path, script, counters="64k")
    assert 'llmservice_gateway_retries_total{namespace="team-a",service="newest"} 1' in page
    assert page.count("llmservice_gateway_retries_total{") < 1000


def test_a_request_goes_to_the_old_replicas_if_there_is_no_memory_to_count_turns(tmp_path: Path) -> None:
    script = """
    local counts, split = ngx.shared.split, require "split"
    for number = 1, 5000 do counts:set("n" .. number, number) end -- removing some of them frees no whole page
    local service = {
        split = { revision = "b", weight = 100 },
        peers = { { address = "1", is = "new" }, { address = "2", is = "old" } },
    }
    local peers = split.choose({ id = string.rep("a", 63) .. "/" .. string.rep("b", 200) }, service)
    ngx.print(peers[1].address)
    """
    assert run_lua(tmp_path, script, split="64k") == "2"


QUESTIONS = """
local hold = require "hold"
ngx.shared.starting:set("b/open", true, 60)
for number = 1, 2500 do
  ngx.shared.wanted:set("a/chat:k" .. number .. ":0", true, 60)
end
ngx.exit = function() end
hold.wanted()
"""


def test_keys_that_are_not_judged_yet_hide_no_service_that_is_to_start(tmp_path: Path) -> None:
    lines = run_lua(tmp_path, QUESTIONS).split("\n")
    assert lines[0] == "service:b/open"
    assert lines[1].startswith("key:a/chat:k")
    assert len(lines) <= 2 * 2048


@pytest.mark.parametrize(("status", "label"), [(200, "200"), (404, "404"), (299, "2xx"), (418, "4xx"), (599, "5xx")])
def test_a_replica_makes_few_series_by_its_codes(tmp_path: Path, status: int, label: str) -> None:
    assert run_lua(tmp_path, f'ngx.print(require("metrics").code({status}))') == label
