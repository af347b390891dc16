-- An entry and what it is judged by, as one moment saw them.
-- KEYS: entry, epoch, n versions, n sets of dirty marks. ARGV: a value that was never used, for what is missing.
-- Answers {entry or nil, milliseconds it has left, 1 when nothing is dirty, {epoch, versions}}.
local n = (#KEYS - 2) / 2
local now = redis.call('TIME')[1]
local clean = 1
local marks = {}
for i = 2, n + 2 do
    local mark = redis.call('GET', KEYS[i])
    if not mark then
        -- Evicted or never there. A fresh value can match no entry that was stored before.
        mark = ARGV[1]
        redis.call('SET', KEYS[i], mark)
    end
    marks[i - 1] = mark
end
for i = n + 3, 2 * n + 2 do
    if redis.call('ZCOUNT', KEYS[i], '(' .. now, '+inf') > 0 then clean = 0 end
end
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), clean, marks}
