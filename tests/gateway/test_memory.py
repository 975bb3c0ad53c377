"""What the gateway keeps in shared memory."""

from __future__ import annotations

from pathlib import Path

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
