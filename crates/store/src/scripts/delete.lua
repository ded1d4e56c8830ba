-- Removes jobs and their logs. ARGV: confine ('' for none), ids.
-- Answers how many; those that are not there are passed over.
local count = 0
write_even_when_full()
for i = 2, #ARGV do
  local id, key = ARGV[i], JOB .. ARGV[i]
  local job = call('HMGET', key, 'script_type', 'context_id', 'status', 'runner_id', 'circle', 'priority', 'marks',
    'prerequisites', 'entry', 'idempotency_key')
  local context = job[2] or DEFAULT_CONTEXT
  if job[1] and (ARGV[1] == '' or ARGV[1] == context) then
    count = count + 1
    local status = string.lower(job[3] or 'dispatched')
    if status == 'dispatched' then
      unqueue(id, job[1], job[5], job[6], job[7], context)
    elseif status == 'waiting_for_prerequisites' then
      unwait(id, job[8])
    elseif status == 'started' and job[4] then
      call('LREM', INFLIGHT .. job[4], 0, id)
      tell_to_stop(job[4], id)
    elseif status == 'error' then
      call('ZREM', ERRORS, id)
    end
    if has(job[7], 'c') then
      leave(id, key, context, job[7])
      -- What this lets out may be among those that are removed next.
      flush()
    end
    if job[9] then
      call('XDEL', INDEX, job[9])
      call('XDEL', CONTEXT .. context, job[9])
    end
    if has(job[7], 'i') then call('DEL', IDEM .. context .. ':' .. job[10]) end
    call('DEL', key, key .. LOGS, REPLY .. id)
    note('deleted', id)
    if has(job[7], 'd') then settle(id, false) end
  end
end
flush()
announce()
return count
