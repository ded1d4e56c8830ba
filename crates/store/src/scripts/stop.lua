-- Stops a job, whatever its state. ARGV: id, confine ('' for none).
-- Answers 0 (ended now), 1 (it had ended before), or the runner that was told to kill it.
local id, key = ARGV[1], JOB .. ARGV[1]
local job = call('HMGET', key, 'script_type', 'context_id', 'status', 'runner_id', 'circle', 'priority', 'marks')
if not job[1] or (ARGV[2] ~= '' and ARGV[2] ~= (job[2] or DEFAULT_CONTEXT)) then
  return redis.error_reply('HERO_JOB_NOT_FOUND ' .. id)
end
local status = string.lower(job[3] or 'dispatched')
if status == 'finished' or status == 'error' then return 1 end
write_even_when_full()
if status == 'started' and job[4] then
  mark(key, 'x')
  tell_to_stop(job[4], id)
  return job[4]
end
if status == 'dispatched' then unqueue(id, job[1], job[5], job[6], job[7], job[2]) end
fail(id, 'stopped', 'stopped before it ran')
flush()
announce()
return 0
