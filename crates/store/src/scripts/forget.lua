-- Removing jobs.

-- The bytes of a job count no more.
local function uncount(id, context)
  local bytes = call('HGET', BYTES_OF .. context, id)
  if not bytes then return end
  call('HDEL', BYTES_OF .. context, id)
  call('ZREM', KEPT .. context, id)
  if call('HINCRBY', BYTES, context, -bytes) <= 0 then call('HDEL', BYTES, context) end
end

local function forget(id, context, marks, entry, idempotency_key)
  local key = JOB .. id
  if entry then
    call('XDEL', INDEX, entry)
    call('XDEL', CONTEXT .. context, entry)
  end
  if has(marks, 'i') then call('DEL', IDEM .. context .. ':' .. idempotency_key) end
  if has(marks, 'b') then uncount(id, context) end
  call('DEL', key, key .. LOGS, REPLY .. id)
  note('deleted', id)
end

-- Ended jobs that one call lets go of.
local MOST_EVICTED = 100
local evictions

-- Lets go of the jobs of a context that ended first, until it has room for so many more bytes. Answers whether it
-- has, or will have: what is beyond the bound of one call is let go of by the next.
local function make_room(context, most, more)
  local function used() return tonumber(call('HGET', BYTES, context) or 0) end
  if used() + more <= most then return true end
  if more > most then return false end
  for _, id in ipairs(call('ZRANGE', KEPT .. context, 0, evictions)) do
    if evictions == 0 or used() + more <= most then return true end
    evictions = evictions - 1
    local job = call('HMGET', JOB .. id, 'script_type', 'status', 'marks', 'entry', 'idempotency_key')
    if not job[1] then
      uncount(id, context)
    elseif not (has(job[3], 'd') and call('EXISTS', JOB .. id .. DEPENDENTS) == 1) then
      if job[2] == 'error' then call('ZREM', ERRORS, id) end
      forget(id, context, job[3], job[4], job[5])
    end
  end
  return used() + more <= most
end
