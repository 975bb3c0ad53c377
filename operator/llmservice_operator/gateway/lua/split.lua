-- Splits a service's requests between a canary, the replicas of a new revision, and the others. Counts how requests of
-- both end, and sends nothing more to a canary that certainly fails more often, or is slower, than it may.
--
-- All numbers are of this gateway and of one revision, and in shared memory, so that they survive a reload.

local evidence = require "evidence"
local metrics = require "metrics"
local replicas = require "replicas"
local counts = ngx.shared.split
local times = ngx.shared.times -- windows of times of old replicas
local find, floor, log, max = string.find, math.floor, math.log, math.max

local FIRST = 4 -- outstanding requests of a canary that has answered none yet
local LEAST_RATIO = 0.01
local LEAST_SECONDS = 0.01 -- shorter times are equal
local KEPT_SECONDS = 7 * 86400

local _M = {}

local function key(id, split, name)
    return id .. " " .. split.revision .. " " .. name
end

local function number(id, split, name)
    return counts:get(key(id, split, name)) or 0
end

local function add(id, split, name, value)
    counts:incr(key(id, split, name), value, 0, KEPT_SECONDS)
end

-- The replicas by what they are: `new` ones of the canary, `out` of another revision that is not proven, `old` ones.
local function sorted(service)
    local split = service.split
    if not split.old then
        split.old, split.new, split.out = {}, {}, {}
        for _, peer in ipairs(service.peers) do
            local list = split[peer.is or "old"] or split.old
            list[#list + 1] = peer
        end
    end
    return split
end

-- Whether this is one of those of 100 requests that the weight and its step are. They are spread evenly.
local function due(id, split)
    local part = split.weight * (split.step or 100) / 100
    local turn = counts:incr(key(id, split, "turn"), part, math.random(0, 99), KEPT_SECONDS)
    -- Without memory to count there is no turn: the old replicas get the request.
    return turn ~= nil and floor(turn / 100) > floor((turn - part) / 100)
end

-- Whether the canary may get one more: only a few at a time until it has answered some, because requests may fail slowly.
local function has_room(id, split)
    local outstanding = 0
    for _, peer in ipairs(split.new) do
        outstanding = outstanding + replicas.outstanding(peer.address)
    end
    return outstanding < FIRST + number(id, split, "canary n") - number(id, split, "canary failed")
end

-- Whether a request goes to the canary, and whether it counts. A client that chooses could spoil the result of either
-- side; with a weight of 0 there are no other requests.
local function goes_to_canary(id, split)
    if #split.new == 0 or counts:get(key(id, split, "braked")) then
        return false, true
    end
    local asked = split.header and ngx.var["http_" .. string.gsub(split.header, "-", "_")]
    if asked == "always" then
        return true, split.weight == 0
    elseif asked == "never" then
        return false, split.weight == 0
    end
    return split.weight > 0 and due(id, split) and (#split.old == 0 or has_room(id, split)), true
end

-- Of the request `ctx` to a service: the replicas to choose from, and those for a second attempt.
function _M.choose(ctx, service)
    if not service.split then
        return service.peers, service.peers
    end
    local id, split = ctx.id, sorted(service)
    local canary, counted = goes_to_canary(id, split)
    if canary then
        ctx.split = { of = split, side = "canary", counted = counted, began = ngx.now() }
        return split.new, split.old
    end
    if #split.old > 0 then
        ctx.split = { of = split, side = "old", counted = counted, began = ngx.now() }
        return split.old, split.old
    end
    -- Replicas that should get nothing are better than none.
    local left = #split.new > 0 and split.new or split.out
    return left, left
end

local function brake(id, split)
    local n, x = number(id, split, "canary n"), number(id, split, "canary failed")
    local others, failed = number(id, split, "old n"), number(id, split, "old failed")
    local p = max(LEAST_RATIO, split.allowed / 100) + (others > 0 and failed / others or 0)
    local ranked, slow = number(id, split, "ranked"), number(id, split, "slow")
    if (evidence.above(n, x, p) or evidence.above(ranked, slow, evidence.slow_ratio))
        and counts:add(key(id, split, "braked"), true, KEPT_SECONDS) then
        ngx.log(ngx.WARN, "the canary of ", id, " gets no more requests: ", x, " of ", n, " failed, ", slow, " of ", ranked, " were slow")
    end
end

-- Compares the time of a request to the canary with the last ones of old replicas that had to compute as much.
local function compare(id, split, side, class, seconds)
    local name = key(id, split, "times " .. class)
    local window = times:get(name)
    if side == "old" then
        times:set(name, evidence.remember(window, seconds), KEPT_SECONDS)
        return
    end
    local slow = evidence.is_slow(window, seconds, (split.slowness or 200) / 100)
    if slow ~= nil then
        add(id, split, "ranked", 1)
    end
    if slow then
        add(id, split, "slow", 1)
        brake(id, split)
    end
end

local function count(ctx, failed, seconds)
    local it, id = ctx.split, ctx.id
    ctx.split = nil
    if not it.counted or ngx.req.get_method() ~= "POST" then
        return
    end
    local split, side = it.of, it.side
    add(id, split, side .. " n", 1)
    if failed then
        add(id, split, side .. " failed", 1)
        if side == "canary" then
            brake(id, split)
        end
    elseif seconds then
        local value = log(max(seconds, LEAST_SECONDS))
        add(id, split, side .. " timed", 1)
        add(id, split, side .. " sum", value)
        add(id, split, side .. " squares", value * value)
        compare(id, split, side, evidence.class(it.bytes), seconds)
    end
    metrics.count("llmservice_gateway_canary_requests_total", metrics.labels(ctx.namespace, ctx.service)
        .. ',replicas="' .. side .. '",result="' .. (failed and "failed" or "good") .. '"}')
end

-- A replica failed the request before its answer, and it goes to another one.
function _M.repeated(ctx)
    if ctx.split then
        count(ctx, true)
    end
end

-- How many bytes of its prompt the chosen replica has to compute.
function _M.has_to_compute(ctx, bytes)
    if ctx.split then
        ctx.split.bytes = bytes
    end
end

-- A part of the answer. NGINX passes an empty one, which is not the last, after the head, and if the replica ends the connection too early.
function _M.part(ctx, text, last)
    local it = ctx.split
    if not it then
        return
    end
    if text ~= "" then
        it.first = it.first or ngx.now()
        it.empty = 0
        it.broken = it.broken or find(text, 'data: {"error"', 1, true) or find(text, "event: error\n", 1, true)
    elseif not last then
        it.empty = (it.empty or 0) + 1
    end
    it.ended = it.ended or last
end

-- The request has ended. One that its client ended says nothing.
function _M.finish(ctx)
    local it = ctx.split
    if not it then
        return
    end
    local status = ngx.status
    local cut = not it.ended and (it.empty or 0) > (it.first and 0 or 1)
    if status >= 500 or cut or it.broken then
        count(ctx, true)
    elseif it.ended then
        count(ctx, false, status < 400 and it.first and it.first - it.began)
    end
end

local function of_side(id, split, side)
    local found = {}
    for name, of in pairs({ requests = "n", failed = "failed", timed = "timed", logSum = "sum", logSquares = "squares" }) do
        found[name] = number(id, split, side .. " " .. of)
    end
    return found
end

-- The counts of all canaries of now.
function _M.report(routes)
    local list = {}
    for namespace, scope in pairs(routes and routes.namespaces or {}) do
        for name, service in pairs(scope.services) do
            local split, id = service.split, namespace .. "/" .. name
            if split then
                list[#list + 1] = {
                    namespace = namespace, service = name, revision = split.revision,
                    braked = counts:get(key(id, split, "braked")) or false,
                    ranked = number(id, split, "ranked"), slow = number(id, split, "slow"),
                    canary = of_side(id, split, "canary"), old = of_side(id, split, "old"),
                }
            end
        end
    end
    return list
end

return _M
