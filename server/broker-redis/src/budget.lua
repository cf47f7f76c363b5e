-- What limits of apps and keys nodes share: for each account one packed value, of when the whole bucket is full (µs), and
-- for each node its demand, or how much it has, and until when that holds. How a rate is divided is said, and tested, where
-- its form in memory is; this is the same.

local IDLE = 0.1
local BY_DEMAND = 0.75
local PARTS = 1000000
local KEPT_MS = 10000

local function millionths(part)
    return whole(math.max(1, math.min(PARTS, math.floor(part * PARTS))))
end

-- What a node gets, so that all nodes get the whole.
local function share_of(held, node, nodes, max)
    local count, sum, demands = 0, 0, {}
    for _, said in pairs(held) do
        count, sum = count + 1, sum + said[1] / max
        demands[count] = said[1] / max
    end
    nodes = math.max(nodes, count)
    if count == 0 then return 1 / nodes, nodes end
    if not held[node] then return IDLE / nodes, nodes end
    local own, rest = held[node][1] / max, 1 - IDLE / nodes * (nodes - count)
    if sum <= rest then return own + (rest - sum) * (own + sum / count) / (2 * sum), nodes end
    table.sort(demands)
    local sharing = count
    for _, demand in ipairs(demands) do
        local same = rest / sharing
        if demand > same then return math.min(own, same), nodes end
        rest, sharing = rest - demand, sharing - 1
    end
    return own, nodes
end

-- Says of an account what the node said of it, and forgets what others said too long ago.
local function say(key, node, number, now, holds_ms)
    local packed = redis.call('GET', key)
    local full_at, held = 0, {}
    if packed then full_at, held = cmsgpack.unpack(packed) end
    for other, said in pairs(held) do
        if other == node or said[2] <= now then held[other] = nil end
    end
    if number > 0 then held[node] = { number, now + holds_ms * 1000 } end
    return full_at, held
end

-- keys: accounts. args: the node, how many are known, and for each account how long its word holds (ms) and either `c` and
-- how much there is of it, or `r`, the rate, the burst, how much was drawn, the demand a second, over how long (µs), and
-- when the bucket is full as the node knows it (µs from now). Answers for each how much the others have, or its part, what
-- it has alone, and when the whole bucket is full (µs).
local function share(keys, args)
    local node, nodes, now = args[1], tonumber(args[2]), now_us()
    local at, answers = 3, {}
    for index, key in ipairs(keys) do
        local holds_ms = tonumber(args[at])
        local lives_ms = math.max(KEPT_MS, holds_ms)
        local full_at, held
        if args[at + 1] == 'c' then
            full_at, held = say(key, node, tonumber(args[at + 2]), now, holds_ms)
            local others = 0
            for other, said in pairs(held) do
                if other ~= node then others = others + said[1] end
            end
            answers[index] = whole(others)
            at = at + 3
        else
            local max, burst = math.max(1, tonumber(args[at + 2])), math.max(1, tonumber(args[at + 3]))
            local drawn, demand = tonumber(args[at + 4]), tonumber(args[at + 5])
            local over, full_in = tonumber(args[at + 6]), tonumber(args[at + 7])
            full_at, held = say(key, node, demand, now, holds_ms)
            local capacity = burst * 1000000 / max
            local share, all = share_of(held, node, nodes, max)
            full_at = math.max(full_at, now - over) + drawn * 1000000 / max
            if full_in > 0 then full_at = math.max(full_at, now + full_in) end
            full_at = math.min(full_at, now + capacity * math.max(1, nodes) + 1000000)
            local ahead = math.max(0, full_at - now)
            local fullness = math.max(0, 1 - ahead / capacity)
            local alone = BY_DEMAND * share + (1 - BY_DEMAND) / all
            answers[index] = millionths(math.max(share, fullness * fullness)) .. ' ' .. millionths(alone) .. ' ' .. whole(ahead)
            lives_ms = lives_ms + math.floor(ahead / 1000)
            at = at + 8
        end
        redis.call('SET', key, cmsgpack.pack(full_at, held), 'PX', whole(lives_ms))
    end
    return answers
end

register('ff_share', share, 'allow-oom')
