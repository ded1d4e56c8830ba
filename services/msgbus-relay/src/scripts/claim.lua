-- Claims what is due to be sent. ARGV: OUTBOX or ANSWERS_DUE, now, the end of the lease, how many at most.
-- Answers their ids.
local ids = call('ZRANGEBYSCORE', ARGV[1], '-inf', ARGV[2], 'LIMIT', 0, ARGV[4])
for _, id in ipairs(ids) do call('ZADD', ARGV[1], ARGV[3], id) end
return ids
