#!lua name=fanfare_VERSION
-- The log of a channel, in keys of one slot: what is known of it (meta, a hash), its messages (a stream, whose entries are
-- named <term>-<offset>), the tombs of deleted messages (a sorted set by offset), and one key for each id that may come
-- again. What the channel's app is to be charged for it is said with the answers that change it: nodes settle that with the
-- app's account, which is in a slot of its own (holdings.lua).
--
-- A step that may fail stands before those that cannot: scripts do not roll back.

-- Tells one data set from another: what differs from the nonce in a channel's meta may have been rewound. Forgotten when
-- the library is loaded, at a restart, and at a full resync, and then made of what names the process and the history that
-- it replicates: a restart changes the one, a promotion and a full resync the other. So it is the same for all versions of
-- this library, which may work side by side. Looked at again by every connection before it asks anything, as a master
-- that was a replica in between may have kept the local, and where a channel's differs, as another version may have
-- looked later.
local lineage
local looked_us = 0

local OVERHEAD = 256
local TRIM_MAX = 1000
local DAY_MS = 86400000
-- How long the messages of a channel are kept beyond their age at least, and a channel without any counts as in use.
local MARGIN_MS = 60000
-- Messages too many that a channel may have until they are dropped together: nobody is given them.
local SLACK_MAX = 32
-- From so many bytes on a channel is charged by steps.
local STEPS_FROM = 4096

local function whole(number)
    return string.format('%d', number)
end

local function now_us()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function lineage_now()
    if not lineage then
        local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
        local named = string.match(info, 'run_id:(%x+)') .. string.match(info, 'master_replid:(%x+)')
        lineage, looked_us = whole(tonumber(string.sub(redis.sha1hex(named), 1, 8), 16)), now_us()
    end
    return lineage
end

-- The lineage, looked at anew where this one is another: once in 10 ms, as after a failover all channels differ.
local function lineage_beside(known)
    if known ~= lineage_now() and now_us() - looked_us > 10000 then lineage = nil end
    return lineage_now()
end

local function first_entry(keys)
    return redis.call('XRANGE', keys[2], '-', '+', 'COUNT', 1)[1]
end

local function lighten(meta, entry)
    meta.b, meta.lighter = math.max(0, meta.b - tonumber(entry[2][4]) - OVERHEAD), true
end

local function drop(keys, meta, entry)
    redis.call('XDEL', keys[2], entry[1])
    lighten(meta, entry)
end

-- Drops the entries of terms that are no longer known by name.
local function drop_before(keys, meta, term)
    local entry = first_entry(keys)
    while entry and tonumber(string.match(entry[1], '^(%d+)')) < term do
        drop(keys, meta, entry)
        entry = first_entry(keys)
    end
end

-- What is known of a channel: epoch, term, nonce and top; the bytes it keeps; where earlier terms ended; how long it keeps
-- messages; when the next is expected by its rate; how many tombs there are; until when its app counts it, as was said
-- last; the oldest offset that is there and its time, 0 where that is not known; how many messages are given at most; what
-- its app is charged for it, as was said last. Packed, because fourteen fields of a hash cost more than all the rest.
local function unpacked(packed)
    local e, t, n, o, b, h, k, r, x, u, f, d, m, c = cmsgpack.unpack(packed)
    return { e = e, t = t, n = n, o = o, b = b, h = h, k = k, r = r, x = x, u = u, f = f, d = d, m = m, c = c }
end

local function packed(meta)
    return cmsgpack.pack(
        meta.e, meta.t, meta.n, meta.o, meta.b, meta.h, meta.k, meta.r, meta.x, meta.u, meta.f, meta.d, meta.m, meta.c
    )
end

