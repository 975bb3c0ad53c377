-- Requests for files and batches. They go to the one process that has these, with their namespace in the path.

local address = require "address"
local clients = require "clients"
local routes = require "routes"

local match = string.match

local _M = {}

function _M.access()
    local gateway = require "gateway"
    local ctx, var = ngx.ctx, ngx.var
    if not clients.enter(ctx) then
        return gateway.too_many_of_client()
    end
    local current = routes.current()
    local peer = current and current.batches
    if type(peer) ~= "table" then
        return gateway.answer(503, "server_error", "no_batches", "Files and batches are not reachable at this moment.", { ["Retry-After"] = "5" })
    end
    if var.http_host and not address.is_host(var.http_host) then
        return gateway.answer(400, "invalid_request_error", "invalid_host",
            "The Host header is neither a name nor an IP address, with or without a port.")
    end
    -- A service in the address says nothing: files and batches belong to a key in a namespace.
    local namespace, _, rest = address.read(var.host, var.request_uri, gateway.settings)
    if not namespace or namespace == "" or not current.namespaces[namespace] then
        return gateway.answer(404, "invalid_request_error", "no_namespace",
            "The address has no namespace with an LLMService. Use /namespaces/NAMESPACE/v1 as base URL.")
    end
    -- NGINX has chosen this function by the decoded path.
    if not (match(rest, "^/v1/files[/?]") or match(rest, "^/v1/batches[/?]") or rest == "/v1/files" or rest == "/v1/batches") then
        return gateway.answer(404, "invalid_request_error", "no_such_route", "The path is not one of files or batches.")
    end
    ctx.namespace, ctx.batches = namespace, peer
    var.upstream_path = "/namespaces/" .. namespace .. rest
end

return _M
