-- A write is about to be forwarded: what it touches turns dirty and gets a new version.
-- KEYS: n versions, n sets of dirty marks. ARGV: token, version, seconds a mark lives, channel, message.
local n = #KEYS / 2
local now = tonumber(redis.call('TIME')[1])
for i = 1, n do
    redis.call('ZREMRANGEBYSCORE', KEYS[n + i], '-inf', now)
    redis.call('ZADD', KEYS[n + i], now + ARGV[3], ARGV[1])
    redis.call('EXPIRE', KEYS[n + i], ARGV[3])
    redis.call('SET', KEYS[i], ARGV[2])
end
return redis.call('PUBLISH', ARGV[4], ARGV[5])
