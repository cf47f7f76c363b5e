#!lua name=fanfare_VERSION
-- The log of a channel, in four keys of one slot: what is known of it (meta, a hash), its messages (a stream, whose entries
-- are named <term>-<offset>), the tombs of deleted messages (a sorted set by offset), and one key for each id that may come again.
--
-- A step that may fail stands before those that cannot: scripts do not roll back.

-- Tells one data set from another: nothing after the library was loaded, after a restart and after a full resync, and then
-- whatever the first caller drew. What differs from the nonce in a channel's meta may have been rewound.
local lineage

local OVERHEAD = 256
local TRIM_MAX = 1000
local DAY_MS = 86400000

local function whole(number)
    return string.format('%.0f', number)
end

local function now_us()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function first_entry(keys)
    return redis.call('XRANGE', keys[2], '-', '+', 'COUNT', 1)[1]
end

local function drop(keys, meta, entry)
    redis.call('XDEL', keys[2], entry[1])
    meta.b = math.max(0, meta.b - tonumber(entry[2][4]) - OVERHEAD)
    meta.changed = true
end

-- Drops the entries of terms that are no longer known by name.
local function drop_before(keys, meta, term)
    local entry = first_entry(keys)
    while entry and tonumber(string.match(entry[1], '^(%d+)')) < term do
        drop(keys, meta, entry)
        entry = first_entry(keys)
    end
end

-- What is known of a channel, under the lineage of this data set. `changed` when it has to be stored.
local function open(keys, nonce, epoch)
    lineage = lineage or nonce
    local known = redis.call('HMGET', keys[1], 'e', 't', 'n', 'o', 'b', 'h', 'k', 'r', 'x')
    if not known[1] then
        -- What is left of an earlier epoch is nobody's.
        redis.call('DEL', keys[2], keys[3])
        local term = math.floor(now_us() / 1000)
        return { e = epoch, t = term, n = lineage, o = 0, b = 0, h = '', k = 0, r = 0, x = 0, changed = true }
    end
    local meta = {
        e = known[1], t = tonumber(known[2]), n = known[3], o = tonumber(known[4]), b = tonumber(known[5]),
        h = known[6], k = tonumber(known[7]), r = tonumber(known[8]), x = tonumber(known[9]), changed = false,
    }
    if meta.n ~= lineage then
        -- Where earlier terms ended, the last sixteen of them.
        local ends = meta.h .. whole(meta.t) .. ':' .. whole(meta.o) .. ';'
        local _, count = string.gsub(ends, ';', ';')
        if count > 16 then
            ends = string.gsub(ends, '^[^;]*;', '', 1)
            drop_before(keys, meta, tonumber(string.match(ends, '^(%d+)')))
        end
        meta.h = ends
        meta.t = math.max(meta.t + 1, math.floor(now_us() / 1000))
        meta.n = lineage
        meta.changed = true
    end
    return meta
end

-- What knows the lineage lives longest. Of a channel that nothing was published to there is little to know.
local function keep(keys, meta)
    redis.call('PEXPIRE', keys[1], whole(meta.o > 0 and meta.k + 2 * DAY_MS or DAY_MS / 8))
end

local function store(keys, meta)
    redis.call('HSET', keys[1], 'e', meta.e, 't', whole(meta.t), 'n', meta.n, 'o', whole(meta.o), 'b', whole(meta.b),
        'h', meta.h, 'k', whole(meta.k), 'r', whole(meta.r), 'x', whole(meta.x))
    keep(keys, meta)
end

-- The name that the entry of this offset has.
local function name(meta, offset)
    for term, last in string.gmatch(meta.h, '(%d+):(%d+);') do
        if offset <= tonumber(last) then return term .. '-' .. whole(offset) end
    end
    return whole(meta.t) .. '-' .. whole(offset)
end

local function offset_of(entry)
    return tonumber(string.match(entry[1], '%-(%d+)$'))
end

-- The oldest tomb: its offset, its time, and itself.
local function first_tomb(keys)
    local tomb = redis.call('ZRANGE', keys[3], 0, 0)[1]
    if not tomb then return nil end
    local offset, time = string.match(tomb, '^(%d+) (%d+) ')
    return tonumber(offset), tonumber(time), tomb
