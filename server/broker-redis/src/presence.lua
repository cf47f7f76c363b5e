-- Who is present on a channel, in keys of the channel's slot: its members (a hash of `<generation> <lease> <until>
-- <weight> <since> <user> <what is told of it>`), their order (a sorted set), and the version (a hash). Beside them: the
-- bytes of each channel's members and of all of its app (a hash), who leaves by itself and when (a sorted set), when each
-- node's lease was renewed, leases that ended (sorted sets), and for each lease who holds it (a set).
--
-- A node that dies takes its members along: its lease is renewed no more, ends, and whoever claims it takes them out.

local EXPIRIES = '{p0}e'
local LEASES = '{p0}l'
local ENDED = '{p0}g'
local LEASE_MS = 10000
local SILENT_MS = 3000
local CLAIM_MS = 10000
local KNOWN_MS = 3600000
local MEMBER_OVERHEAD = 512
-- Members that one call takes out.
local TAKEN_MAX = 200

local function room_of(key)
    local tag, rest, app = string.match(key, '^({p%d+})w:(([^:]+):.*)$')
    return { key = key, meta = tag .. 'v:' .. rest, order = tag .. 'o:' .. rest, told = tag .. 'd:' .. rest, app = '{p0}q:' .. app }
end

local function holders(lease)
    return '{p0}r:' .. lease
end

local function split(value)
    if not value then return nil end
    local generation, lease, till, weight, since, user, told = string.match(value, '^(%d+) (%S+) (%d+) (%d+) (%d+) (%S+) (.*)$')
    return {
        generation = tonumber(generation), lease = lease, till = tonumber(till), weight = tonumber(weight),
        since = since, user = user, told = told,
    }
end

-- Versions grow, also where Redis came back with less than it had: they begin anew with the time in microseconds.
local function changed(room, what)
    local known = redis.call('HMGET', room.meta, 'v', 'n')
    local version = tonumber(known[1] or 0)
    local lineage = lineage_beside(known[2] or lineage_now())
    if known[2] ~= lineage then version = math.max(version + 1, math.floor(now_us() / 1000) * 1000) end
    version = whole(version + 1)
    redis.call('HSET', room.meta, 'v', version, 'n', lineage)
    redis.call('PEXPIRE', room.meta, KNOWN_MS)
    redis.call('SPUBLISH', room.told, version .. ' ' .. redis.call('HLEN', room.key) .. ' ' .. what)
    return version
end

local function weigh(room, bytes)
    if bytes == 0 then return end
    redis.call('HINCRBY', room.app, 'all', bytes)
    if redis.call('HINCRBY', room.app, room.key, bytes) <= 0 then redis.call('HDEL', room.app, room.key) end
    if redis.call('HLEN', room.app) == 1 then redis.call('DEL', room.app) end
end

local function take_out(room, field, held)
    redis.call('HDEL', room.key, field)
    redis.call('ZREM', room.order, field)
    weigh(room, -held.weight)
    local name = room.key .. '\n' .. field
    if held.lease ~= '-' then redis.call('SREM', holders(held.lease), name) end
    if held.till > 0 then redis.call('ZREM', EXPIRIES, name) end
    changed(room, '- ' .. field)
end

-- Parts the name of a member into its room and itself.
local function named(name)
    local at = string.find(name, '\n', 1, true)
    local room, field = room_of(string.sub(name, 1, at - 1)), string.sub(name, at + 1)
    return room, field, split(redis.call('HGET', room.key, field))
end

-- keys: the room. args: how, field, generation, lease, whether the lease is new, until, weight, rate, burst, the
-- app's bytes, the user, since, what is told of the member.
local function put(keys, args)
    local room, how, field, lease = room_of(keys[1]), args[1], args[2], args[4]
    local generation, till, weight = tonumber(args[3]), tonumber(args[6]), tonumber(args[7]) + MEMBER_OVERHEAD
    if lease ~= '-' and not redis.call('ZSCORE', LEASES, lease) then
        if args[5] ~= '1' then return { 'lease' } end
        redis.call('ZADD', LEASES, math.floor(now_us() / 1000), lease)
    end
    local held = split(redis.call('HGET', room.key, field))
    if held and held.generation > generation then return { 'absent' } end
    local since, told, user = args[12], args[13], args[11]
    if how == 'resume' then
        if not held or held.user ~= user then return { 'absent' } end
        told, till, weight = held.told, held.till, held.weight
    elseif not held and how == 'update' then
        return { 'absent' }
    end
    if held then since = held.since end
    if how == 'enter' or how == 'update' then
        local rate, us = tonumber(args[8]), now_us()
        local every = 1000000 / math.max(rate, 1)
        local due = math.max(tonumber(redis.call('HGET', room.meta, 'r') or 0), us)
        local early = due - us - (tonumber(args[9]) - 1) * every
        if rate < 1 or early > 0 then return { 'rate', whole(math.max(1, math.ceil(early / 1000))) } end
        redis.call('HSET', room.meta, 'r', whole(math.floor(due + every)))
        redis.call('PEXPIRE', room.meta, KNOWN_MS)
    end
    local more = weight - (held and held.weight or 0)
    if more > 0 and how ~= 'again' and tonumber(redis.call('HGET', room.app, 'all') or 0) + more > tonumber(args[10]) then
        return { 'bytes' }
    end
    local value = args[3] .. ' ' .. lease .. ' ' .. whole(till) .. ' ' .. whole(weight) .. ' ' .. since .. ' ' .. user .. ' ' .. told
    redis.call('HSET', room.key, field, value)
    weigh(room, more)
    local name = room.key .. '\n' .. field
    if not held then redis.call('ZADD', room.order, 0, field) end
    if not held or held.lease ~= lease then
        if held and held.lease ~= '-' then redis.call('SREM', holders(held.lease), name) end
        if lease ~= '-' then redis.call('SADD', holders(lease), name) end
    end
    if till > 0 then
        redis.call('ZADD', EXPIRIES, till, name)
    elseif held and held.till > 0 then
        redis.call('ZREM', EXPIRIES, name)
    end
    local version
    if not held or held.told ~= told then
        version = changed(room, '+ ' .. since .. ' ' .. #field .. ' ' .. field .. told)
    else
        version = redis.call('HGET', room.meta, 'v') or '0'
    end
    return { 'placed', version, held and 0 or 1, since }
end

-- keys: the room. args: field, generation. Whether it was there.
local function leave(keys, args)
    local room = room_of(keys[1])
    local held = split(redis.call('HGET', room.key, args[1]))
    if not held or held.generation ~= tonumber(args[2]) then return 0 end
    take_out(room, args[1], held)
    return 1
end

-- keys: the room. args: after which field, at most so many, and bytes, and of no room with more members than these.
-- Answers version, count, whether they are listed, after which to read on, and for each member its field, since when it is
-- there, and what is told of it.
local function who(keys, args)
    local room, limit, bytes = room_of(keys[1]), tonumber(args[2]), tonumber(args[3])
    local count = redis.call('HLEN', room.key)
    local version = redis.call('HGET', room.meta, 'v') or '0'
    if count > tonumber(args[4]) then return { version, count, 0, '' } end
    local answer, given, weight = { version, count, 1, '' }, 0, 0
    if limit == 0 then
        -- An audit: what knows the version is kept while somebody watches.
        redis.call('PEXPIRE', room.meta, KNOWN_MS)
        return answer
    end
    local from, last = '-', ''
    if args[1] ~= '' then from = '(' .. args[1] end
    while true do
        local fields = redis.call('ZRANGEBYLEX', room.order, from, '+', 'LIMIT', 0, 256)
        if #fields == 0 then return answer end
        local values = redis.call('HMGET', room.key, unpack(fields))
        for at, field in ipairs(fields) do
            local held = split(values[at])
            weight = weight + held.weight - MEMBER_OVERHEAD
            if given >= limit or (given > 0 and weight > bytes) then
                answer[4] = last
                return answer
            end
            given, last = given + 1, field
            answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = field, held.since, held.told
        end
        from = '(' .. last
    end
end

-- args: Unix milliseconds. Takes out whose time is over. How many.
local function due(_, args)
    local names = redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', args[1], 'LIMIT', 0, TAKEN_MAX)
    for _, name in ipairs(names) do
        local room, field, held = named(name)
        if held and held.till > 0 and held.till <= tonumber(args[1]) then
            take_out(room, field, held)
        else
            redis.call('ZREM', EXPIRIES, name)
        end
    end
    return #names
end

-- args: a lease that ended. Takes out who holds it. How many are left.
local function reap(_, args)
    local names = redis.call('SPOP', holders(args[1]), TAKEN_MAX)
    for _, name in ipairs(names) do
        local room, field, held = named(name)
        if held and held.lease == args[1] then take_out(room, field, held) end
    end
    local left = redis.call('SCARD', holders(args[1]))
    if left == 0 then redis.call('ZREM', ENDED, args[1]) end
    return left
end

-- keys: what an app's members weigh. Takes out members of an app that is gone. How many channels are left.
local function clear(keys)
    for _, key in ipairs(redis.call('HRANDFIELD', keys[1], 20)) do
        if key ~= 'all' then
            local room = room_of(key)
            local fields = redis.call('ZRANGE', room.order, 0, TAKEN_MAX - 1)
            for _, field in ipairs(fields) do take_out(room, field, split(redis.call('HGET', key, field))) end
            if #fields == 0 then redis.call('HDEL', keys[1], key) end
        end
    end
    local left = redis.call('HLEN', keys[1])
    if left == 1 and redis.call('HEXISTS', keys[1], 'all') == 1 then
        redis.call('DEL', keys[1])
        left = 0
    end
    return left
end

-- A node lives. keys: where nodes beat. args: its name, its lease, whether that is new.
-- Answers how many have beaten lately, whether the lease holds, the lineage, and a lease that ended and is the node's to
-- reap, if there is one.
local function beat(keys, args)
    local now, lease = math.floor(now_us() / 1000), args[2]
    redis.call('ZADD', keys[1], now, args[1])
    redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', now - 10 * SILENT_MS)
    redis.call('PEXPIRE', keys[1], DAY_MS)
    local nodes = redis.call('ZCOUNT', keys[1], now - SILENT_MS, '+inf')
    -- Where nobody was heard, it was Redis that was away: nobody's time has passed.
    local newest = tonumber(redis.call('ZREVRANGE', LEASES, 0, 0, 'WITHSCORES')[2] or now)
    if newest > now or now - newest > SILENT_MS then
        local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
        for at = 1, #leases, 2 do
            redis.call('ZADD', LEASES, math.min(now, tonumber(leases[at + 1]) + now - newest), leases[at])
        end
    end
    local holds = args[3] == '1' or redis.call('ZSCORE', LEASES, lease)
    if holds then redis.call('ZADD', LEASES, now, lease) end
    for _, ended in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now - LEASE_MS)) do
        redis.call('ZREM', LEASES, ended)
        redis.call('ZADD', ENDED, now, ended)
    end
    local mine = redis.call('ZRANGEBYSCORE', ENDED, '-inf', now, 'LIMIT', 0, 1)[1]
    if mine then redis.call('ZADD', ENDED, now + CLAIM_MS, mine) end
    return { nodes, holds and 1 or 0, lineage_now(), mine or '' }
end

register('ff_beat', beat, 'allow-oom')
register('ff_put', put)
register('ff_leave', leave, 'allow-oom')
register('ff_who', who, 'allow-oom')
register('ff_due', due, 'allow-oom')
register('ff_reap', reap, 'allow-oom')
register('ff_clear', clear, 'allow-oom')
