-- The phases of a request in NGINX: nginx.conf calls one function of this module in each.

local balancer = require "ngx.balancer"
local address = require "address"
local bodies = require "bodies"
local body = require "body"
local clients = require "clients"
local errors = require "errors"
local holding = require "hold"
local keys = require "keys"
local lists = require "lists"
local metrics = require "metrics"
local relay = require "relay"
local replicas = require "replicas"
local routes = require "routes"
local split = require "split"

local match, sub, find, lower = string.match, string.sub, string.find, string.lower

local RETRIES = 1
local TIDY_SECONDS = 2

local _M = { settings = {} }

local function answer(status, kind, code, message, headers)
    local ctx = ngx.ctx
    ctx.own = true
    ngx.status = status
    for name, value in pairs(headers or {}) do
        ngx.header[name] = value
    end
    ngx.print(errors.answer(status, kind, code, message))
    return ngx.exit(ngx.HTTP_OK)
end

_M.answer = answer

local function invalid(code, message)
    return answer(400, "invalid_request_error", code, message)
end

local function shown(name)
    return (sub(name, 1, 128):gsub("[%c\127-\255]", "?"))
end

local function body_of(namespace)
    local text, problem = bodies.read(namespace)
    if problem == "many" then
        return answer(503, "server_error", "too_many_bodies",
            "The gateway holds too many large requests. Retry later.", { ["Retry-After"] = "1" })
    elseif problem == "slow" then
        return answer(408, "invalid_request_error", "body_too_slow", "The body came too slowly: it has " .. _M.settings.body_seconds
            .. " s, and one more for each " .. _M.settings.body_rate .. " bytes that have come.", { Connection = "close" })
    end
    return text
end

-- The services that accept the key, or an answer: too many requests ask at this moment.
local function accepting(scope, namespace)
    local found, answered = keys.accepting(scope, namespace)
    if not found then
        return answer(503, "server_error", "too_many_questions", "Too many requests without a `model` at this moment. Set `model`, or retry.",
            { ["Retry-After"] = "1" })
    end
    return found, answered
end

