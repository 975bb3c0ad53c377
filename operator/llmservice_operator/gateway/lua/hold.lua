-- Requests wait here while their service has no ready replica, if it may be scaled to zero.
--
-- The controller asks which services have such requests (`wanted`), starts a replica of each, and says which keys their
-- Secrets have (`judge`). Services to start and keys to judge are kept apart, so that many keys hide no service.

local cjson = require "cjson.safe"
local counts = require "counts"
local headers = require "key_headers"
local metrics = require "metrics"
local routes = require "routes"

local state = ngx.shared.state
local requests = counts.new(state, "hold") -- by namespace, by service, and of ALL
local bytes = counts.new(state, "holdbytes") -- by namespace, and of ALL
local starting = ngx.shared.starting
local wanted = ngx.shared.wanted
local verdicts = ngx.shared.verdicts
local random, floor, max = math.random, math.floor, math.max

local ALL = "*"
local POLL_SECONDS = 0.2
local WANTED_SECONDS = 3 -- a request that waits repeats each second that it does
local VALID_SECONDS = 30
local INVALID_SECONDS = 5
local VERDICT_SECONDS = 10 -- how long a request waits for the verdict on its key
local SHARE_SECONDS = 0.1
local MOST_WANTED = 2048
local LONGEST_QUESTION_SECONDS = 20

local _M = { seconds = 0, requests = 0, bytes = 0 }

-- Namespaces with requests that wait, as of a moment ago.
local namespaces, counted_at = 1, 0
local function holders()
    local now = ngx.now()
    if now - counted_at >= SHARE_SECONDS then
        local found = 0
        local current = routes.current()
        for name in pairs(current and current.namespaces or {}) do
            if requests:get(name) > 0 then
                found = found + 1
            end
        end
        namespaces, counted_at = max(1, found), now
    end
    return namespaces
end

-- A namespace may have half of the places. If all are taken, those with more than an equal share give some up.
local function exceeds(own, total, most)
    return own > most / 2 or (total > most and own > max(1, floor(most / holders())))
end

local function too_many(place)
    return requests:get(place.id) > max(1, _M.requests / 4)
        or exceeds(requests:get(place.namespace), requests:get(ALL), _M.requests)
        or exceeds(bytes:get(place.namespace), bytes:get(ALL), _M.bytes)
end

-- What the place of a request counts: the counter, the name, and by how much.
local function parts(place)
    return {
        { requests, ALL, 1 }, { requests, place.namespace, 1 }, { requests, place.id, 1 },
        { bytes, ALL, place.length }, { bytes, place.namespace, place.length },
    }
end

-- Takes a place; nil if there is no memory to count it.
local function enter(ctx, length)
    local place = { namespace = ctx.namespace, id = ctx.id, length = length, since = ngx.now() }
    local taken = parts(place)
    for number, part in ipairs(taken) do
        if not part[1]:add(part[2], part[3]) then
            for before = 1, number - 1 do
                taken[before][1]:add(taken[before][2], -taken[before][3])
            end
            return nil
        end
    end
    ctx.place = place
    return place
end

-- Gives the place of a request free, and counts how it ended. Does nothing if it has none.
function _M.leave(ctx, result)
    local place = ctx.place
    if not place then
        return
    end
    ctx.place = nil
    ctx.held_seconds = ngx.now() - place.since
    for _, part in ipairs(parts(place)) do
        part[1]:add(part[2], -part[3])
    end
    metrics.count("llmservice_gateway_holds_total", metrics.labels(ctx.namespace, ctx.service) .. ',result="' .. result .. '"}')
end

-- Run from time to time in one worker.
function _M.tidy(known)
    for _, each in ipairs({ requests, bytes }) do
        each:tidy(function(name) return name == ALL or known[string.match(name, "^[^/]+")] ~= nil end)
    end
end

local function refusal(status, kind, code, message, retry_after)
    local more = retry_after and { ["Retry-After"] = tostring(retry_after) } or { ["WWW-Authenticate"] = "Bearer" }
    return { status = status, kind = kind, code = code, message = message, headers = more }
end

-- The answer to a request that may be sent again.
function _M.unavailable(code, message, retry_after)
    return refusal(503, "server_error", code, message, retry_after)
end

local function no_place()
    return _M.unavailable("too_many_held", "Too many requests wait for a replica already. Retry later.", 5)
end

-- The answer to a request without a key that the service knows.
function _M.no_key()
    return refusal(401, "invalid_request_error", "invalid_api_key",
        "This service needs an API key that it knows, sent as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'.")
end

