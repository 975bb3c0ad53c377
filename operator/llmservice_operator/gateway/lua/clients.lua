-- Limits the requests of one client at a time. A client is an IPv4 address, or the first 64 bits of an IPv6 address, which
-- a network gives to one customer. NGINX's own limit_conn never forgets what a worker process had counted that died.

local counts = require "counts"

local requests = counts.new(ngx.shared.clients, "c")
local MAPPED = string.rep("\0", 10) .. "\255\255" -- IPv4 within IPv6
local byte, sub = string.byte, string.sub

local _M = { most = 0 }

-- The client of a binary address.
local function client(address)
    if #address == 4 then
        return address
    end
    return sub(address, 1, 12) == MAPPED and sub(address, 13) or sub(address, 1, 8)
end

local function shown(text)
    return (string.gsub(text, ".", function(each) return string.format("%02x", byte(each)) end))
end

-- Counts a request; false if its client has too many. If there is no memory to count it, it passes.
function _M.enter(ctx)
    if _M.most == 0 then
        return true
    end
    local name = shown(client(ngx.var.binary_remote_addr))
    local now = requests:add(name, 1)
    if not now then
        return true
    elseif now > _M.most then
        requests:add(name, -1)
        return false
    end
    ctx.client = name
    return true
end

-- The request has ended.
function _M.leave(ctx)
    if ctx.client then
        requests:add(ctx.client, -1)
        ctx.client = nil
    end
end

-- Run from time to time in one worker.
function _M.tidy()
    requests:tidy(function() return false end)
end

return _M
