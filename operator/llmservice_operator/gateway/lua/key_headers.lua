-- The key in a request's headers, by the rules of the pods (keyring.py).

local ffi = require "ffi"

local LONGEST_HEADER = 512 -- of a header with a key, as in the pods
local KEY = [[^llm_([a-z0-9]{4,32})_[A-Za-z0-9_-]{32,128}$]]

ffi.cdef [[ unsigned char *SHA256(const unsigned char *text, size_t length, unsigned char *digest); ]]

local _M = {}

-- The key; nil if there is none, or two.
local function plain_key()
    local found_headers = ngx.req.get_headers(0)
    local found
    for _, name in ipairs({ "authorization", "x-api-key" }) do
        local value = found_headers[name]
        if value ~= nil then
            if type(value) ~= "string" or #value > LONGEST_HEADER then
                return nil
            end
            if name == "authorization" then
                local from, to = ngx.re.find(value, [[^bearer[ ]+(.*?)[ ]*$]], "jois", nil, 1)
                value = from and value:sub(from, to)
            end
            if not value or (found and found ~= value) then
                return nil
            end
            found = value
        end
    end
    return found
end

-- The id and the SHA-256 of the request's key, as the Secret has them; nil if it has no key.
function _M.digest()
    local plain = plain_key()
    local id = plain and ngx.re.match(plain, KEY, "jo")
    if not id then
        return nil
    end
    local sum = ffi.new("unsigned char[32]")
    ffi.C.SHA256(plain, #plain, sum)
    local text = {}
    for number = 0, 31 do
        text[number + 1] = string.format("%02x", sum[number])
    end
    return id[1] .. ":" .. table.concat(text)
end

return _M
