-- Everything that was stored before is void, and everybody hears of it.
-- KEYS: epoch. ARGV: its new value, channel, message.
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('PUBLISH', ARGV[2], ARGV[3])
