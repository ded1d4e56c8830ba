-- The moves that every change of a job is made of. A script calls `flush` once its moves are made.
--
-- Marks are letters in the field `marks` that spare the hot path a look at a second key:
--   d jobs wait for this one    l it has a log    i it has an idempotency key
--   x a stop was asked for      t it was started and has been delayed
--   r it has a retention of its own           f its log is full
--   e it has a timeout, variables or a trace  o it was made outside, by somebody who may wait for a reply
--   b its bytes are counted, for its context has a budget
--   w its log is followed
--   c it counts against the limit of its context    k it is parked because of that limit

-- Dependents that one call settles; what is beyond goes to the worklist of the sweep.
local MOST_SETTLED = 100
local budget
local pushes

-- An outside producer may have written anything into a field.
local function number(text, default)
  return text and tonumber(text) or default
end

local function queue_of(script_type, circle, priority)
  local queue = QUEUE .. string.lower(script_type or '')
  if circle then queue = queue .. GROUP .. circle end
  if priority and priority ~= 'normal' then queue = queue .. ':' .. string.lower(priority) end
  return queue
end

local function has(marks, letter)
  return marks and string.find(marks, letter, 1, true) ~= nil
end

local function mark(key, letter)
  local marks = call('HGET', key, 'marks') or ''
  if not has(marks, letter) then call('HSET', key, 'marks', marks .. letter) end
end

-- Makes a job known of which an outside producer wrote only the hash and the queue; answers its marks and its
-- index entry. Nothing that is no UUID becomes a job.
local function adopt(id, key, context, marks, circle)
  local hex = '[0-9a-f]'
  local uuid = string.rep(hex, 8) .. string.rep('%-' .. string.rep(hex, 4), 4) .. string.rep(hex, 8)
  if not string.match(id, '^' .. uuid .. '$') then return nil end
  context = context or DEFAULT_CONTEXT
  local entry = call('XADD', INDEX, '*', 'id', id, 'c', context)
  call('XADD', CONTEXT .. context, entry, 'id', id)
  marks = (marks or '') .. 'eor'
  call('HSET', key, 'id', id, 'entry', entry, 'marks', marks)
  call('HSETNX', key, 'created_at', NOW_TEXT)
  call('HSETNX', key, 'queued_at', NOW_TEXT)
  if circle and circle ~= '' then call('HSETNX', key, 'circle', circle) end
  return marks, entry
end

-- A job's place in the order of creation, as a score: milliseconds and sequence of its index entry.
local function score_of(entry)
  local ms, seq = string.match(entry or '', '^(%d+)-(%d+)$')
  if not ms then return NOW * 1000 end
  return ms * 1000 + math.min(tonumber(seq), 999)
end