-- Why the request is not to wait any longer, and how that is counted; nil if it is.
local function ends(place, service)
    local now = ngx.now()
    if too_many(place) then
        return no_place(), "too_many"
    elseif service.refusal and now >= service.refusal.from then
        return _M.unavailable("cannot_start", "The LLMService " .. place.id .. " has no replica, and can't start one now: "
            .. service.refusal.reason .. ".", 30), "cannot_start"
    elseif now >= place.since + _M.seconds then
        return _M.unavailable("hold_time_over", "No replica of the LLMService " .. place.id .. " was ready within "
            .. _M.seconds .. " s.", 30), "time_over"
    elseif state:get("stopping") then
        return _M.unavailable("gateway_stops", "This pod of the gateway ends. Send the request again.", 1), "gateway_stops"
    end
end

-- Whether the key of a request is known to be valid. If it is not, the second result says why the request ends.
local function accepted(place, key)
    local verdict = verdicts:get(place.id .. ":" .. key)
    if verdict == "valid" then
        return true
    elseif verdict == "invalid" then
        return false, _M.no_key()
    elseif verdict == "unreadable" then
        return false, _M.unavailable("no_ready_replica", "No replica of the LLMService " .. place.id
            .. " is ready, and requests can't start one: the gateway may not read its keys.", 5)
    elseif ngx.now() >= place.since + VERDICT_SECONDS then
        return false, _M.unavailable("key_not_checked", "The gateway can't check the key at this moment. Retry later.", 5)
    end
    return false
end

-- Why the key of a request is not valid for any of these services, as their Secrets say; nil if it is for one.
function _M.refuses(ids)
    local key = headers.digest()
    local since, why = ngx.now(), nil
    repeat
        local open = false
        for _, id in ipairs(ids) do
            local known, refused = accepted({ id = id, since = since }, key)
            if known then
                return nil
            elseif refused then
                why = refused
            else
                open = true
                wanted:set(id .. ":" .. key, true, WANTED_SECONDS)
            end
        end
        if open then
            ngx.sleep(POLL_SECONDS * (0.5 + random()))
        end
    until not open
    return why
end

-- Waits for a replica, with a body of `length` bytes. Returns what `choose` does, or nil and a refusal. `progress`, if
-- given, is called at each look once the request may wait.
function _M.wait(ctx, length, choose, progress)
    local place = enter(ctx, length)
    if not place then
        return nil, no_place()
    end
    local key, known, repeated
    while true do
        local current = routes.current()
        local scope = current and current.namespaces[place.namespace]
        local service = scope and scope.services[ctx.service]
        if not service or not service.zero then
            _M.leave(ctx, "no_service")
            return nil, _M.unavailable("no_ready_replica", "No replica of the LLMService " .. place.id .. " is ready.", 5)
        end
        local why, result = ends(place, service)
        if not why and service.keyed and not known then
            key = key or headers.digest()
            if not key then
                why, result = _M.no_key(), "key"
            else
                known, why = accepted(place, key)
                result = "key"
            end
        end
        if why then
            _M.leave(ctx, result)
            return nil, why
        end
        if #service.peers > 0 then
            local peer, reason, uncomputed = choose(ctx, service)
            if peer then
                _M.leave(ctx, "replica")
                return peer, reason, uncomputed
            end
        end
        local now = ngx.now()
        if not repeated or now - repeated >= 1 then
            repeated = now
            if known or not service.keyed then
                starting:set(place.id, true, WANTED_SECONDS)
            else
                wanted:set(place.id .. ":" .. key, true, WANTED_SECONDS)
            end
        end
        if progress and (known or not service.keyed) then
            progress(ctx)
        end
        ngx.sleep(POLL_SECONDS * (0.5 + random()))
    end
end

-- Answers with the services that requests wait for, and the keys to be checked, one on each line, as soon as there are any.
function _M.wanted()
    local lines = {}
    local until_time = ngx.now() + LONGEST_QUESTION_SECONDS
    repeat
        for _, id in ipairs(starting:get_keys(MOST_WANTED)) do
            lines[#lines + 1] = "service:" .. id
        end
        for _, name in ipairs(wanted:get_keys(MOST_WANTED)) do
            if not verdicts:get(name) then
                lines[#lines + 1] = "key:" .. name
            end
        end
        if #lines > 0 then
            break
        end
        ngx.sleep(0.05)
    until ngx.now() >= until_time or ngx.worker.exiting()
    ngx.header["Content-Type"] = "text/plain"
    ngx.print(table.concat(lines, "\n"))
    return ngx.exit(ngx.HTTP_OK)
end

-- Takes verdicts on keys: valid, invalid or unreadable.
function _M.judge()
    ngx.req.read_body()
    local found = cjson.decode(ngx.req.get_body_data() or "")
    for name, verdict in pairs(type(found) == "table" and found or {}) do
        verdicts:set(name, verdict, verdict == "valid" and VALID_SECONDS or INVALID_SECONDS)
        wanted:delete(name) -- many would hide from the controller the keys of others
    end
    ngx.status = 204
    return ngx.exit(ngx.HTTP_OK)
end

-- From now on no request waits: NGINX ends, and gets no more routes.
function _M.stop()
    state:set("stopping", true)
    ngx.status = 204
    return ngx.exit(ngx.HTTP_OK)
end

return _M