end

-- What stands at an offset whose message was deleted, and when that was published.
local function tomb_at(keys, offset)
    local tomb = redis.call('ZRANGEBYSCORE', keys[3], offset, offset)[1]
    if not tomb then return nil end
    local time, begin = string.match(tomb, '^%d+ (%d+) ()')
    return string.sub(tomb, begin), tonumber(time)
end

local function drop_all(keys, meta)
    redis.call('DEL', keys[2], keys[3])
    meta.b, meta.x, meta.changed = 0, 0, true
end

-- Drops what is too old, and what must go so that `incoming` more bytes fit. The offset of the oldest that is left.
local function trim(keys, meta, now, messages, bytes, incoming)
    local length = redis.call('XLEN', keys[2]) + meta.x
    local extra = (incoming > 0) and 1 or 0
    local oldest = meta.o + 1
    for _ = 1, TRIM_MAX do
        local entry = first_entry(keys)
        local offset, time = entry and offset_of(entry), entry and tonumber(entry[2][2])
        local tomb
        if meta.x > 0 then
            local other, when, it = first_tomb(keys)
            if other and (not offset or other < offset) then offset, time, tomb = other, when, it end
        end
        oldest = offset or meta.o + 1
        if not offset
            or (time + meta.k > now and length + extra <= messages and meta.b + incoming <= bytes)
        then
            return oldest
        end
        if tomb then
            redis.call('ZREM', keys[3], tomb)
            meta.b, meta.x, meta.changed = math.max(0, meta.b - OVERHEAD), meta.x - 1, true
        else
            drop(keys, meta, entry)
        end
        length = length - 1
    end
    return oldest
end

-- keys: meta, stream, tombs, the id's where it may come again.
-- args: nonce, epoch, now ms, channel to tell, messages, bytes and ms of history, weight, rate, burst, payload,
--       content and ms of the id.
local function pub(keys, args)
    local now = tonumber(args[3])
    if keys[4] then
        local known = redis.call('GET', keys[4])
        if known then
            local content, till, position = string.match(known, '^(%S+) (%d+) (.+)$')
            if tonumber(till) > now then
                if content ~= args[12] then return { 'reused' } end
                local e, t, n, o = string.match(position, '^(%d+) (%d+) (%d+) (%d+)$')
                return { 'duplicate', e, t, n, o }
            end
        end
    end
    local meta = open(keys, args[1], args[2])
    local rate, burst = tonumber(args[9]), tonumber(args[10])
    local us, every = now_us(), 1000000 / math.max(rate, 1)
    -- The virtual-scheduling form of GCRA (ITU-T I.371): when the next message is expected.
    local due = math.max(meta.r, us)
    local early = due - us - (burst - 1) * every
    if rate < 1 or early > 0 then
        return { 'rate', whole(math.max(1, math.ceil(early / 1000))) }
    end
    local messages, bytes, weight = tonumber(args[5]), tonumber(args[6]), tonumber(args[8])
    -- One that is larger than all that is kept is not kept.
    local kept = messages > 0 and weight + OVERHEAD <= bytes and tonumber(args[7]) > 0
    meta.k = tonumber(args[7])
    local offset = meta.o + 1
    if kept then
        trim(keys, meta, now, messages, bytes, weight + OVERHEAD)
        redis.call('XADD', keys[2], whole(meta.t) .. '-' .. whole(offset), 't', args[3], 'w', args[8], 'd', args[11])
        redis.call('PEXPIRE', keys[2], whole(meta.k + DAY_MS))
        meta.b = meta.b + weight + OVERHEAD
    elseif meta.b > 0 then
        drop_all(keys, meta)
    end
    meta.o, meta.r = offset, due + every
    store(keys, meta)
    local position = meta.e .. ' ' .. whole(meta.t) .. ' ' .. meta.n .. ' ' .. whole(offset)
    redis.call('SPUBLISH', args[4], position .. ' ' .. args[11])
    if keys[4] then
        local till = whole(now + tonumber(args[13]))
        redis.call('SET', keys[4], args[12] .. ' ' .. till .. ' ' .. position, 'PX', args[13])
    end
    return { 'appended', meta.e, whole(meta.t), meta.n, whole(offset) }
