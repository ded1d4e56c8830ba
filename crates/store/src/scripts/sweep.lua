-- One bounded step of upkeep.
-- Answers: promoted, requeued, ended, released, forgotten, more (1 or 0), due time of the next delayed job or ''.
local LIMIT = 100
local promoted, more = 0, false
write_even_when_full()

-- While nothing is swept, for as long as Redis is away, nobody can renew a lease either: when it is back each
-- lease that has run out meanwhile is given once more. BACK_AT is when the latest such time was over.
local swept_at = call('GET', SWEPT_AT)
if swept_at and NOW - swept_at > OUTAGE then call('SET', BACK_AT, NOW) end
if swept_at ~= tostring(NOW) then call('SET', SWEPT_AT, string.format('%d', NOW)) end

-- Delayed jobs whose time has come.
local due = call('ZRANGEBYSCORE', DELAYED, '-inf', NOW, 'LIMIT', 0, LIMIT)
for _, id in ipairs(due) do
  call('ZREM', DELAYED, id)
  local key = JOB .. id
  local job = call('HMGET', key, 'status', 'script_type', 'circle', 'priority')
  if job[1] == 'dispatched' then
    enqueue(id, key, job[2], job[3], job[4])
    promoted = promoted + 1
  end
end
more = #due == LIMIT

-- A runner whose lease is over.
local requeued, ended = 0, 0
local lost = call('ZRANGEBYSCORE', LEASES, '-inf', NOW, 'LIMIT', 0, 1)[1]
if lost then
  local fresh = (tonumber(call('GET', BACK_AT)) or 0) + number(call('HGET', RUNNER .. lost, 'lease_ms'), 0)
  if fresh > NOW then
    call('ZADD', LEASES, string.format('%d', fresh), lost)
  else
    local rest
    requeued, ended, rest = take_all_back(lost, LIMIT)
    if not rest then forget_runner(lost) end
  end
  more = true
end

-- Dependents that an end has left over.
local released = 0
local left = call('LPOP', RELEASE)
if left then
  local id, is_finished = string.match(left, '^(%S+) (%d)$')
  local before = budget
  settle(id, is_finished == '1')
  released = before - budget
  more = true
end

-- Jobs that wait for one whose end was not announced: an outside actor wrote it into the hash. A few a call.
local WAITERS, looks, before = 10, 0, budget
local rank = tonumber(call('GET', WAITING_PLACE) or 0)
local waiting = call('ZRANGE', WAITING, rank, rank + WAITERS - 1)
for _, id in ipairs(waiting) do
  local prerequisites = call('HGET', JOB .. id, 'prerequisites')
  for _, prerequisite in ipairs(looks < LIMIT and prerequisites and cjson.decode(prerequisites) or {}) do
    looks = looks + 1
    local status = string.lower(call('HGET', JOB .. prerequisite, 'status') or 'error')
    if status == 'finished' or status == 'error' then settle(prerequisite, status == 'finished') end
  end
end
released = released + before - budget
if #waiting == WAITERS then
  call('SET', WAITING_PLACE, rank + WAITERS)
elseif rank > 0 then
  call('DEL', WAITING_PLACE)
end

-- Contexts with a limit: what counts there and does not run any more (an outside actor ended it, or it waits for a type
-- that nobody serves now), and room that a higher limit has made. A few a call, when no jobs were taken back just now.
local LIMITED_CONTEXTS = 10
local served
local function is_served(script_type, circle)
  if not served then
    served = {}
    for _, runner in ipairs(call('ZRANGEBYSCORE', LEASES, '(' .. NOW, '+inf', 'LIMIT', 0, LIMIT)) do
      local presence = call('HMGET', RUNNER .. runner, 'script_types', 'circles')
      for one in string.gmatch(presence[1] or '', '%S+') do
        if (presence[2] or '') == '' then served[one .. ' '] = true end
        for of in string.gmatch(presence[2] or '', '%S+') do served[one .. ' ' .. of] = true end
      end
    end
  end
  return served[string.lower(script_type or '') .. ' ' .. (circle or '')]
end

local function look_at_context(context)
  local admitted = ADMITTED .. context
  local old = call('ZRANGEBYSCORE', admitted, '-inf', NOW, 'LIMIT', 0, LET_OUT)
  for _, id in ipairs(old) do
    local key = JOB .. id
    local job = call('HMGET', key, 'status', 'marks', 'script_type', 'circle')
    local status = string.lower(job[1] or 'error')
    if has(job[2], 'c') and (status == 'started' or (status == 'dispatched' and is_served(job[3], job[4]))) then
      call('ZADD', admitted, NOW + LOOK_AFTER, id)
    else
      call('ZREM', admitted, id)
      if has(job[2], 'c') then unmark(key, job[2], 'c') end
    end
  end
  if let_out(context) == LET_OUT or #old == LET_OUT then more = true end
  if call('EXISTS', admitted, PARKED .. context) == 0 then call('ZREM', LIMITED, context) end
end

if not lost then
  local place = tonumber(call('GET', LIMITED_PLACE) or 0)
  local contexts = call('ZRANGE', LIMITED, place, place + LIMITED_CONTEXTS - 1)
  for _, context in ipairs(contexts) do look_at_context(context) end
  if #contexts == LIMITED_CONTEXTS then
    call('SET', LIMITED_PLACE, place + LIMITED_CONTEXTS)
  elseif place > 0 then
    call('DEL', LIMITED_PLACE)
  end
end
flush()

-- Index entries of jobs that are gone (or have come again, with an entry of their own), from the old end on,
-- a piece at a time.
local forgotten = 0
local from = call('GET', SWEEP_PLACE)
local entries = call('XRANGE', INDEX, from and '(' .. from or '-', '+', 'COUNT', LIMIT)
for _, entry in ipairs(entries) do
  local id, context = entry[2][2], entry[2][4]
  local current = redis.pcall('HGET', JOB .. id, 'entry')
  if current ~= entry[1] then
    call('XDEL', INDEX, entry[1])
    call('XDEL', CONTEXT .. context, entry[1])
    if not current then
      call('ZREM', ERRORS, id)
      call('ZREM', WAITING, id)
    end
    forgotten = forgotten + 1
  end
end
if #entries == LIMIT then
  call('SET', SWEEP_PLACE, entries[LIMIT][1])
  if forgotten == LIMIT then more = true end
elseif from then
  call('DEL', SWEEP_PLACE)
end
announce()
local next_due = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2] or ''
return {promoted, requeued, ended, released, forgotten, more and 1 or 0, next_due}
