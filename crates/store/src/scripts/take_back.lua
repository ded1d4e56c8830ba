-- What a runner held and will not finish.

-- Puts a job back to the head of its queue: it has waited before those that came after it.
local function put_back(id, script_type, circle, priority)
  call('LPUSH', queue_of(script_type, circle, priority), id)
end

local function requeue(id, key, script_type, circle, priority)
  call('HSET', key, 'status', 'dispatched', 'queued_at', NOW_TEXT)
  put_back(id, script_type, circle, priority)
  note('queued', id)
end

-- Takes a job back from a runner that is lost, or has lost it; answers how: 'requeued', 'ended', or nil for
-- one that is gone or had ended. `circle` is whose queue it was taken from, for a job that does not say so itself.
local function take_back(runner, id, circle)
  local key = JOB .. id
  local job = redis.pcall('HMGET', key, 'status', 'script_type', 'circle', 'priority', 'marks', 'losses',
    'max_deliveries', 'started_at', 'timeout')
  if not job[2] then return nil end
  local status = string.lower(job[1] or 'dispatched')
  if status == 'dispatched' then
    -- Taken by the wait for work and never claimed: nothing has begun.
    put_back(id, job[2], job[3] or circle, job[4])
    return 'requeued'
  end
  if status ~= 'started' then return nil end
  if has(job[5], 'x') then
    fail(id, 'stopped', 'stopped while it ran; runner ' .. runner .. ' was lost before it could say more')
    return 'ended'
  end
  local timeout = number(job[9], DEFAULT_TIMEOUT)
  if job[8] and job[8] < time_text(NOW - timeout * 1000) then
    fail(id, 'timeout', 'its runner ' .. runner .. ' was lost, and its ' .. timeout
      .. ' s of run time are over; ask for a longer timeout if it needs more')
    return 'ended'
  end
  local losses, most = number(job[6], 0) + 1, number(job[7], DEFAULT_DELIVERIES)
  if losses >= most then
    fail(id, 'runner_lost', 'runner ' .. runner .. ' was lost with it, delivery ' .. losses .. ' of ' .. most
      .. '; see whether the script takes its runner down, or ask for more deliveries')
    return 'ended'
  end
  call('HSET', key, 'losses', losses)
  requeue(id, key, job[2], job[3], job[4])
  return 'requeued'
end

-- The lists of what a runner has taken from its circles' queues and not claimed yet, each with its circle.
local function hands(runner, circles)
  local lists = {}
  for circle in string.gmatch(circles or '', '%S+') do
    lists[#lists + 1] = {INFLIGHT .. runner .. GROUP .. circle, circle}
  end
  return lists
end

-- Takes back up to `limit` of the jobs in a list, the last ones first, so that the first is at the head again.
-- Answers how many were requeued, how many ended, and how many there were.
local function take_list_back(runner, list, limit, circle)
  local held = call('RPOP', list, limit) or {}
  local requeued, ended = 0, 0
  for _, id in ipairs(held) do
    local how = take_back(runner, id, circle)
    if how == 'requeued' then requeued = requeued + 1 elseif how == 'ended' then ended = ended + 1 end
  end
  return requeued, ended, #held
end

-- The same for all that a runner holds. The last answer says whether there is more.
local function take_all_back(runner, limit)
  local requeued, ended, held = take_list_back(runner, INFLIGHT .. runner, limit)
  for _, hand in ipairs(hands(runner, call('HGET', RUNNER .. runner, 'circles'))) do
    if held >= limit then break end
    local more_requeued, more_ended, more = take_list_back(runner, hand[1], limit - held, hand[2])
    requeued, ended, held = requeued + more_requeued, ended + more_ended, held + more
  end
  return requeued, ended, held >= limit
end

local function forget_runner(runner)
  call('DEL', RUNNER .. runner, RUNNER .. runner .. STOPS, CONTROL .. runner)
  call('ZREM', LEASES, runner)
  call('SREM', RUNNERS, runner)
end
