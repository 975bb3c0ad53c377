-- Errors in the form of the API that was called: OpenAI's, Anthropic's or Cohere's, as replicas write them
-- (error_shapes.py of the runtime). `code` is in all of them.

local cjson = require "cjson.safe"

local find, match, gsub = string.find, string.match, string.gsub

-- https://docs.claude.com/en/api/errors
local ANTHROPIC_TYPES = {
    [401] = "authentication_error", [403] = "permission_error", [404] = "not_found_error", [408] = "timeout_error",
    [413] = "request_too_large", [429] = "rate_limit_error", [431] = "request_too_large", [503] = "overloaded_error",
    [504] = "timeout_error",
}

local _M = {}

-- The path without the namespace and the service; requests that are not HTTP have none.
local function path_of(var)
    local path = match(var.request_uri or "", "^[^?#]*")
    path = gsub(path, "^/namespaces/[^/]+/", "/")
    return (gsub(path, "^/services/[^/]+/", "/"))
end

-- Whether the client uses Anthropic's API.
function _M.is_anthropic()
    local var = ngx.var
    local path = path_of(var)
    return path == "/v1/messages" or find(path, "^/v1/messages/") ~= nil
        or (var.http_anthropic_version ~= nil and path ~= "/v1/responses")
end

-- The error as a table. `kind` is its type in OpenAI's API.
function _M.document(status, kind, code, message)
    local id = ngx.var.sent_id
    if _M.is_anthropic() then
        local name = ANTHROPIC_TYPES[status] or (status < 500 and "invalid_request_error" or "api_error")
        return { type = "error", error = { type = name, message = message, code = code }, request_id = id }
    end
    local document = { type = "error", error = { message = message, type = kind, code = code, param = cjson.null } }
    local path = path_of(ngx.var)
    if find(path, "^/v2/") or find(path, "^/cohere/") then
        document.id, document.message = id, message
    end
    return document
end

-- The same as JSON, with the headers that an answer with it has.
function _M.answer(status, kind, code, message)
    ngx.header["Content-Type"] = "application/json"
    ngx.header["X-Request-Id"] = ngx.var.sent_id
    if _M.is_anthropic() then
        ngx.header["Request-Id"] = ngx.var.sent_id
    end
    return cjson.encode(_M.document(status, kind, code, message))
end

return _M