-- What is known of a channel, under the lineage of this data set. `changed` when it has to be stored.
local function open(keys, epoch)
    local packed, us = redis.call('GET', keys[1]), now_us()
    if not packed then
        local lineage = lineage_now()
        -- What is left of an earlier epoch is nobody's.
        redis.call('DEL', keys[2], keys[3])
        local term = math.floor(us / 1000)
        return {
            e = epoch, t = term, n = lineage, o = 0, b = 0, h = '', k = 0, r = 0, x = 0, u = 0, f = 1, d = 0, m = 0,
            c = 0, before = 0, us = us, changed = true,
        }
    end
    local meta = unpacked(packed)
    -- Whoever counts no longer charges nothing.
    if meta.u <= us / 1000 then meta.c = 0 end
    meta.before, meta.us = meta.c, us
    local lineage = lineage_beside(meta.n)
    if meta.n ~= lineage then
        -- Where earlier terms ended, the last sixteen of them.
        local ends = meta.h .. whole(meta.t) .. ':' .. meta.n .. ':' .. whole(meta.o) .. ';'
        local _, count = string.gsub(ends, ';', ';')
        if count > 16 then
            ends = string.gsub(ends, '^[^;]*;', '', 1)
            drop_before(keys, meta, tonumber(string.match(ends, '^(%d+)')))
            meta.d = 0
        end
        meta.h = ends
        meta.t = math.max(meta.t + 1, math.floor(us / 1000))
        meta.n = lineage
        meta.changed = true
    end
    return meta
end

-- What knows the lineage lives longest. Of a channel that nothing was published to there is little to know.
local function lives_ms(meta)
    return meta.o > 0 and meta.k + 2 * DAY_MS or DAY_MS / 8
end

-- An app is charged for a channel that keeps much by steps of a sixteenth, so that not every message is charged: a
-- little too much, and never too little.
local function charge(meta)
    local now = meta.b
    if now <= meta.c and now >= STEPS_FROM and now > meta.c - meta.c / 8 then
        now = meta.c
    elseif now >= STEPS_FROM and (not meta.left or meta.left >= now + now / 16 - meta.c) then
        now = now + math.floor(now / 16)
    end
    if now ~= meta.c then meta.c, meta.changed = now, true end
end

-- What its app's account is to be told of a channel, where that has changed or is said anew: what it was charged, what it
-- is charged now, whether it is one more, until when, and the time, which tells the later from the earlier.
local function report(meta)
    if meta.c == meta.before and not meta.renewed then return '' end
    if meta.u <= meta.us / 1000 then return '' end
    local is_new = meta.is_new and ' 1 ' or ' 0 '
    return whole(meta.before) .. ' ' .. whole(meta.c) .. is_new .. whole(meta.u) .. ' ' .. whole(meta.us)
end

local function store(keys, meta)
    charge(meta)
    if meta.changed then
        redis.call('SET', keys[1], packed(meta), 'PX', lives_ms(meta))
    else
        redis.call('SET', keys[1], packed(meta), 'KEEPTTL')
    end
end

-- The name that the entry of this offset has.
local function name(meta, offset)
    for term, last in string.gmatch(meta.h, '(%d+):%d+:(%d+);') do
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

-- The oldest that is given: what is older waits to be dropped.
local function first_given(meta)
    if meta.b == 0 then return meta.o + 1 end
    if meta.m > 0 then return math.max(meta.f, meta.o - meta.m + 1) end
    return meta.f
end

