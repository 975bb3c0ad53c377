-- What the controller, the kubelet and Prometheus ask of the gateway, at addresses that are not those of clients.

local lists = require "lists"
local metrics = require "metrics"
local routes = require "routes"
local split = require "split"

local state = ngx.shared.state

local _M = {}

function _M.store_routes()
    ngx.req.read_body()
    local problem = routes.store(ngx.req.get_body_data() or "")
    ngx.status = problem and 400 or 204
    if problem then
        ngx.print(problem)
    end
    return ngx.exit(ngx.HTTP_OK)
end

-- Whether NGINX accepted the newest certificate: 1 or 0.
function _M.store_configuration()
    ngx.req.read_body()
    state:set("configuration_valid", ngx.req.get_body_data() == "1" and 1 or 0)
    ngx.status = 204
    return ngx.exit(ngx.HTTP_OK)
end

function _M.ready()
    ngx.status = routes.current() and 200 or 503
    ngx.print(ngx.status == 200 and "ready\n" or "no routes yet\n")
    return ngx.exit(ngx.HTTP_OK)
end

-- The counts of canaries, which the operator reads.
function _M.canaries()
    ngx.header["Content-Type"] = "application/json"
    ngx.print(lists.encode(split.report(routes.current())))
    return ngx.exit(ngx.HTTP_OK)
end

function _M.metrics()
    ngx.header["Content-Type"] = "text/plain; version=0.0.4"
    ngx.print(metrics.page())
end

return _M
