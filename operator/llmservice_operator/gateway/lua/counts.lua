-- Counts in shared memory that all worker processes change.
--
-- Each worker also counts its own part, so that the part of a worker that died can be subtracted. Nothing is ever evicted:
-- if there is no memory for a further count, it is refused.

local _M = {}
local Counts = {}

-- Counts in the dictionary `shared`, under keys with this prefix.
function _M.new(shared, prefix)
    return setmetatable({ shared = shared, all = prefix .. ":n:", own = prefix .. ":w:" }, { __index = Counts })
end

local function change(shared, key, by)
    local now = shared:incr(key, by)
    if now then
        return now
    end
    local added, problem = shared:safe_add(key, 0)
    if not added and problem ~= "exists" then
        return nil
    end
    return shared:incr(key, by)
end

-- Adds `by` to a count. Returns the new count; nil, and changes nothing, if there is no memory for it.
function Counts:add(name, by)
    local own = self.own .. ngx.worker.pid() .. ":" .. name
    if not change(self.shared, own, by) then
        return nil
    end
    local now = change(self.shared, self.all .. name, by)
    if not now then
        self.shared:incr(own, -by)
    end
    return now
end

-- A count.
function Counts:get(name)
    return self.shared:get(self.all .. name) or 0
end

local function runs(pid)
    local file = io.open("/proc/" .. pid .. "/stat")
    if file then
        file:close()
    end
    return file ~= nil
end

-- Subtracts what workers have counted that no longer run, and forgets counts of 0 whose names `is_known` does not know.
function Counts:tidy(is_known)
    local running = {}
    for _, key in ipairs(self.shared:get_keys(0)) do
        local pid, name = string.match(string.sub(key, #self.own + 1), "^(%d+):(.+)$")
        if string.sub(key, 1, #self.own) == self.own and pid then
            if running[pid] == nil then
                running[pid] = runs(pid)
            end
            local left = self.shared:get(key) or 0
            if not running[pid] then
                self.shared:delete(key)
                self.shared:incr(self.all .. name, -left)
            elseif left == 0 and not is_known(name) then
                self.shared:delete(key)
            end
        elseif string.sub(key, 1, #self.all) == self.all and self.shared:get(key) == 0 and not is_known(string.sub(key, #self.all + 1)) then
            self.shared:delete(key)
        end
    end
end

return _M
