-- Finds the model and the beginning of the prompt in a request's body, without parsing all of it.
--
-- Bodies are untrusted and may have tens of megabytes, mostly in strings. Compiled patterns jump over strings and from
-- bracket to bracket. They are possessive, so they never backtrack. The number of jumps is bounded.

local cjson = require "cjson.safe"
local re_find = ngx.re.find
local byte, sub, find, match, lower = string.byte, string.sub, string.find, string.match, string.lower

local MOST_STEPS = 100000
local LONGEST_MODEL = 1024
local LONGEST_BOUNDARY = 70
local LONGEST_HEAD = 8192
local MOST_PARTS = 2000

local STRING = [["[^"\\]*+(?:\\.[^"\\]*+)*+"]]
local KEY = [[[ \t\r\n]*+(]] .. STRING .. [[)[ \t\r\n]*+:[ \t\r\n]*+]]
local NEXT_BRACKET = [=[[^"\[\]{}]*+(?:]=] .. STRING .. [=[[^"\[\]{}]*+)*+([\[\]{}])]=]
local SCALAR = [=[[^,\]}" \t\r\n]++]=]
local SEPARATOR = [[[ \t\r\n]*+([,}])]]
local OPENING = [[[ \t\r\n]*+\{]]
-- Also with escapes of any of its letters.
local LATER_MODEL = [=["model"|\\u006[4cdfCDF5]]=]

local PROMPTS = { ['"messages"'] = true, ['"prompt"'] = true, ['"input"'] = true, ['"text_1"'] = true, ['"query"'] = true }

local _M = {}

-- The position after the value that begins at `context.pos`; nil if it can't be read.
local function skip(text, context, steps)
    local first = byte(text, context.pos)
    if first == 34 then -- "
        return re_find(text, STRING, "ajos", context) and steps
    elseif first ~= 123 and first ~= 91 then -- { [
        return re_find(text, SCALAR, "ajos", context) and steps
    end
    local depth = 0
    repeat
        steps = steps - 1
        local from = steps > 0 and re_find(text, NEXT_BRACKET, "ajos", context)
        if not from then
            return nil
        end
        local bracket = byte(text, context.pos - 1)
        depth = depth + ((bracket == 123 or bracket == 91) and 1 or -1)
    until depth <= 0
    return steps
end

local function decoded(quoted)
    if #quoted > LONGEST_MODEL then
        return nil
    end
    if not find(quoted, "\\", 2, true) then
        return sub(quoted, 2, -2)
    end
    local list = cjson.decode("[" .. quoted .. "]")
    return list and list[1]
end

-- Whether a key that is or could be "model" may follow: what comes may be in a string or in a value, too.
local function may_follow(text, from)
    local found, _, problem = re_find(text, LATER_MODEL, "jo", { pos = from })
    return found ~= nil or problem ~= nil
end

-- The model's name, and where the value of the prompt begins. Each is nil if the body has none, or can't be read so far.
-- If `model` is there more than once, the last one counts, as for JSON parsers.
function _M.scan(text)
    local context = { pos = 1 }
    local model, prompt
    if not re_find(text, OPENING, "ajos", context) then
        return nil, nil
    end
    local steps, whole, checked = MOST_STEPS, false, false
    while steps and steps > 0 do
        steps = steps - 1
        local from, to = re_find(text, KEY, "ajos", context, 1)
        if not from then
            break
        end
        local key = sub(text, from, to)
        if find(key, "\\", 2, true) then
            local plain = decoded(key)
            key = plain and '"' .. plain .. '"'
        end
        local start = context.pos
        if key and PROMPTS[key] then
            prompt = prompt or start
        end
        if model and prompt and not checked then
            checked = true
            if not may_follow(text, from) then
                return model, prompt
            end
        end
        steps = skip(text, context, steps)
        if not steps then
            break
        end
        if key == '"model"' then
            model = byte(text, start) == 34 and decoded(sub(text, start, context.pos - 1)) or nil
            checked = false
        end
        local at = re_find(text, SEPARATOR, "ajos", context)
        if not at then
            break
        elseif byte(text, context.pos - 1) == 125 then
            whole = true
            break
        end
    end
    if model and not whole and may_follow(text, context.pos) then
        model = nil
    end
    return model, prompt
end

-- The boundary of a form; nil if the header is not as clients write it.
local function boundary_of(content_type)
    local rest = match(content_type, "^[Mm][Uu][Ll][Tt][Ii][Pp][Aa][Rr][Tt]/[Ff][Oo][Rr][Mm]%-[Dd][Aa][Tt][Aa]%s*;%s*(.*)$")
    local quoted = rest and match(rest, '^boundary="([%w\'()+_,./:=? -]+)"$')
    return quoted or (rest and match(rest, "^boundary=([%w'()+_,./:=?-]+)$"))
end

-- The name of a part's field; nil if its head is not as clients write it.
local function field_of(head)
    local name, others
    for line in string.gmatch(head, "[^\r\n]+") do
        local header, value = match(line, "^([%w-]+):[ \t]*(.*)$")
        if not header then
            return nil
        end
        if lower(header) == "content-disposition" then
            if name then
                return nil
            end
            name, others = match(value, '^form%-data;[ ]*name="([^"\\]*)"(.*)$')
            if not name then
                name, others = match(value, "^form%-data;[ ]*name=([%w_.-]+)(.*)$")
            end
            local file = others and (match(others, '^;[ ]*filename="[^"\\]*"(.*)$') or others)
            if not file or not (file == "" or match(file, "^;[ ]*filename%*=[%w%%'._~!$&+-]+$")) then
                return nil
            end
        end
    end
    return name, others == ""
end

-- The field `model` of a form with a file; the last one, if it has several. Nil if it has none, or is not as clients write forms.
function _M.scan_form(text, content_type)
    local boundary = boundary_of(content_type)
    if not boundary or #boundary > LONGEST_BOUNDARY then
        return nil
    end
    local start, between = "--" .. boundary, "\r\n--" .. boundary
    if sub(text, 1, #start + 2) ~= start .. "\r\n" then
        return nil
    end
    local model
    local pos = #start + 3
    for _ = 1, MOST_PARTS do
        local head_end, body = find(text, "\r\n\r\n", pos, true)
        if not head_end or head_end - pos > LONGEST_HEAD then
            return nil
        end
        local name, is_text = field_of(sub(text, pos, head_end - 1))
        if not name then
            return nil
        end
        -- A part without content ends with the line end of its head.
        local stop, next_part, after = body - 1, nil, nil
        repeat
            stop, next_part = find(text, between, stop, true)
            if not stop then
                return nil
            end
            after = sub(text, next_part + 1, next_part + 2)
            stop = after ~= "\r\n" and after ~= "--" and stop + 1 or stop
        until after == "\r\n" or after == "--"
        if name == "model" then
            model = is_text and stop - body <= LONGEST_MODEL and sub(text, body + 1, stop - 1) or nil
        end
        if after == "--" then
            return model
        end
        pos = next_part + 3
    end
    return nil
end

return _M
