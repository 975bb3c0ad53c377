-- What the requests of a canary say about it: tests that may be repeated after each request. As in evidence.py.

local floor, log, exp, max, min = math.floor, math.log, math.exp, math.max, math.min
local byte, char, sub = string.byte, string.char, string.sub

local CERTAIN = log(1000)
-- Ratios between the tested one and 1, as parts of the way.
local ALTERNATIVES = { 0.03, 0.08, 0.15, 0.3, 0.5, 0.75, 0.97 }

local WINDOW = 63 -- times that a new one is compared with
local LEAST_WINDOW = 15
local LEAST_SECONDS = 0.01 -- shorter times are equal
local STEPS = 1000 -- of a time's logarithm
local MOST_STEPS = 65535
local CLASS_BYTES = 1024
local MOST_CLASS = 10

local _M = {
    -- The part of times that is slow if a canary is as fast as the others.
    slow_ratio = 0.25,
}

-- Whether `x` of `n` events are certainly more than a ratio of `p`: a sequential probability ratio test against a mixture
-- of higher ratios. If the ratio is `p` or less, this is ever true with a probability of 0.001 at most, however often
-- it is asked.
function _M.above(n, x, p)
    if n == 0 or p >= 1 or x <= n * p then
        return false
    end
    local sum = 0
    for _, part in ipairs(ALTERNATIVES) do
        local q = p + (1 - p) * part
        sum = sum + exp(min(700, x * log(q / p) + (n - x) * log((1 - q) / (1 - p))))
    end
    return log(sum / #ALTERNATIVES) >= CERTAIN
end

local function steps(seconds)
    return min(MOST_STEPS, floor(log(max(seconds, LEAST_SECONDS) / LEAST_SECONDS) * STEPS))
end

-- A window of times with one more. Windows are texts with two bytes for each time.
function _M.remember(window, seconds)
    local value = steps(seconds)
    return sub((window or "") .. char(floor(value / 256), value % 256), -2 * WINDOW)
end

-- Whether a time is above `multiple` times those of the window, but for the longest quarter; nil if the window has too few.
function _M.is_slow(window, seconds, multiple)
    local known = floor(#(window or "") / 2)
    if known < LEAST_WINDOW then
        return nil
    end
    local values = {}
    for number = 1, known do
        local high, low = byte(window, 2 * number - 1, 2 * number)
        values[number] = high * 256 + low
    end
    table.sort(values)
    -- Of times with one distribution a further one is above this in at most a quarter of all cases.
    local limit = values[known + 1 - floor((known + 1) * _M.slow_ratio)]
    return steps(seconds) > limit + floor(log(multiple) * STEPS)
end

-- Requests of one class have to compute prompts of about the same length.
function _M.class(bytes)
    return min(MOST_CLASS, floor(log(max(bytes or 0, CLASS_BYTES) / CLASS_BYTES) / log(2)))
end

return _M
