-- Reads bodies of requests within their bounds: bytes of all requests in work, and time.

local counts = require("counts")

local LARGE = 16384 -- smaller ones are not counted
local ALL = "*" -- no name of a namespace
local SHORTEST_SLEEP = 0.1 -- a sleep of less than a millisecond never ends: NGINX does not update its time before it

local held = counts.new(ngx.shared.state, "held")

local _M = { settings = {} }

-- Bytes of bodies in work.
function _M.held()
    return held:get(ALL)
end

-- The request's body no longer counts.
function _M.release()
    local ctx = ngx.ctx
    if ctx.held then
        held:add(ALL, -ctx.held)
        held:add(ctx.held_by, -ctx.held)
        ctx.held = nil
    end
end

-- Counts the body in total and for its namespace: false if there is no room.
local function hold(namespace, length)
    local most = _M.settings.held_bytes
    local total = held:add(ALL, length)
    local own = total and held:add(namespace, length)
    if total and own and total <= most and own <= most / 2 then
        ngx.ctx.held, ngx.ctx.held_by = length, namespace
        return true
    end
    if own then
        held:add(namespace, -length)
    end
    if total then
        held:add(ALL, -length)
    end
    return false
end

-- The body counts with its true length once that is known.
local function correct(length)
    local ctx = ngx.ctx
    if ctx.held and ctx.held > length then
        held:add(ALL, length - ctx.held)
        held:add(ctx.held_by, length - ctx.held)
        ctx.held = length
    end
end

-- Returns once the body is too slow: it has `body_seconds`, and one more for each `body_rate` bytes that have come.
local function watch(begun, before)
    while true do
        local come = tonumber(ngx.var.request_length) - before
        local left = begun + _M.settings.body_seconds + come / _M.settings.body_rate - ngx.now()
        if left <= 0 then
            return
        end
        ngx.sleep(math.max(left, SHORTEST_SLEEP))
    end
end

-- Whether the whole body came in time. NGINX itself limits each pause in it.
local function receive()
    local begun, before = ngx.now(), tonumber(ngx.var.request_length)
    local reader = ngx.thread.spawn(function()
        ngx.req.read_body()
        return "whole"
    end)
    if coroutine.status(reader) == "zombie" then
        return ngx.thread.wait(reader) -- it came with the head
    end
    local watcher = ngx.thread.spawn(function()
        watch(begun, before)
        return "late"
    end)
    local _, which = ngx.thread.wait(reader, watcher)
    ngx.thread.kill(which == "whole" and watcher or reader)
    return which == "whole"
end

-- The length that the head says, or the maximum if it says none; 0 without a body.
function _M.length()
    local length = tonumber(ngx.var.http_content_length)
    if not length and not ngx.var.http_transfer_encoding then
        return 0
    end
    -- NGINX has compared the length with the maximum already.
    return length or _M.settings.body_bytes
end

-- Whether the body counts.
function _M.is_large()
    return _M.length() > LARGE
end

-- The body, or nil and why there is none: "many" or "slow".
function _M.read(namespace)
    local length = _M.length()
    if length == 0 then
        return ""
    end
    if length > LARGE and not hold(namespace, length) then
        return nil, "many"
    end
    if not receive() then
        _M.release()
        return nil, "slow"
    end
    local text = ngx.req.get_body_data()
    if not text then
        local file = ngx.req.get_body_file()
        local opened = file and io.open(file, "rb")
        text = opened and opened:read("*a") or ""
        if opened then
            opened:close()
        end
    end
    correct(#text)
    return text
end

-- Run from time to time in one worker.
function _M.tidy(namespaces)
    held:tidy(function(name) return name == ALL or namespaces[name] ~= nil end)
end

return _M
