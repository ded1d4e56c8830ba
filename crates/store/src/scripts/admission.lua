-- How many jobs of a context run at once, where that is limited. Goes after jobs.lua.
--
-- ADMITTED of a context has the jobs that count against its limit (mark c), each with the time of the next look at
-- it: those that run, and those that were let out and wait in their queue for a runner. What is beyond the limit is
-- parked outside of the queues, in the order in which its turn had come (mark k).

-- How long a job that counts is believed to, before it is looked at again.
local LOOK_AFTER = 30000
-- Parked jobs that one call lets out, and jobs that one look looks at.
local LET_OUT = 100

-- The most jobs of a context that run at once; nil: as many as there are slots.
local function limit_of(context)
  local limits = call('HMGET', LIMITS, context, '')
  local most = number(limits[1] or limits[2], 0)
  if most > 0 then return most end
end

-- What a runner is told when it signs in and when it renews: whether it has to look at limits, and the general one.
local function limits_in_force()
  if call('EXISTS', LIMITS) == 0 then return '' end
  return call('HGET', LIMITS, '') or '0'
end

local function unmark(key, marks, letter)
  call('HSET', key, 'marks', (string.gsub(marks, letter, '')))
end

-- Lets parked jobs out to the tails of their queues, as far as the limit of their context goes: behind the jobs of
-- others that came meanwhile. Answers how many.
local function let_out(context)
  local parked, admitted = PARKED .. context, ADMITTED .. context
  if call('EXISTS', parked) == 0 then return 0 end
  local most = limit_of(context)
  local room = math.min(LET_OUT, most and most - call('ZCARD', admitted) or LET_OUT)
  local count = 0
  for _ = 1, LET_OUT do
    local id = count < room and call('LPOP', parked)
    if not id then break end
    local key = JOB .. id
    local job = call('HMGET', key, 'status', 'marks', 'script_type', 'circle', 'priority')
    if string.lower(job[1] or 'dispatched') == 'dispatched' and has(job[2], 'k') then
      local marks = string.gsub(job[2], 'k', '')
      if most then
        marks = marks .. 'c'
        call('ZADD', admitted, NOW + LOOK_AFTER, id)
      end
      call('HSET', key, 'marks', marks)
      push(queue_of(job[3], job[4], job[5]), id)
      count = count + 1
    end
  end
  return count
end

-- A job that counted does not run any more, nor is about to.
leave = function(id, key, context, marks)
  unmark(key, marks, 'c')
  call('ZREM', ADMITTED .. context, id)
  let_out(context)
end

-- Whether a job whose turn has come may run now; one that may not is parked.
local function admit(id, key, context, marks)
  if has(marks, 'c') then return true end
  local most = limit_of(context)
  if not most then return true end
  local admitted = ADMITTED .. context
  local running = call('ZCARD', admitted)
  local may_run = running < most
  call('HSET', key, 'marks', (marks or '') .. (may_run and 'c' or 'k'))
  if may_run then
    call('ZADD', admitted, NOW + LOOK_AFTER, id)
  else
    call('RPUSH', PARKED .. context, id)
  end
  if running == 0 then call('ZADD', LIMITED, 0, context) end
  return may_run
end

-- A parked job is not to run any more. In a longer list it stays as a tombstone: it has no mark when its turn comes.
local function unpark(id, key, context, marks)
  unmark(key, marks, 'k')
  if call('LLEN', PARKED .. context) <= 1000 then call('LREM', PARKED .. context, 0, id) end
end
