-- Removes a schedule. ARGV: id, confine ('' for none).
local id, key = ARGV[1], SCHEDULE .. ARGV[1]
local context = call('HGET', key, 'context')
if not context or (ARGV[2] ~= '' and ARGV[2] ~= context) then
  return redis.error_reply('HERO_SCHEDULE_NOT_FOUND ' .. id)
end
call('DEL', key)
call('ZREM', SCHEDULES, id)
call('SREM', SCHEDULES_CONTEXT .. context, id)
return 1