end

-- args: nonce, epoch, now ms, where to start, its number, at most so many messages, and bytes.
-- Answers epoch, term, nonce, top, first, and for each message its offset and payload.
local function read(keys, args)
    local now, start, number = tonumber(args[3]), args[4], tonumber(args[5])
    local count, bytes = tonumber(args[6]), tonumber(args[7])
    local meta = open(keys, args[1], args[2])
    local first = trim(keys, meta, now, math.huge, math.huge, 0)
    if meta.changed then store(keys, meta) else keep(keys, meta) end
    local answer = { meta.e, whole(meta.t), meta.n, whole(meta.o), whole(first) }
    local at, last, step
    if start == 'top' or first > meta.o or count < 1 then
        return answer
    elseif start == 'before' then
        at, last, step = math.min(number, meta.o + 1) - 1, first, -1
    elseif start == 'last' then
        at, last, step = math.max(first, meta.o - number + 1), meta.o, 1
    elseif start == 'since' then
        -- The oldest that is not older: times grow with offsets, as clocks of nodes do.
        local low, high = first, meta.o + 1
        while low < high do
            local middle = math.floor((low + high) / 2)
            local entry = redis.call('XRANGE', keys[2], name(meta, middle), '+', 'COUNT', 1)[1]
            if not entry or tonumber(entry[2][2]) >= number then
                high = middle
            else
                low = math.max(offset_of(entry), middle) + 1
            end
        end
        -- Tombs were passed over.
        while low <= meta.o do
            local tomb, time = tomb_at(keys, low)
            if not tomb or time >= number then break end
            low = low + 1
        end
        at, last, step = low, meta.o, 1
    else
        at, last, step = math.max(first, number + 1), meta.o, 1
    end
    local given, weight = 0, 0
    local function give(offset, payload, size)
        weight = weight + size
        if given >= count or (given > 0 and weight > bytes) then return false end
        given = given + 1
        answer[#answer + 1] = whole(offset)
        answer[#answer + 1] = payload
        return true
    end
    -- What was deleted before this offset.
    local function give_tombs(offset)
        while at ~= offset do
            local tomb = tomb_at(keys, at)
            if not tomb or not give(at, tomb, 0) then return false end
            at = at + step
        end
        return true
    end
    -- In parts, so that few large messages are not all read for nothing.
    while given < count and (last - at) * step >= 0 do
        local part = math.min(count - given, 64)
        local entries
        if step > 0 then
            entries = redis.call('XRANGE', keys[2], name(meta, at), '+', 'COUNT', part)
        else
            entries = redis.call('XREVRANGE', keys[2], name(meta, at), '-', 'COUNT', part)
        end
        local moved = false
        for _, entry in ipairs(entries) do
            local offset = offset_of(entry)
            if not give_tombs(offset) or not give(offset, entry[2][6], tonumber(entry[2][4])) then return answer end
            at, moved = at + step, true
        end
        if not moved and not give_tombs(last + step) then return answer end
    end
    return answer
end

-- args: nonce, epoch, epoch, term and nonce that the position is of, its offset, the tomb. Or no more than the first two: all.
local function del(keys, args)
    local meta = open(keys, args[1], args[2])
    local count = 0
    if not args[3] then
        count = redis.call('XLEN', keys[2]) + meta.x
        drop_all(keys, meta)
    elseif args[3] == meta.e and args[4] == whole(meta.t) and args[5] == meta.n then
        local offset = tonumber(args[6])
        local entry = redis.call('XRANGE', keys[2], name(meta, offset), '+', 'COUNT', 1)[1]
        if entry and offset_of(entry) == offset then
            drop(keys, meta, entry)
            redis.call('ZADD', keys[3], offset, whole(offset) .. ' ' .. entry[2][2] .. ' ' .. args[7])
            meta.b, meta.x = meta.b + OVERHEAD, meta.x + 1
            redis.call('PEXPIRE', keys[3], whole(meta.k + DAY_MS))
            count = 1
        end
    end
    if meta.changed then store(keys, meta) end
    return count
end

redis.register_function('ff_pub_VERSION', pub)
redis.register_function('ff_read_VERSION', read)
redis.register_function('ff_del_VERSION', del)