-- Drops what is too old, and what must go so that `incoming` more bytes fit.
local function trim(keys, meta, now, messages, bytes, incoming)
    local length = redis.call('XLEN', keys[2]) + meta.x
    if length == 0 then
        -- What Redis let go of by itself weighs nothing.
        if meta.b > 0 then meta.b, meta.lighter = 0, true end
        return
    end
    local extra = (incoming > 0) and 1 or 0
    -- As many as must go because of their number, and the one that stays.
    local part = math.max(2, math.min(64, length + extra - messages + 1))
    local entries, at, gone = redis.call('XRANGE', keys[2], '-', '+', 'COUNT', part), 1, {}
    local function go()
        if #gone > 0 then redis.call('XDEL', keys[2], unpack(gone)) end
        gone = {}
    end
    for _ = 1, TRIM_MAX do
        if at > #entries and at > 1 then
            go()
            entries, at = redis.call('XRANGE', keys[2], '-', '+', 'COUNT', 32), 1
        end
        local entry = entries[at]
        local offset, time = entry and offset_of(entry), entry and tonumber(entry[2][2])
        local tomb
        if meta.x > 0 then
            local other, when, it = first_tomb(keys)
            if not other then
                length, meta.x, meta.changed = length - meta.x, 0, true
            elseif not offset or other < offset then
                offset, time, tomb = other, when, it
            end
        end
        local oldest, since = offset or meta.o + 1, time or 0
        if oldest ~= meta.f or since ~= meta.d then meta.f, meta.d, meta.changed = oldest, since, true end
        if not offset
            or (time + meta.k > now and length + extra <= messages and meta.b + incoming <= bytes)
        then
            return go()
        end
        if tomb then
            redis.call('ZREM', keys[3], tomb)
            meta.b, meta.x, meta.changed = math.max(0, meta.b - OVERHEAD), meta.x - 1, true
        else
            gone[#gone + 1], at = entry[1], at + 1
            lighten(meta, entry)
        end
        length = length - 1
    end
    go()
    -- The rest goes with the next; where it begins is looked at then.
    meta.f, meta.d, meta.changed = meta.f + 1, 0, true
end

-- Whether the app may have this channel in use; twice a minute at most it is said until when, or where messages are kept
-- for another time than before.
local function is_used(meta, now, ttl, left)
    local till = now + ttl + 2 * MARGIN_MS
    if meta.k == ttl and meta.u > till - MARGIN_MS / 2 then return true end
    meta.is_new = meta.u <= now
    if meta.is_new and left < 1 then return false end
    meta.k, meta.u, meta.renewed, meta.changed = ttl, till, true, true
    return true
end

-- Whether the app may keep so many bytes more, of which so many are left.
local function has_room(meta, incoming, left)
    if meta.b + incoming <= meta.c then return true end
    meta.left = left
    return meta.b + incoming - meta.c <= left
end

-- keys: meta, stream, tombs, the id's where it may come again.
-- args: epoch, now ms, channel to tell, messages, bytes and ms of history, weight, rate, burst, payload,
--       bytes and channels that its app has left, content and ms of the id.
local function pub(keys, args)
    local now = tonumber(args[2])
    if keys[4] then
        local known = redis.call('GET', keys[4])
        if known then
            local content, till, position = string.match(known, '^(%S+) (%d+) (.+)$')
            if tonumber(till) > now then
                if content ~= args[13] then return { 'reused' } end
                local e, t, n, o = string.match(position, '^(%d+) (%d+) (%d+) (%d+)$')
                return { 'duplicate', e, t, n, o, lineage_now() }
            end
        end
    end
    local meta = open(keys, args[1])
    local rate, burst = tonumber(args[8]), tonumber(args[9])
    local us, every = meta.us, 1000000 / math.max(rate, 1)
    -- The virtual-scheduling form of GCRA (ITU-T I.371): when the next message is expected.
    local due = math.max(meta.r, us)
    local early = due - us - (burst - 1) * every
    if rate < 1 or early > 0 then
        return { 'rate', whole(math.max(1, math.ceil(early / 1000))) }
    end
    local messages, bytes, weight = tonumber(args[4]), tonumber(args[5]), tonumber(args[7])
    -- One that is larger than all that is kept is not kept.
    local ttl = tonumber(args[6])
    local kept = messages > 0 and weight + OVERHEAD <= bytes and ttl > 0
    if not is_used(meta, math.floor(us / 1000), ttl, tonumber(args[12])) then return { 'channels' } end
    local term, offset = whole(meta.t), whole(meta.o + 1)
    if kept then
        if meta.m ~= messages then
            -- Who is given more than before is not given what waits to be dropped.
            if meta.b > 0 and first_given(meta) > meta.f then trim(keys, meta, now, meta.m, math.huge, 0) end
            meta.m, meta.changed = messages, true
        end
        local slack = math.min(SLACK_MAX, math.floor(messages / 16))
        local is_young = meta.d > 0 and meta.d + meta.k > now
        local fits = meta.o + 1 - meta.f + 1 <= messages + slack and meta.b + weight + OVERHEAD <= bytes
        if meta.b > 0 and not (is_young and fits) then
            trim(keys, meta, now, messages, bytes, weight + OVERHEAD)
        end
        local left = tonumber(args[11])
        if not has_room(meta, weight + OVERHEAD, left) then
            -- What waited to be dropped may be in the way.
            trim(keys, meta, now, messages, bytes, weight + OVERHEAD)
            if not has_room(meta, weight + OVERHEAD, left) then
                store(keys, meta)
                return { 'bytes', report(meta) }
            end
        end
        if meta.b == 0 then meta.f, meta.d, meta.changed = meta.o + 1, now, true end
        redis.call('XADD', keys[2], term .. '-' .. offset, 't', args[2], 'w', args[7], 'd', args[10])
        if meta.renewed or meta.b == 0 then redis.call('PEXPIRE', keys[2], meta.k + 2 * MARGIN_MS) end
        meta.b = meta.b + weight + OVERHEAD
    elseif meta.b > 0 then
        drop_all(keys, meta)
    end
    meta.o, meta.r = meta.o + 1, math.floor(due + every)
    store(keys, meta)
    local position = meta.e .. ' ' .. term .. ' ' .. meta.n .. ' ' .. offset
    redis.call('SPUBLISH', args[3], position .. ' ' .. args[10])
    if keys[4] then
        local till = whole(now + tonumber(args[14]))
        redis.call('SET', keys[4], args[13] .. ' ' .. till .. ' ' .. position, 'PX', args[14])
    end
    return { 'appended', meta.e, term, meta.n, offset, report(meta) }
end

-- args: epoch, now ms, where to start, its number, at most so many messages, and bytes.
-- Answers epoch, term, nonce, top, first, the terms before with their nonces and ends, what its app's account is to be told,
-- and for each message its offset and payload.
local function read(keys, args)
    local now, start, number = tonumber(args[2]), args[3], tonumber(args[4])
    local count, bytes = tonumber(args[5]), tonumber(args[6])
    local meta = open(keys, args[1])
    if meta.b > 0 and not (meta.d > 0 and meta.d + meta.k > now) then
        trim(keys, meta, now, math.huge, math.huge, 0)
    end
    local first = first_given(meta)
    if meta.changed or meta.lighter then
        store(keys, meta)
    else
        redis.call('PEXPIRE', keys[1], lives_ms(meta))
    end
    local answer = { meta.e, whole(meta.t), meta.n, whole(meta.o), whole(first), meta.h, report(meta) }
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
            if (last - offset) * step < 0 then
                -- From here on they wait to be dropped.
                give_tombs(last + step)
                return answer
            end
            if not give_tombs(offset) or not give(offset, entry[2][6], tonumber(entry[2][4])) then return answer end
            at, moved = at + step, true
        end
        if not moved and not give_tombs(last + step) then return answer end
    end
    return answer
end

-- args: epoch, then epoch, term and nonce that the position is of, its offset, the tomb. Or no more than the first: all.
-- Answers how many are gone, and what its app's account is to be told.
local function del(keys, args)
    local meta = open(keys, args[1])
    local count = 0
    if not args[2] then
        if redis.call('XLEN', keys[2]) + meta.x > 0 then count = meta.o - first_given(meta) + 1 end
        drop_all(keys, meta)
    elseif args[2] == meta.e and args[3] == whole(meta.t) and args[4] == meta.n then
        local offset = tonumber(args[5])
        local entry = redis.call('XRANGE', keys[2], name(meta, offset), '+', 'COUNT', 1)[1]
        if entry and offset_of(entry) == offset and offset >= first_given(meta) then
            drop(keys, meta, entry)
            redis.call('ZADD', keys[3], offset, whole(offset) .. ' ' .. entry[2][2] .. ' ' .. args[6])
            meta.b, meta.x = meta.b + OVERHEAD, meta.x + 1
            redis.call('PEXPIRE', keys[3], meta.k + DAY_MS)
            meta.changed = true
            count = 1
        end
    end
    if meta.changed or meta.lighter then store(keys, meta) end
    return { count, report(meta) }
end

-- A connection begins. keys: what says whose Redis this is. args: the platform that asks. Answers whose it is: that of the
-- first who asked. A replica refuses it, as it may write.
local function begin(keys, args)
    lineage = nil
    local owner = redis.call('GET', keys[1])
    if not owner then
        redis.call('SET', keys[1], args[1])
        owner = args[1]
    end
    return owner
end

-- Something is written, behind all that was appended before: what replicas have of it, they have of that. keys: one of its
-- own. args: whether to count replicas. Answers the lineage and, if asked, how many replicas there are.
local function mark(keys, args)
    redis.call('SET', keys[1], '1')
    local replicas = 0
    if args[1] == '1' then
        replicas = tonumber(string.match(redis.call('INFO', 'replication'), 'connected_slaves:(%d+)') or 0)
    end
    return { lineage_now(), replicas }
end

-- What reads, frees and repairs goes on where memory is full.
local function register(name, callback, flag)
    redis.register_function({ function_name = name .. '_VERSION', callback = callback, flags = { flag } })
end

register('ff_begin', begin, 'allow-oom')
register('ff_pub', pub)
register('ff_mark', mark, 'allow-oom')
register('ff_read', read, 'allow-oom')
register('ff_del', del, 'allow-oom')
