-- A write is over: what it touched gets a new version, loses this write's mark, and everybody hears of it.
-- KEYS: n versions, n sets of dirty marks. ARGV: token, version, channel, message.
local n = #KEYS / 2
for i = 1, n do
    redis.call('SET', KEYS[i], ARGV[2])
    redis.call('ZREM', KEYS[n + i], ARGV[1])
end
return redis.call('PUBLISH', ARGV[3], ARGV[4])
