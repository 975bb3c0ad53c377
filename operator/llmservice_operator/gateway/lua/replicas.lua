-- Chooses the replica of a request, and counts what each replica has to do.

local ffi = require "ffi"
local counts = require "counts"

local requests = counts.new(ngx.shared.load, "n") -- outstanding ones, by address
local prompts = counts.new(ngx.shared.load, "p") -- bytes of those without a first token
local affinity = ngx.shared.affinity
local failures = ngx.shared.failures
local sub, find, ceil, floor, min = string.sub, string.find, math.ceil, math.floor, math.min

-- zlib's, which NGINX is linked with: several times as fast as NGINX's own, and it needs no copy of each block.
ffi.cdef [[ unsigned long crc32(unsigned long sum, const char *text, unsigned int length); ]]
local zlib = ffi.C

-- Bytes of a prompt that its first block covers, its first two, and so on. A prefix is known to an eighth of its length.
local ENDS = {}
for _, each in ipairs({ { 512, 4096 }, { 1024, 16384 }, { 2048, 65536 } }) do
    local step, last = each[1], each[2]
    for stop = (ENDS[#ENDS] or 0) + step, last, step do
        ENDS[#ENDS + 1] = stop
    end
end
local BOUND = 1.25
local ALWAYS = 4 -- outstanding requests that never keep a request from a replica with its prefix
local FAILURE_SECONDS = 5
local ANY = "*" -- no address
-- A replica's work is measured in bytes of prompts that it has to compute.
local MOST_BYTES = 1048576 -- of one request: more than this are images and other data
local OUTSTANDING_BYTES = 4096 -- what an outstanding request counts beside its prompt
-- A byte of a prefix that a replica has counts as so many bytes of work: computing it elsewhere costs time now, and takes
-- memory there from other prefixes.
local PREFIX_WEIGHT = 3
local MOST_OWNERS = 16 -- replicas that are remembered for a block, the last ones
local ID_BYTES = 4

local _M = {}

local function at_least_zero(found)
    return found > 0 and found or 0
end

function _M.outstanding(address)
    return at_least_zero(requests:get(address))
end

function _M.uncomputed(address)
    return at_least_zero(prompts:get(address))
end

-- The request's first token is there, or its end: its prompt is no longer work of the replica.
function _M.computed(address, bytes)
    if bytes and bytes > 0 then
        prompts:add(address, -bytes)
    end
end

function _M.release(address, bytes)
    _M.computed(address, bytes)
    requests:add(address, -1)
end

function _M.failed(address)
    failures:set(address, true, FAILURE_SECONDS)
    failures:set(ANY, true, FAILURE_SECONDS)
end

local four = ffi.new("uint32_t[1]")

-- A sum as four bytes.
local function bytes_of(sum)
    four[0] = sum
    return ffi.string(four, ID_BYTES)
end

local function crc32(text)
    return tonumber(zlib.crc32(0, text, #text))
end

-- Hashes of the prompt's first blocks, four bytes each, each of which covers all blocks before it. Only whole blocks count.
function _M.hashes(seed, text, start)
    local found = {}
    local prompt, length = ffi.cast("const char *", text) + start - 1, #text - start + 1
    local sum, from = zlib.crc32(0, seed, #seed), 0
    for number = 1, #ENDS do
        local stop = ENDS[number]
        if stop > length then
            break
        end
        sum = zlib.crc32(sum, prompt + from, stop - from)
        found[number] = bytes_of(sum)
        from = stop
    end
    return found
end

-- In the table of prefixes a replica is four bytes. If two replicas had the same ones, only the choice would be worse.
local function id_of(peer)
    peer.id = peer.id or bytes_of(crc32(peer.address))
    return peer.id
end

-- For each block from the first one the replicas that got it, up to the first block that none got.
local function known_owners(service, hashes)
    local owners = {}
    for number = 1, hashes and #hashes or 0 do
        local found = affinity:get(service .. hashes[number])
        if not found then
            break
        end
        owners[number] = found
    end
    return owners
end

-- How many blocks from the first one this replica got.
local function matched(owners, id)
    local low, high = 0, #owners
    while low < high do
        local middle = floor((low + high + 1) / 2)
        if find(owners[middle], id, 1, true) then
            low = middle
        else
            high = middle - 1
        end
    end
    return low
end

local function learn(service, hashes, owners, from, id)
    for number = from, #hashes do
        local others = owners[number] or ""
        if not find(others, id, 1, true) then
            affinity:set(service .. hashes[number], id .. sub(others, 1, (MOST_OWNERS - 1) * ID_BYTES))
        end
    end
end

-- One of `peers` without those in `tried`, with the request counted as its work; nil if there is none. `bytes` is the
-- length of the prompt. The second result says why it was chosen: affinity (no other one has more of the prefix), bound
-- (another one has, but too much work) or load. The third one is what `computed` or `release` needs.
function _M.choose(service, peers, hashes, tried, bytes)
    local usable, healthy = {}, {}
    local all_healthy = not failures:get(ANY)
    for _, peer in ipairs(peers) do
        if not tried[peer.address] then
            usable[#usable + 1] = peer
            if all_healthy or not failures:get(peer.address) then
                healthy[#healthy + 1] = peer
            end
        end
    end
    if #healthy > 0 then
        usable = healthy
    end
    if #usable == 0 then
        return nil
    end
    local total, outstanding = 0, {}
    for number, peer in ipairs(usable) do
        outstanding[number] = _M.outstanding(peer.address)
        total = total + outstanding[number]
    end
    bytes = min(bytes or 0, MOST_BYTES)
    local most = math.max(ALWAYS, ceil(BOUND * (total + 1) / #usable))
    local owners = known_owners(service, hashes)
    local best, least, rank, has, longest = nil, nil, nil, 0, 0
    for number, peer in ipairs(usable) do
        local blocks = #owners > 0 and matched(owners, id_of(peer)) or 0
        local saved = outstanding[number] < most and (ENDS[blocks] or 0) * PREFIX_WEIGHT or 0
        local work = _M.uncomputed(peer.address) + outstanding[number] * OUTSTANDING_BYTES - saved
        local order = hashes and hashes[1] and crc32(hashes[1] .. peer.address) or math.random()
        if not least or work < least or (work == least and order > rank) then
            best, least, rank, has = peer, work, order, blocks
        end
        longest = math.max(longest, blocks)
    end
    local added = math.max(0, bytes - (ENDS[has] or 0))
    requests:add(best.address, 1)
    if added > 0 then
        prompts:add(best.address, added)
    end
    if hashes then
        learn(service, hashes, owners, has + 1, id_of(best))
    end
    return best, longest == 0 and "load" or (has == longest and "affinity" or "bound"), added
end

-- Subtracts what workers have counted that no longer run, and forgets replicas that no service has.
function _M.tidy(namespaces)
    local addresses = {}
    for _, scope in pairs(namespaces) do
        for _, service in pairs(scope.services) do
            for _, peer in ipairs(service.peers) do
                addresses[peer.address] = true
            end
        end
    end
    local function is_known(address)
        return addresses[address] ~= nil
    end
    requests:tidy(is_known)
    prompts:tidy(is_known)
end

return _M
