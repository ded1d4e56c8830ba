-- Taking a job away from where it waits, or from a runner.

-- A longer list is left alone: what is not waiting any more is dropped when its turn comes.
local function unqueue(id, script_type, circle, priority, marks, context)
  if has(marks, 'k') then return unpark(id, JOB .. id, context or DEFAULT_CONTEXT, marks) end
  if has(marks, 't') then call('ZREM', DELAYED, id) end
  local queue = queue_of(script_type, circle, priority)
  if call('LLEN', queue) <= 1000 then call('LREM', queue, 0, id) end
end

-- Tells a runner to kill a job: at once by a message, and again with every renewal until it has.
local function tell_to_stop(runner, id)
  call('SADD', RUNNER .. runner .. STOPS, id)
  call('RPUSH', CONTROL .. runner, 'stop ' .. id)
  call('LTRIM', CONTROL .. runner, -1000, -1)
end
