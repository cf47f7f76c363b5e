-- What an app holds, in keys of a slot of the app's own: what it is charged for each of its channels and for all together (a
-- hash of `<bytes> <time>`, and `all`), and until when each of them counts (a sorted set). Channels are in other slots; nodes
-- tell what answers of theirs said, sooner or later and in any order. Each word is whole: the last one counts.

-- Channels that are over, forgotten at one time.
local OVER_MAX = 1000

-- Has a key live at least so long: channels that keep longer have said so too.
local function outlive(key, ms)
    if redis.call('PEXPIRE', key, ms, 'NX') == 0 then redis.call('PEXPIRE', key, ms, 'GT') end
end

local function charged(keys, channel)
    local bytes, us = string.match(redis.call('HGET', keys[1], channel) or '0 0', '^(%d+) (%d+)$')
    return tonumber(bytes), tonumber(us)
end

-- keys: the charges, until when. args: for each channel that something is told of its name, its charge, until when it counts
-- (ms), when that was so (µs). Answers how many bytes and channels are charged together.
local function hold(keys, args)
    local now = math.floor(now_us() / 1000)
    for _, channel in ipairs(redis.call('ZRANGEBYSCORE', keys[2], '-inf', now, 'LIMIT', 0, OVER_MAX)) do
        redis.call('HINCRBY', keys[1], 'all', -charged(keys, channel))
        redis.call('HDEL', keys[1], channel)
        redis.call('ZREM', keys[2], channel)
    end
    local lives_ms = 0
    for at = 1, #args, 4 do
        local channel, bytes, till, us = args[at], tonumber(args[at + 1]), tonumber(args[at + 2]), tonumber(args[at + 3])
        local before, before_us = charged(keys, channel)
        if us > before_us and till > now then
            redis.call('HINCRBY', keys[1], 'all', bytes - before)
            redis.call('HSET', keys[1], channel, whole(bytes) .. ' ' .. whole(us))
            redis.call('ZADD', keys[2], till, channel)
            lives_ms = math.max(lives_ms, till - now + DAY_MS)
        end
    end
    if lives_ms > 0 then
        outlive(keys[1], whole(lives_ms))
        outlive(keys[2], whole(lives_ms))
    end
    return { tonumber(redis.call('HGET', keys[1], 'all') or 0), redis.call('ZCARD', keys[2]) }
end

register('ff_hold', hold, 'allow-oom')
