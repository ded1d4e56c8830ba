-- Pauses a schedule, or lets it go on. ARGV: id, confine ('' for none), '1' to pause, due in ms or '' for none.
local id, key = ARGV[1], SCHEDULE .. ARGV[1]
local stored = call('HMGET', key, 'context', 'paused')
if not stored[1] or (ARGV[2] ~= '' and ARGV[2] ~= stored[1]) then
  return redis.error_reply('HERO_SCHEDULE_NOT_FOUND ' .. id)
end
-- One that goes on already keeps the time that it waits for.
if (stored[2] == '1') == (ARGV[3] == '1') then return 0 end
call('HSET', key, 'paused', ARGV[3], 'due', ARGV[4])
call('ZADD', SCHEDULES, ARGV[4] == '' and '+inf' or ARGV[4], id)
return 1
