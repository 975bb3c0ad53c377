-- What a request's host name and path say: the namespace, the service, and the path that the replica gets.
--
-- Below the gateway's domain a host name consists of the names of a service and its namespace. Neither has dots, and no tenant
-- chooses a host name, so none can have that of another one. A host name that names a namespace has no way out of it.

local match, sub = string.match, string.sub

local NAMESPACE = "[a-z0-9][-a-z0-9]*"
local SERVICE = "[a-z][-a-z0-9]*"

local _M = {}

-- Whether a Host header is a name or an IP address, and perhaps a port. NGINX reads others too, and not as other proxies do.
function _M.is_host(header)
    return match(header, "^[%w._-]+:?%d*$") ~= nil or match(header, "^%[[%x:.]+%]:?%d*$") ~= nil
end

-- The part of `host` below `domain`; nil if it is not below it. NGINX has made it lower case, without a port or final dot.
local function below(host, domain)
    if domain ~= "" and sub(host, -#domain - 1) == "." .. domain then
        return sub(host, 1, -#domain - 2)
    end
    return nil
end

local function of_path(namespace, raw)
    local service, rest = match(raw, "^/services/(" .. SERVICE .. ")(/.*)$")
    return namespace, service, rest or raw
end

-- The namespace, the service if the address names one, and the rest of the path, as it was sent.
-- The namespace is nil if there is none; it is empty if the platform has to choose one and has not.
function _M.read(host, raw, settings)
    local names = below(host, settings.domain)
    if names then
        local service, namespace = match(names, "^(" .. SERVICE .. ")%.(" .. NAMESPACE .. ")$")
        if service then
            return namespace, service, raw
        end
        return of_path(match(names, "^" .. NAMESPACE .. "$"), raw)
    end
    local namespace, rest = match(raw, "^/namespaces/(" .. NAMESPACE .. ")(/.*)$")
    return of_path(namespace or settings.namespace, rest or raw)
end

return _M