local function push(queue, id)
  local ids = pushes[queue]
  if ids then ids[#ids + 1] = id else pushes[queue] = {id} end
end

-- Sends the ids that were pushed to their queues, one command a queue.
local function flush()
  for queue, ids in pairs(pushes) do
    for from = 1, #ids, 2000 do
      call('RPUSH', queue, unpack(ids, from, math.min(from + 1999, #ids)))
    end
  end
  pushes = {}
end

-- In admission.lua.
local leave

local function delay(id, key, due)
  call('ZADD', DELAYED, due, id)
  call('HSET', key, 'status', 'dispatched', 'updated_at', NOW_TEXT)
  mark(key, 't')
  note('delayed', id)
end

-- Puts a job where it waits to be claimed: the tail of its queue, or among the delayed ones.
local function enqueue(id, key, script_type, circle, priority, due)
  if due and tonumber(due) > NOW then return delay(id, key, due) end
  call('HSET', key, 'status', 'dispatched', 'queued_at', NOW_TEXT)
  push(queue_of(script_type, circle, priority), id)
  note('queued', id)
end

-- The bytes of a job, as they are now, and those of its context with them.
local function count(id, context, bytes)
  local before = call('HGET', BYTES_OF .. context, id) or 0
  call('HSET', BYTES_OF .. context, id, bytes)
  call('HINCRBY', BYTES, context, bytes - before)
end

local function weigh(id, key, context)
  local bytes = JOB_COSTS + (call('HGET', key, 'log_bytes') or 0)
  for _, field in ipairs({'script', 'env_vars', 'output', 'error', 'result'}) do
    bytes = bytes + call('HSTRLEN', key, field)
  end
  count(id, context, bytes)
end

-- An ended job is kept for its retention, and so are its log and its idempotency key; or until the bytes of its
-- context are wanted for others.
local function keep(id, key, marks)
  if has(marks, 'b') then
    local context = call('HGET', key, 'context_id') or DEFAULT_CONTEXT
    weigh(id, key, context)
    call('ZADD', KEPT .. context, NOW, id)
  end
  local retention = has(marks, 'r') and call('HGET', key, 'retention') or DEFAULT_RETENTION
  if retention == '0' then return end
  call('EXPIRE', key, retention)
  if has(marks, 'l') then call('EXPIRE', key .. LOGS, retention) end
  if has(marks, 'i') then
    local idem = call('HMGET', key, 'context_id', 'idempotency_key')
    call('EXPIRE', IDEM .. (idem[1] or DEFAULT_CONTEXT) .. ':' .. idem[2], retention)
  end
end

local function reply(id, marks, status)
  if not has(marks, 'o') then return end
  call('RPUSH', REPLY .. id, status)
  call('EXPIRE', REPLY .. id, REPLY_KEPT)
end

-- Takes a job that will not be released any more out of the lists of those that wait.
local function unwait(id, prerequisites)
  call('ZREM', WAITING, id)
  if not prerequisites then return end
  for _, prerequisite in ipairs(cjson.decode(prerequisites)) do
    local list = JOB .. prerequisite .. DEPENDENTS
    -- In a longer list it stays as a tombstone: it is found not to wait when its turn comes.
    if call('LLEN', list) <= 1000 then call('LREM', list, 0, id) end
  end
end

local settle

-- Ends a job without success; those that wait for it fail with it.
local function fail(id, kind, text, output)
  local key = JOB .. id
  local job = call('HMGET', key, 'status', 'marks', 'prerequisites', 'entry', 'context_id')
  local marks, entry = job[2], job[4]
  if not entry then marks, entry = adopt(id, key, job[5], marks) end
  if job[1] == 'waiting_for_prerequisites' then
    unwait(id, job[3])
    call('HDEL', key, 'pending')
  end
  call('HSET', key, 'status', 'error', 'error_kind', kind, 'error', text, 'finished_at', NOW_TEXT)
  if output then call('HSET', key, 'output', output) end
  call('ZADD', ERRORS, score_of(entry), id)
  keep(id, key, marks)
  if has(marks, 'c') then leave(id, key, job[5] or DEFAULT_CONTEXT, marks) end
  reply(id, marks, 'error')
  note('failed', id)
  if has(marks, 'd') then settle(id, false) end
end

local function release(id)
  local key = JOB .. id
  local job = call('HMGET', key, 'status', 'script_type', 'circle', 'priority', 'due')
  if job[1] ~= 'waiting_for_prerequisites' then return end
  if call('HINCRBY', key, 'pending', -1) > 0 then return end
  call('HDEL', key, 'pending')
  call('ZREM', WAITING, id)
  enqueue(id, key, job[2], job[3], job[4], job[5])
end

-- Releases the jobs that wait for this one, or fails them, as far as the budget goes.
settle = function(id, is_finished)
  local list = JOB .. id .. DEPENDENTS
  while budget > 0 do
    local dependent = call('LPOP', list)
    if not dependent then return end
    budget = budget - 1
    if is_finished then
      release(dependent)
    elseif call('HGET', JOB .. dependent, 'status') == 'waiting_for_prerequisites' then
      fail(dependent, 'prerequisite_failed', 'prerequisite ' .. id
        .. ' did not finish; look at its error, then create this job again')
    end
  end
  if call('EXISTS', list) == 1 then call('RPUSH', RELEASE, id .. (is_finished and ' 1' or ' 0')) end
end

-- Starts a created job; answers its status.
local function begin(id, key, job)
  -- job: script_type, circle, priority, due, prerequisites
  local pending, seen = {}, {}
  if job[5] then
    for _, prerequisite in ipairs(cjson.decode(job[5])) do
      if not seen[prerequisite] then
        seen[prerequisite] = true
        local status = string.lower(call('HGET', JOB .. prerequisite, 'status') or 'error')
        if status == 'error' then
          fail(id, 'prerequisite_failed', 'prerequisite ' .. prerequisite
            .. ' did not finish, or is gone; look at its error, then create this job again')
          return 'error'
        end
        if status ~= 'finished' then pending[#pending + 1] = prerequisite end
      end
    end
  end
  if #pending == 0 then
    enqueue(id, key, job[1], job[2], job[3], job[4])
    return 'dispatched'
  end
  for _, prerequisite in ipairs(pending) do
    call('RPUSH', JOB .. prerequisite .. DEPENDENTS, id)
    mark(JOB .. prerequisite, 'd')
  end
  call('HSET', key, 'status', 'waiting_for_prerequisites', 'pending', #pending, 'updated_at', NOW_TEXT)
  call('ZADD', WAITING, score_of(call('HGET', key, 'entry')), id)
  note('waiting', id)
  return 'waiting_for_prerequisites'
end
