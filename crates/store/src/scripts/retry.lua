-- Starts a job that ended in error again. ARGV: id, confine ('' for none). Answers its status.
local id, key = ARGV[1], JOB .. ARGV[1]
local job = call('HMGET', key, 'script_type', 'circle', 'priority', 'due', 'prerequisites',
  'status', 'context_id', 'marks', 'retries', 'failures', 'runner_id', 'idempotency_key')
local context = job[7] or DEFAULT_CONTEXT
if not job[1] or (ARGV[2] ~= '' and ARGV[2] ~= context) then
  return redis.error_reply('HERO_JOB_NOT_FOUND ' .. id)
end
if string.lower(job[6] or '') ~= 'error' then return redis.error_reply('HERO_JOB_NOT_FAILED ' .. id) end

-- Jobs that waited for it and have not been failed yet would be failed later, with those that wait from now on.
local dependents = key .. DEPENDENTS
if has(job[8], 'd') and call('EXISTS', dependents) == 1 then
  call('LREM', RELEASE, 0, id .. ' 0')
  settle(id, false)
  if call('EXISTS', dependents) == 1 then
    flush()
    announce()
    return redis.error_reply('HERO_JOB_NOT_FAILED ' .. id)
  end
end

call('HSET', key, 'status', 'dispatched', 'updated_at', NOW_TEXT)
call('HDEL', key, 'error_kind', 'error', 'output', 'queued_at', 'started_at', 'finished_at', 'failures', 'losses')
if job[10] then call('HSET', key, 'retries', number(job[9], 0) + number(job[10], 0)) end
if has(job[8], 'x') then call('HSET', key, 'marks', (string.gsub(job[8], 'x', ''))) end
if job[11] then call('SREM', RUNNER .. job[11] .. STOPS, id) end
call('ZREM', ERRORS, id)
if has(job[8], 'b') then
  call('ZREM', KEPT .. context, id)
  weigh(id, key, context)
end
call('DEL', REPLY .. id)
call('PERSIST', key)
call('PERSIST', key .. LOGS)
if has(job[8], 'i') then call('PERSIST', IDEM .. context .. ':' .. job[12]) end
local status = begin(id, key, job)
flush()
announce()
return status
