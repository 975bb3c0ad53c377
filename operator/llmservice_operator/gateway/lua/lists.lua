-- Lists in JSON. Debian's lua-cjson encodes an empty table as an object.

local cjson = require "cjson.safe"

local _M = {}

-- The JSON text of a list.
function _M.encode(values)
    return #values > 0 and cjson.encode(values) or "[]"
end

return _M
