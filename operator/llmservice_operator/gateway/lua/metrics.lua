-- The gateway's own metrics, in Prometheus' text format.

local counters = ngx.shared.counters
local counts = require "counts"
local routes = require "routes"
local replicas = require "replicas"
local bodies = require "bodies"

local HELP = {
    llmservice_gateway_requests_total = "Requests by service and status. Refused before a service was known: empty labels.",
    llmservice_gateway_retries_total = "Requests that were sent to a second replica, because the first one failed before its answer.",
    llmservice_gateway_canary_requests_total = "Requests of services with a canary, by who got them (canary or old replicas) and their result.",
    llmservice_gateway_choices_total = "Chosen replicas, by reason: affinity, bound or load.",
    llmservice_gateway_holds_total = "Requests that waited for a replica of a service at zero, by how that ended.",
}

local OF_REPLICAS = {
    {
        name = "llmservice_gateway_outstanding_requests",
        help = "Requests that a replica has not finished.",
        value = replicas.outstanding,
    },
    {
        name = "llmservice_gateway_uncomputed_prompt_bytes",
        help = "Prompts of a replica's requests without a first token, in bytes, without prefixes that it has cached.",
        value = replicas.uncomputed,
    },
}

-- Others are counted by their first digit, because a replica answers with whatever it likes.
local CODES = {}
for code in string.gmatch("200 400 401 403 404 405 408 409 413 415 422 429 499 500 501 502 503 504", "%d+") do
    CODES[tonumber(code)] = code
end

local held = counts.new(ngx.shared.state, "hold") -- of hold.lua, which needs this module

local _M = {}

-- Counts one more. If there is no memory for it, those that changed longest ago are forgotten: no request fails.
function _M.count(name, labels)
    counters:incr(name .. labels, 1, 0)
end

function _M.labels(namespace, service)
    return '{namespace="' .. namespace .. '",service="' .. service .. '"'
end

-- The label of a status.
function _M.code(status)
    return CODES[status] or math.floor(status / 100) .. "xx"
end

function _M.page()
    local lines, described = {}, {}
    local keys = counters:get_keys(0)
    table.sort(keys)
    for _, key in ipairs(keys) do
        local name, value = string.match(key, "^[a-z_]+"), counters:get(key) -- nil if it was forgotten just now
        if value and HELP[name] and not described[name] then
            described[name] = true
            lines[#lines + 1] = "# HELP " .. name .. " " .. HELP[name]
            lines[#lines + 1] = "# TYPE " .. name .. " counter"
        end
        if value and HELP[name] then
            lines[#lines + 1] = key .. " " .. value
        end
    end
    local current = routes.current()
    for _, gauge in ipairs(OF_REPLICAS) do
        lines[#lines + 1] = "# HELP " .. gauge.name .. " " .. gauge.help
        lines[#lines + 1] = "# TYPE " .. gauge.name .. " gauge"
        for namespace, scope in pairs(current and current.namespaces or {}) do
            for name, service in pairs(scope.services) do
                for _, peer in ipairs(service.peers) do
                    lines[#lines + 1] = gauge.name .. _M.labels(namespace, name) .. ',pod="' .. peer.pod .. '"} ' .. gauge.value(peer.address)
                end
            end
        end
    end
    lines[#lines + 1] = "# HELP llmservice_gateway_held_requests Requests that wait for a replica of a service at zero."
    lines[#lines + 1] = "# TYPE llmservice_gateway_held_requests gauge"
    for namespace, scope in pairs(current and current.namespaces or {}) do
        for name, service in pairs(scope.services) do
            if service.zero then
                lines[#lines + 1] = "llmservice_gateway_held_requests" .. _M.labels(namespace, name) .. "} "
                    .. held:get(namespace .. "/" .. name)
            end
        end
    end
    lines[#lines + 1] = "# HELP llmservice_gateway_held_body_bytes Bodies of requests in work, in bytes."
    lines[#lines + 1] = "# TYPE llmservice_gateway_held_body_bytes gauge"
    lines[#lines + 1] = "llmservice_gateway_held_body_bytes " .. bodies.held()
    lines[#lines + 1] = "# HELP llmservice_gateway_configuration_valid Whether NGINX accepted the newest certificate (1) or serves the one before (0)."
    lines[#lines + 1] = "# TYPE llmservice_gateway_configuration_valid gauge"
    lines[#lines + 1] = "llmservice_gateway_configuration_valid " .. (ngx.shared.state:get("configuration_valid") or 1)
    return table.concat(lines, "\n") .. "\n"
end

return _M
