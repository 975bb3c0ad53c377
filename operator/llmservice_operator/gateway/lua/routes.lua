-- The routes, as the controller posts them: services by namespace, their models and replicas.

local cjson = require "cjson.safe"
local shared = ngx.shared.routes

local version, routes

local _M = {}

-- The current routes, or nil before the first ones.
function _M.current()
    local newest = shared:get("version")
    if newest ~= version then
        local found = cjson.decode(shared:get("routes") or "")
        if type(found) == "table" then
            version, routes = newest, found
        end
    end
    return routes
end

-- The number of the current routes.
function _M.version()
    return version or 0
end

-- Stores a document. Returns an error if it is no document or there is no room: the routes of before stay.
function _M.store(text)
    local found, problem = cjson.decode(text)
    if type(found) ~= "table" or type(found.namespaces) ~= "table" then
        return problem or "no object with namespaces"
    end
    local stored, reason = shared:safe_set("routes", text)
    if not stored then
        return reason
    end
    shared:incr("version", 1, 0)
    return nil
end

return _M
