-- Keys of requests. The pods decide about them. The gateway asks pods, and the Secrets of services at zero, if it has to
-- know more: which services a request without a model can mean, and whether a body is to be read at all.

local cjson = require "cjson.safe"
local counts = require "counts"
local headers = require "key_headers"
local holding = require "hold"
local lists = require "lists"
local routes = require "routes"

local answers = ngx.shared.accepted
local questions = counts.new(ngx.shared.state, "questions")

local match = string.match

local MOST_PROBES = 64
local PROBES_AT_ONCE = 16
local MOST_PROBING = 4 -- requests of a namespace at a time, of each gateway
local MOST_ASKING = 64 -- the same, of those whose bodies are not read yet
local PROBED_SECONDS = 5
local VALID_SECONDS = 60 -- how long bodies are read after a valid key: the pods check it again
local POLL_SECONDS = 0.1

local _M = {}

-- Before the worker processes start.
function _M.start()
    local random = assert(io.open("/dev/urandom", "rb"))
    _M.secret = random:read(32)
    random:close()
end

-- The name of an answer in memory. The key itself is not kept.
local function known_as(...)
    local var = ngx.var
    local text = { ... }
    text[#text + 1] = var.http_authorization or ""
    text[#text + 1] = var.http_x_api_key or ""
    return ngx.hmac_sha1(_M.secret, table.concat(text, "\n"))
end

-- Counts a request that asks; false if too many of its namespace do.
local function enter(namespace, name, most)
    local ctx = ngx.ctx
    name = name .. namespace
    local now = questions:add(name, 1)
    if now and now > most then
        questions:add(name, -1)
    end
    ctx.asking = now and now <= most and name or nil
    return ctx.asking ~= nil
end

-- The request asks no longer.
function _M.leave(ctx)
    if ctx.asking then
        questions:add(ctx.asking, -1)
        ctx.asking = nil
    end
end

-- Those of these services that accept the caller's key, as their replicas say, and whether any replica said something.
-- Services without a ready replica can't say.
local function probe(scope, services)
    local names, requests = {}, {}
    for _, name in ipairs(services) do
        local service = scope.services[name]
        if #service.peers > 0 and #names < MOST_PROBES then
            names[#names + 1] = name
            local peer = service.peers[math.random(#service.peers)]
            requests[#requests + 1] = { "/_probe", { method = ngx.HTTP_HEAD, ctx = { peer = peer, probe = true } } }
        end
    end
    local found, answered = {}, false
    for first = 1, #requests, PROBES_AT_ONCE do
        local some = { unpack(requests, first, math.min(first + PROBES_AT_ONCE - 1, #requests)) }
        for number, response in ipairs({ ngx.location.capture_multi(some) }) do
            -- vLLM has no HEAD on this route: 405 comes after the key was accepted.
            if response.status == 200 or response.status == 405 then
                found[#found + 1] = names[first + number - 1]
            end
            answered = answered or response.status < 500
        end
    end
    return found, answered
end

-- The same of all services of a namespace, with a result that is at most some seconds old; nil if too many requests ask at
-- this moment.
function _M.accepting(scope, namespace)
    local name = known_as(routes.version(), namespace)
    local known = cjson.decode(answers:get(name) or "")
    if known then
        return known, true
    end
    if not enter(namespace, "", MOST_PROBING) then
        return nil
    end
    local found, answered = probe(scope, scope.order)
    _M.leave(ngx.ctx)
    if answered then
        answers:set(name, lists.encode(found), PROBED_SECONDS)
    end
    return found, answered
end

-- Why the key is valid for none of these services; nil if it is for one, or if no replica can say. The second result is
-- whether this is known.
local function ask(scope, namespace, services)
    local found, answered = probe(scope, services)
    if #found > 0 then
        return nil, true
    end
    local sleeping, serving = {}, 0
    for _, name in ipairs(services) do
        local service = scope.services[name]
        if #service.peers > 0 then
            serving = serving + 1
        elseif service.zero and holding.seconds > 0 then
            sleeping[#sleeping + 1] = namespace .. "/" .. name
        end
    end
    if serving > MOST_PROBES or serving > 0 and not answered then
        return nil, false -- those that were not asked, or fail now, may know the key: the pods check it
    end
    local why
    if #sleeping > 0 then
        why = holding.refuses(sleeping)
        if not why then
            return nil, true
        end
    end
    if serving > 0 then
        return holding.no_key(), true
    end
    return why or holding.unavailable("no_ready_replica", "No replica that could check the key is ready.", 5), false
end

-- Why a body is not to be read: its request has no valid key, and each service that it can mean needs one. nil if it is to
-- be. Only the form of the key is looked at unless the body is `large`: the pods check all keys.
function _M.refuses(scope, namespace, explicit, large)
    local services = explicit and { explicit } or scope.order
    for _, name in ipairs(services) do
        if not scope.services[name].keyed then
            return nil
        end
    end
    if not headers.digest() then
        return holding.no_key()
    elseif not large then
        return nil
    end
    local name = known_as("body", namespace, explicit or "")
    local known = answers:get(name)
    if known == 1 then
        return nil
    elseif known == 0 then
        return holding.no_key()
    end
    local until_time = ngx.now() + PROBED_SECONDS
    while not enter(namespace, "body:", MOST_ASKING) do
        if ngx.now() >= until_time then
            return holding.unavailable("key_not_checked", "The gateway can't check the key at this moment. Retry later.", 1)
        end
        ngx.sleep(POLL_SECONDS * (0.5 + math.random()))
    end
    local why, sure = ask(scope, namespace, services)
    _M.leave(ngx.ctx)
    if sure then
        answers:set(name, why and 0 or 1, why and PROBED_SECONDS or VALID_SECONDS)
    end
    return why
end

-- Run from time to time in one worker.
function _M.tidy(namespaces)
    questions:tidy(function(name) return namespaces[match(name, "[^:]+$")] ~= nil end)
end

return _M
