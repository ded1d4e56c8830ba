-- Stores a schedule. ARGV: id, context, due in ms or '' for none, most in a context, most in all, then field names
-- and values.
local id, key = ARGV[1], SCHEDULE .. ARGV[1]
if call('EXISTS', key) == 1 then return redis.error_reply('HERO_SCHEDULE_EXISTS ' .. id) end
local of_context = SCHEDULES_CONTEXT .. ARGV[2]
if call('SCARD', of_context) >= tonumber(ARGV[4]) then
  return redis.error_reply('HERO_TOO_MANY_SCHEDULES ' .. ARGV[4])
end
if call('ZCARD', SCHEDULES) >= tonumber(ARGV[5]) then
  return redis.error_reply('HERO_TOO_MANY_SCHEDULES ' .. ARGV[5])
end
call('HSET', key, 'context', ARGV[2], 'due', ARGV[3], 'created_at', NOW, unpack(ARGV, 6))
call('SADD', of_context, id)
call('ZADD', SCHEDULES, ARGV[3] == '' and '+inf' or ARGV[3], id)
return 1