local function list_models(scope, namespace)
    local list, seen = {}, {}
    local found, answered = accepting(scope, namespace)
    local silent = 0
    for _, name in ipairs(scope.order) do
        if not answered or #scope.services[name].peers == 0 then
            silent = silent + 1
        end
    end
    for _, name in ipairs(found) do
        for _, model in ipairs(scope.services[name].models) do
            if scope.models[model] == name and not seen[model] then
                seen[model] = true
                list[#list + 1] = { id = model, object = "model", created = scope.services[name].created, owned_by = namespace .. "/" .. name }
            end
        end
    end
    ngx.ctx.own = true
    ngx.header["Content-Type"] = "application/json"
    ngx.header["X-Services-Without-Replica"] = silent
    ngx.print('{"object":"list","data":' .. lists.encode(list) .. "}")
    return ngx.exit(ngx.HTTP_OK)
end

-- The service of a request that names none in its address.
local function by_content(scope, namespace, model)
    if model then
        local name = scope.models[model]
        if not name then
            return answer(404, "invalid_request_error", "model_not_found",
                "The model `" .. shown(model) .. "` is not served here. GET /v1/models lists those that your key may use.")
        end
        return name
    end
    if #scope.order == 1 then
        return scope.order[1]
    end
    local names, answered = accepting(scope, namespace)
    if #names == 1 then
        return names[1]
    end
    if not answered then
        return answer(503, "server_error", "no_ready_replica", "No replica of the namespace's LLMServices answers.",
            { ["Retry-After"] = "5" })
    end
    if #names == 0 then
        return answer(401, "invalid_request_error", "invalid_api_key", "No service here accepts this key.",
            { ["WWW-Authenticate"] = "Bearer" })
    end
    local models = {}
    for _, name in ipairs(names) do
        models[#models + 1] = scope.services[name].models[1]
    end
    return invalid("model_required", "The request has no `model`, and its key is valid for several services. Set `model` to one of: "
        .. table.concat(models, ", ", 1, math.min(#models, 16)) .. ". Or name the service in the path: /services/SERVICE/v1/....")
end

-- A replica for the request, with what replicas.choose returns.
local function choose(ctx, service)
    local peers, others = split.choose(ctx, service)
    ctx.peers = others
    return replicas.choose(ctx.id, peers, ctx.hashes, ctx.tried, ctx.prompt_bytes)
end

-- Another replica, after the request's one failed. Whether there is one.
local function use_other(ctx)
    local failed = ctx.peer
    replicas.failed(failed.address)
    ctx.tried[failed.address] = true
    split.repeated(ctx)
    local other, _, uncomputed = replicas.choose(ctx.id, ctx.peers, ctx.hashes, ctx.tried, ctx.prompt_bytes)
    -- Without another one NGINX repeats a request only if a kept connection had ended: the same replica is asked.
    if other then
        replicas.release(failed.address, ctx.uncomputed)
        ctx.peer, ctx.uncomputed = other, uncomputed
        metrics.count("llmservice_gateway_retries_total", metrics.labels(ctx.namespace, ctx.service) .. "}")
    end
    return other ~= nil
end

-- The answer to a request of a client that has too many.
function _M.too_many_of_client()
    return answer(429, "rate_limit_error", "too_many_connections", "Your address has " .. clients.most
        .. " requests here at this moment already. Retry when some have ended.", { ["Retry-After"] = "1", Connection = "close" })
end

function _M.access()
    local ctx, var = ngx.ctx, ngx.var
    local raw = var.request_uri
    local current = routes.current()
    if not clients.enter(ctx) then
        return _M.too_many_of_client()
    end
    if raw == "/health" then
        ctx.own = true
        ngx.status = current and 200 or 503
        return ngx.exit(ngx.status)
    end
    if not current then
        return answer(503, "server_error", "no_routes", "The gateway has not read the services yet.", { ["Retry-After"] = "1" })
    end
    if ngx.req.http_version() == 0.9 then
        return ngx.exit(444) -- its answers have no head, so a client could take anything for one
    end
    if find(raw, "#", 1, true) then
        return invalid("invalid_target", "The request's target has a #. Leave out what begins with it: fragments are not sent to servers.")
    end
    if var.http_host and not address.is_host(var.http_host) then
        return invalid("invalid_host", "The Host header is neither a name nor an IP address, with or without a port.")
    end
    local namespace, explicit, rest = address.read(var.host, raw, _M.settings)
    if not namespace then
        return answer(404, "invalid_request_error", "no_service", "Nothing is served at this host name. Use NAMESPACE."
            .. _M.settings.domain .. " or SERVICE.NAMESPACE." .. _M.settings.domain .. ".")
    end
    if namespace == "" then
        return answer(404, "invalid_request_error", "no_namespace",
            "The path has no namespace. Use /namespaces/NAMESPACE/v1/... as base URL.")
    end
    local scope = current.namespaces[namespace]
    local service = scope and explicit and scope.services[explicit]
    if not scope or (explicit and not service) then
        return answer(404, "invalid_request_error", "no_service",
            "No LLMService " .. (explicit and namespace .. "/" .. explicit or "of namespace " .. namespace) .. " is served here.")
    end
    ctx.namespace = namespace
    local path = match(rest, "^[^?]*")
    local method = ngx.req.get_method()
    if not explicit and path == "/v1/models" and (method == "GET" or method == "HEAD") then
        return list_models(scope, namespace)
    end
    local encoding = lower(var.http_content_encoding or "")
    if encoding ~= "" and encoding ~= "identity" then
        return answer(415, "invalid_request_error", "content_encoding", "The body is compressed (Content-Encoding). Send it as it is.",
            { Connection = "close" })
    end
    local refusal = bodies.length() > 0 and keys.refuses(scope, namespace, explicit, bodies.is_large())
    if refusal then
        ngx.header["Connection"] = "close"
        return answer(refusal.status, refusal.kind, refusal.code, refusal.message, refusal.headers)
    end
    local text = body_of(namespace)
    local model, prompt
    if method == "GET" or method == "HEAD" then
        text = "" -- the replicas do not read it
    end
    if find(lower(var.http_content_type or ""), "^%s*multipart/form%-data") then
        model = body.scan_form(text, var.http_content_type)
    elseif text ~= "" then
        model, prompt = body.scan(text)
    end
    if not model and not explicit then
        local asked = match(path, "^/v1/models/(.+)$")
        model = asked and ngx.unescape_uri(asked)
    end
    local name = explicit or by_content(scope, namespace, model)
    service = scope.services[name]
    ctx.service, ctx.model, ctx.id, ctx.tried = name, model, namespace .. "/" .. name, {}
    if prompt then
        local seed = model or ""
        if service.salted then
            seed = seed .. "\n" .. (var.http_authorization or "") .. "\n" .. (var.http_x_api_key or "")
        end
        ctx.hashes = replicas.hashes(seed, text, prompt)
        ctx.prompt_bytes = #text - prompt
    end
    local peer, reason, uncomputed = choose(ctx, service)
    local length
    if not peer and service.zero and holding.seconds > 0 and ngx.req.get_method() == "POST" then
        length, text = #text, nil -- NGINX has the body; this copy need not stay while the request waits
        peer, reason, uncomputed = holding.wait(ctx, length, choose, relay.is_wanted() and relay.comment)
        if not peer and ctx.commented then
            return relay.fail(reason.status, reason.kind, reason.code, reason.message)
        elseif not peer then
            return answer(reason.status, reason.kind, reason.code, reason.message, reason.headers)
        end
    end
    if not peer then
        return answer(503, "server_error", "no_ready_replica",
            "No replica of the LLMService " .. ctx.id .. " is ready.", { ["Retry-After"] = "5" })
    end
    ctx.peer, ctx.uncomputed = peer, uncomputed
    split.has_to_compute(ctx, uncomputed)
    metrics.count("llmservice_gateway_choices_total", metrics.labels(namespace, name) .. ',reason="' .. reason .. '"}')
    var.upstream_path = rest
    if ctx.commented then
        return relay.send(ctx, rest, length, use_other)
    end
end

function _M.balancer()
    local ctx = ngx.ctx
    local peer = ctx.peer or ctx.batches
    if not ctx.probe and not ctx.batches then
        ctx.attempt = (ctx.attempt or 0) + 1
        if ctx.attempt == 1 then
            if #ctx.peers > 1 or (#ctx.peers == 1 and ctx.peers[1] ~= peer) then
                balancer.set_more_tries(RETRIES)
            end
        else
            use_other(ctx)
            peer = ctx.peer
        end
    end
    local chosen, problem = balancer.set_current_peer(peer.host, peer.port)
    if not chosen then
        ngx.log(ngx.ERR, "can't use the address of a replica: ", problem)
        return ngx.exit(502)
    end
end

-- NGINX makes its own errors as HTML; clients expect JSON.
local SAID = {
    [408] = "The request was not sent in time.",
    [413] = "The body is larger than this gateway accepts.",
    [500] = "The gateway failed.",
    [502] = "The replica ended the connection before its answer.",
    [504] = "The replica did not answer in time.",
}

function _M.header_filter()
    local ctx = ngx.ctx
    local status = ngx.status
    if status < 400 or ctx.own or ctx.probe or ngx.is_subrequest then
        return
    end
    if ngx.header["Content-Type"] == "text/html" and ngx.var.upstream_http_content_type ~= "text/html" then
        ctx.replaced = errors.answer(status, status < 500 and "invalid_request_error" or "server_error", "gateway_" .. status,
            SAID[status] or "The request is not valid HTTP, or too large.")
        ngx.header["Content-Length"] = nil
        if status == 502 then
            ngx.header["Retry-After"] = "1"
        end
    end
end

function _M.body_filter()
    local ctx = ngx.ctx
    if ctx.uncomputed and ngx.arg[1] ~= "" then
        replicas.computed(ctx.peer.address, ctx.uncomputed)
        ctx.uncomputed = nil
    end
    if ctx.split then
        split.part(ctx, ngx.arg[1], ngx.arg[2])
    end
    if ctx.replaced then
        ngx.arg[1] = ctx.replaced
        ngx.arg[2] = true
        ctx.replaced = ""
    end
end

function _M.log()
    local ctx = ngx.ctx
    if ctx.peer then
        if ngx.status == 502 or ngx.status == 504 then
            if not ngx.var.upstream_http_content_type then
                replicas.failed(ctx.peer.address)
            end
        end
        replicas.release(ctx.peer.address, ctx.uncomputed)
        split.finish(ctx)
    end
    holding.leave(ctx, "client")
    keys.leave(ctx)
    clients.leave(ctx)
    bodies.release()
    metrics.count("llmservice_gateway_requests_total",
        metrics.labels(ctx.service and ctx.namespace or "", ctx.service or "") .. ',code="' .. metrics.code(ngx.status) .. '"}')
    ngx.var.held_seconds = ctx.held_seconds and string.format("%.3f", ctx.held_seconds) or ""
    ngx.var.namespace = ctx.namespace or ""
    ngx.var.service = ctx.service or ""
    ngx.var.model = ctx.model and ctx.service and shown(ctx.model) or ""
end

-- Before the worker processes start.
function _M.start(settings)
    _M.settings = settings
    bodies.settings = settings
    relay.read_seconds = settings.read_seconds
    holding.seconds, holding.requests, holding.bytes = settings.hold_seconds, settings.hold_requests, settings.held_bytes / 2
    clients.most = settings.client_requests
    keys.start()
end

local function tidy()
    local current = routes.current()
    local namespaces = current and current.namespaces or {}
    replicas.tidy(namespaces)
    bodies.tidy(namespaces)
    holding.tidy(namespaces)
    keys.tidy(namespaces)
    clients.tidy()
end

function _M.start_worker()
    math.randomseed(ngx.worker.pid() + ngx.now() * 1000)
    if ngx.worker.id() == 0 then
        ngx.timer.every(TIDY_SECONDS, tidy)
    end
end

return _M
