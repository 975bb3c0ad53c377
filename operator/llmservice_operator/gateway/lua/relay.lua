-- Streams for a service at zero, on request: comments while they wait, then the replica's stream, and errors as events.
--
-- NGINX can't proxy a request whose answer has begun. So an HTTP/1.1 client of its own sends it here, once comments were
-- sent, and copies the events. What a replica answers is untrusted: heads and lines of it are bounded.

local cjson = require "cjson.safe"
local errors = require "errors"

local find, sub, match, lower = string.find, string.sub, string.match, string.lower

local COMMENT_SECONDS = 10
local CONNECT_MILLISECONDS = 2000
local SEND_MILLISECONDS = 60000
local PIECE = 16384
local LONGEST_HEAD = 16384
local LONGEST_CHUNK_HEAD = 256
local LONGEST_ERROR = 65536
local NOT_SENT = {
    ["connection"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true,
    ["transfer-encoding"] = true, ["upgrade"] = true, ["expect"] = true, ["content-length"] = true, ["host"] = true,
    ["x-request-id"] = true, ["x-forwarded-for"] = true, ["x-forwarded-proto"] = true, ["x-llmservice-hold"] = true,
}

local _M = { read_seconds = 620 }

-- Whether the client wants comments while its stream waits.
function _M.is_wanted()
    return ngx.var.http_x_llmservice_hold == "comments"
end

-- Sends a comment now and then. The first one begins the answer.
function _M.comment(ctx)
    local now = ngx.now()
    if ctx.commented and now - ctx.commented < COMMENT_SECONDS then
        return
    end
    if not ctx.commented then
        ctx.own = true
        ngx.status = 200
        ngx.header["Content-Type"] = "text/event-stream"
        ngx.header["Cache-Control"] = "no-cache"
    end
    ctx.commented = now
    ngx.print(": waiting for a replica\n\n")
    ngx.flush(true)
end

-- Ends the answer with an error, as an event that SDKs of OpenAI and Anthropic read.
function _M.fail(status, kind, code, message)
    local named = errors.is_anthropic() and "event: error\n" or ""
    ngx.print(named .. "data: " .. cjson.encode(errors.document(status, kind, code, message)) .. "\n\n")
    return ngx.exit(ngx.HTTP_OK)
end

local Reader = {}

local function reader(socket)
    return setmetatable({ socket = socket, text = "" }, { __index = Reader })
end

function Reader:fill()
    local more = self.socket:receiveany(PIECE)
    if not more then
        return false
    end
    self.text = self.text .. more
    return true
end

-- What comes before `mark`; nil if that is longer than `most`, or the connection ends.
function Reader:before(mark, most)
    while true do
        local from, to = find(self.text, mark, 1, true)
        if from then
            local found = sub(self.text, 1, from - 1)
            self.text = sub(self.text, to + 1)
            return found
        elseif #self.text > most or not self:fill() then
            return nil
        end
    end
end

-- Passes on `length` bytes, or all until the connection ends. Whether they came, and were taken.
function Reader:copy(length, take)
    while not length or length > 0 do
        if self.text == "" and not self:fill() then
            return length == nil
        end
        local piece = length and sub(self.text, 1, length) or self.text
        self.text = sub(self.text, #piece + 1)
        length = length and length - #piece
        if not take(piece) then
            return false
        end
    end
    return true
end

-- Passes on a body. Whether all of it came.
local function copy_body(from, headers, take)
    if lower(headers["transfer-encoding"] or "") ~= "chunked" then
        local length = headers["content-length"]
        if length and not match(length, "^%d+$") then
            return false
        end
        return from:copy(tonumber(length), take)
    end
    while true do
        local head = from:before("\r\n", LONGEST_CHUNK_HEAD)
        local digits = head and match(head, "^%x+")
        if not digits or #digits > 8 then
            return false
        end
        local length = tonumber(digits, 16)
        if length == 0 then
            return true
        end
        if not from:copy(length, take) or from:before("\r\n", 0) ~= "" then
            return false
        end
    end
end

local function request_head(path, length)
    local var = ngx.var
    local dropped = {}
    for name in string.gmatch(lower(var.http_connection or ""), "[^,%s]+") do
        dropped[name] = true
    end
    local lines = {
        "POST " .. path .. " HTTP/1.1", "Host: " .. var.host, "Connection: close", "Content-Length: " .. length,
        "X-Request-Id: " .. var.sent_id, "X-Forwarded-For: " .. var.remote_addr, "X-Forwarded-Proto: " .. var.scheme,
    }
    for name, values in pairs(ngx.req.get_headers(0, true)) do
        local known_as = lower(name)
        if not NOT_SENT[known_as] and not dropped[known_as] then
            for _, value in ipairs(type(values) == "table" and values or { values }) do
                lines[#lines + 1] = name .. ": " .. tostring(value)
            end
        end
    end
    return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function send_body(socket)
    local text = ngx.req.get_body_data()
    if text then
        return socket:send(text)
    end
    local file = ngx.req.get_body_file()
    local opened = file and io.open(file, "rb")
    if not opened then
        return true
    end
    local sent = true
    repeat
        local piece = opened:read(65536)
        sent = not piece or socket:send(piece)
    until not piece or not sent
    opened:close()
    return sent
end

-- The status, the headers, and a reader of the body; nil if the replica did not answer.
local function ask(peer, path, length)
    local socket = ngx.socket.tcp()
    socket:settimeouts(CONNECT_MILLISECONDS, SEND_MILLISECONDS, _M.read_seconds * 1000)
    if not socket:connect(peer.host, peer.port) then
        return nil
    end
    if not socket:send(request_head(path, length)) or not send_body(socket) then
        socket:close()
        return nil
    end
    local from = reader(socket)
    local head = from:before("\r\n\r\n", LONGEST_HEAD)
    local status = head and match(head, "^HTTP/1%.[01] (%d%d%d)")
    if not status then
        socket:close()
        return nil
    end
    local headers = {}
    for name, value in string.gmatch(head, "\r\n([^:%s]+):[ \t]*([^\r\n]*)") do
        headers[lower(name)] = value
    end
    return tonumber(status), headers, from
end

-- Copies the replica's answer to the client. `use_other` takes another replica after one that did not answer.
function _M.send(ctx, path, length, use_other)
    local status, headers, from = ask(ctx.peer, path, length)
    if (not status or status == 503) and use_other(ctx) then
        if from then
            from.socket:close()
        end
        status, headers, from = ask(ctx.peer, path, length)
    end
    if not status then
        return _M.fail(502, "server_error", "gateway_502", "The replica ended the connection before its answer.")
    end
    if status == 200 and find(lower(headers["content-type"] or ""), "text/event-stream", 1, true) then
        local complete = copy_body(from, headers, function(piece)
            ngx.print(piece)
            return ngx.flush(true)
        end)
        from.socket:close()
        if not complete then
            return _M.fail(502, "server_error", "stream_cut", "The replica ended the connection before the end of its stream.")
        end
        return ngx.exit(ngx.HTTP_OK)
    end
    local parts, size = {}, 0
    copy_body(from, headers, function(piece)
        parts[#parts + 1], size = piece, size + #piece
        return size < LONGEST_ERROR
    end)
    from.socket:close()
    local answer = cjson.decode(table.concat(parts))
    local problem = type(answer) == "table" and type(answer.error) == "table" and answer.error or {}
    local message = type(problem.message) == "string" and problem.message
        or (status == 200 and "The answer is no stream. Set `stream`, or leave the header X-LLMService-Hold out."
            or "The replica answered with status " .. status .. ".")
    return _M.fail(status == 200 and 400 or status,
        type(problem.type) == "string" and problem.type or (status < 500 and "invalid_request_error" or "server_error"),
        type(problem.code) == "string" and problem.code or "status_" .. status, message)
end

return _M
