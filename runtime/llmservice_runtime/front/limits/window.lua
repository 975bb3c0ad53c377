-- What one key has done within the last minute, as in window.py: one call is one atomic step of its books.
--
-- KEYS[1]: the hash of the key. Its fields: `first` and `after`, the numbers of the oldest slot and of the one after the
-- newest; `requests` and `tokens`, the sums of all slots; and for each slot its number -> "BEGAN ENDED REQUESTS TOKENS".
-- ARGV: `reserve REQUESTS TOKENS LIMIT_REQUESTS LIMIT_TOKENS`, where -1 is no limit, or `settle SLOT TOKENS`.
-- WINDOW and SLOT are defined by what is put before this text. All times are microseconds by the store's own clock.

local key = KEYS[1]
local state = redis.call('HMGET', key, 'first', 'after', 'requests', 'tokens')
local first, after = tonumber(state[1]), tonumber(state[2])
local used = {requests = tonumber(state[3]) or 0, tokens = tonumber(state[4]) or 0}

local function text(number)
  return string.format('%.0f', number)
end

local function read(number)
  local began, ended, requests, tokens = string.match(redis.call('HGET', key, text(number)), '(%S+) (%S+) (%S+) (%S+)')
  return {began = tonumber(began), ended = tonumber(ended), requests = tonumber(requests), tokens = tonumber(tokens)}
end

local function line(slot)
  return text(slot.began) .. ' ' .. text(slot.ended) .. ' ' .. text(slot.requests) .. ' ' .. text(slot.tokens)
end

if ARGV[1] == 'settle' then
  local number, tokens = tonumber(ARGV[2]), tonumber(ARGV[3])
  if not first or number < first or number >= after then
    return 0
  end
  local slot = read(number)
  slot.tokens = slot.tokens + tokens
  redis.call('HSET', key, text(number), line(slot), 'tokens', text(used.tokens + tokens))
  return 1
end

local asked = {requests = tonumber(ARGV[2]), tokens = tonumber(ARGV[3])}
local limit = {requests = tonumber(ARGV[4]), tokens = tonumber(ARGV[5])}

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
if not first then
  -- Numbers that begin with the time are never used twice for a key, also after its hash was lost.
  first, after = now, now
end

local newest = after > first and read(after - 1) or nil
if newest and newest.ended > now + WINDOW then
  -- The clock was set back so far that these slots would stay for longer than a window.
  redis.call('DEL', key)
  first, newest, used = after, nil, {requests = 0, tokens = 0}
end
if newest and newest.ended > now then
  now = newest.ended
end

local gone = {}
while first < after do
  local oldest = read(first)
  if oldest.ended + WINDOW > now then
    break
  end
  used.requests = used.requests - oldest.requests
  used.tokens = used.tokens - oldest.tokens
  gone[#gone + 1] = text(first)
  first = first + 1
end

local excess = {requests = 0, tokens = 0}
for kind in pairs(excess) do
  if limit[kind] >= 0 then
    excess[kind] = used[kind] + asked[kind] - limit[kind]
  end
end
local granted = excess.requests <= 0 and excess.tokens <= 0
local adds = granted and (asked.requests > 0 or asked.tokens > 0)

if adds then
  if first == after or now >= newest.began + SLOT then
    newest = {began = now, requests = 0, tokens = 0}
    after = after + 1
  end
  newest.ended = now
  for kind in pairs(used) do
    newest[kind] = newest[kind] + asked[kind]
    used[kind] = used[kind] + asked[kind]
  end
end
if #gone > 0 then
  redis.call('HDEL', key, unpack(gone))
end
if #gone > 0 or adds then
  redis.call('HSET', key, 'first', text(first), 'after', text(after),
    'requests', text(used.requests), 'tokens', text(used.tokens))
end
if adds then
  redis.call('HSET', key, text(after - 1), line(newest))
  redis.call('PEXPIRE', key, text(WINDOW / 1000))
end

local function reset(kind)
  for number = after - 1, first, -1 do
    local slot = number == after - 1 and newest or read(number)
    if slot[kind] > 0 then
      return slot.ended + WINDOW - now
    end
  end
  return 0
end

local function wait(kind)
  local left = excess[kind]
  if left <= 0 then
    return 0
  end
  for number = first, after - 1 do
    local slot = read(number)
    left = left - slot[kind]
    if left <= 0 then
      return slot.ended + WINDOW - now
    end
  end
  return WINDOW
end

return {granted and 1 or 0, after - 1, used.requests, used.tokens,
  reset('requests'), reset('tokens'), wait('requests'), wait('tokens')}
