-- Starts a created job. ARGV: id, confine ('' for none). Answers its status.
local id, key = ARGV[1], JOB .. ARGV[1]
local job = call('HMGET', key, 'script_type', 'circle', 'priority', 'due', 'prerequisites',
  'status', 'queued_at', 'marks', 'context_id')
if not job[1] or (ARGV[2] ~= '' and ARGV[2] ~= (job[9] or DEFAULT_CONTEXT)) then
  return redis.error_reply('HERO_JOB_NOT_FOUND ' .. id)
end
if string.lower(job[6] or 'dispatched') ~= 'dispatched' or job[7] or has(job[8], 't') then
  return redis.error_reply('HERO_ALREADY_STARTED ' .. id)
end
local status = begin(id, key, job)
flush()
announce()
return status
