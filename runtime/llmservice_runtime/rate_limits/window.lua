-- What one key has done within the last minute and its debts, as in window.py: one call is one atomic step.
--
-- KEYS[1]: the hash of the key. Its fields: `first` and `after`, the numbers of the oldest slot and of the one after the
-- newest; `due` and `owed`, the same of its debts; `requests` and `tokens`, the sums of all of them; `latest`, the latest
-- time that was written; for each slot its number, and for each debt `d` and its number -> "BEGAN ENDED REQUESTS TOKENS".
-- ARGV: `reserve REQUESTS TOKENS LIMIT_REQUESTS LIMIT_TOKENS` or `charge SLOT TAKEN USED HELD LIMIT_TOKENS`, where the
-- limit -1 is no limit.
-- WINDOW, SLOT, MOST_PARTS and MOST_DEBT are defined by what is put before this text. All times are microseconds by the store's own
-- clock.

local key = KEYS[1]
local state = redis.call('HMGET', key, 'first', 'after', 'requests', 'tokens', 'due', 'owed', 'latest')
local slots = {prefix = '', first = tonumber(state[1]), after = tonumber(state[2])}
local debts = {prefix = 'd', first = tonumber(state[5]) or 0, after = tonumber(state[6]) or 0}
local used = {requests = tonumber(state[3]) or 0, tokens = tonumber(state[4]) or 0}
local latest = tonumber(state[7]) or 0
local changed = false

local function text(number)
  return string.format('%.0f', number)
end

-- Entries that this call has read or changed, by their field.
local known = {}

local function entry(list, number)
  local field = list.prefix .. text(number)
  if not known[field] then
    local line = redis.call('HGET', key, field)
    local began, ended, requests, tokens = string.match(line, '(%S+) (%S+) (%S+) (%S+)')
    known[field] = {began = tonumber(began), ended = tonumber(ended), requests = tonumber(requests),
      tokens = tonumber(tokens)}
  end
  return known[field]
end

local function newest(list)
  return list.after > list.first and entry(list, list.after - 1) or nil
end

-- Adds to the newest entry, or to another one if that began too long ago.
local function add(list, at, requests, tokens)
  local last = newest(list)
  if not last or at >= last.began + SLOT then
    last = {began = at, requests = 0, tokens = 0}
    known[list.prefix .. text(list.after)] = last
    list.after = list.after + 1
  end
  last.ended = at
  last.requests = last.requests + requests
  last.tokens = last.tokens + tokens
  last.changed, changed = true, true
  used.requests = used.requests + requests
  used.tokens = used.tokens + tokens
end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
if not slots.first then
  -- Numbers that begin with the time are never used twice for a key, also after its hash was lost.
  slots.first, slots.after = now, now
end
if latest > now + WINDOW then
  -- The clock was set back so far that all of it would stay for longer than a window.
  redis.call('DEL', key)
  slots.first, debts.first, used, latest = slots.after, debts.after, {requests = 0, tokens = 0}, 0
end
now = math.max(now, latest)

local gone = {}
for _, list in ipairs({slots, debts}) do
  while list.first < list.after do
    local oldest = entry(list, list.first)
    if oldest.ended + WINDOW > now then
      break
    end
    used.requests = used.requests - oldest.requests
    used.tokens = used.tokens - oldest.tokens
    gone[#gone + 1] = list.prefix .. text(list.first)
    known[gone[#gone]] = nil
    list.first = list.first + 1
  end
end

-- Microseconds until no more than `room` of this kind is counted.
local function wait(kind, room)
  if used[kind] <= room then
    return 0
  end
  local slot, debt = slots.after - 1, debts.after - 1
  while slot >= slots.first or debt >= debts.first do
    local last
    if debt < debts.first or (slot >= slots.first and entry(slots, slot).ended > entry(debts, debt).ended) then
      last, slot = entry(slots, slot), slot - 1
    else
      last, debt = entry(debts, debt), debt - 1
    end
    room = room - last[kind]
    if room < 0 then
      return last.ended + WINDOW - now
    end
  end
  return 0
end

-- Counts tokens beyond the limit, each part as of the time that has room for it.
local function owe(tokens, limit)
  for left = MOST_PARTS, 1, -1 do
    if tokens <= 0 then
      return
    end
    local part = left == 1 and tokens or math.min(tokens, limit)
    local at = now + math.min(wait('tokens', limit - part), MOST_DEBT)
    if newest(debts) then
      at = math.max(at, newest(debts).ended)
    end
    add(debts, at, 0, part)
    tokens = tokens - part
  end
end

local function save()
  if #gone > 0 then
    redis.call('HDEL', key, unpack(gone))
  end
  if #gone == 0 and not changed then
    return
  end
  redis.call('HSET', key, 'first', text(slots.first), 'after', text(slots.after), 'due', text(debts.first), 'owed',
    text(debts.after), 'requests', text(used.requests), 'tokens', text(used.tokens), 'latest', text(now))
  for field, each in pairs(known) do
    if each.changed then
      redis.call('HSET', key, field,
        text(each.began) .. ' ' .. text(each.ended) .. ' ' .. text(each.requests) .. ' ' .. text(each.tokens))
    end
  end
  if changed then
    local last = newest(debts)
    redis.call('PEXPIRE', key, text(math.ceil(((last and math.max(last.ended - now, 0) or 0) + WINDOW) / 1000)))
  end
end

if ARGV[1] == 'charge' then
  local number, taken, spent, held = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local limit = tonumber(ARGV[6])
  if number >= slots.first and number < slots.after then
    local slot = entry(slots, number)
    taken = math.min(taken, slot.tokens)
    slot.tokens = slot.tokens - taken
    slot.changed, changed = true, true
    used.tokens = used.tokens - taken
  else
    taken = 0
  end
  local at_once = spent
  if limit >= 0 then
    at_once = math.min(spent, math.max(0, taken - held))
    at_once = at_once + math.min(spent - at_once, math.max(0, limit - used.tokens - at_once - held))
  end
  if at_once > 0 or held > 0 then
    add(slots, now, 0, at_once + held)
    number = slots.after - 1
  end
  if limit >= 0 then
    owe(spent - at_once, limit)
  end
  save()
  return {number, limit >= 0 and used.tokens > limit and 1 or 0}
end

local asked = {requests = tonumber(ARGV[2]), tokens = tonumber(ARGV[3])}
local limit = {requests = tonumber(ARGV[4]), tokens = tonumber(ARGV[5])}
local waits, granted = {requests = 0, tokens = 0}, true
for kind in pairs(asked) do
  if limit[kind] >= 0 and used[kind] + asked[kind] > limit[kind] then
    granted = false
    waits[kind] = wait(kind, limit[kind] - asked[kind])
  end
end
if granted and (asked.requests > 0 or asked.tokens > 0) then
  add(slots, now, asked.requests, asked.tokens)
end
save()

-- Microseconds until nothing of this kind is counted any more.
local function reset(kind)
  local last = now - WINDOW
  for _, list in ipairs({slots, debts}) do
    for number = list.after - 1, list.first, -1 do
      local each = entry(list, number)
      if each[kind] > 0 then
        last = math.max(last, each.ended)
        break
      end
    end
  end
  return last + WINDOW - now
end

return {granted and 1 or 0, slots.after - 1, used.requests, used.tokens,
  reset('requests'), reset('tokens'), waits.requests, waits.tokens}
