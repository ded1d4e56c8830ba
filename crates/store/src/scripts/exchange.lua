-- Reports ended attempts and asks for new jobs.
--
-- ARGV: runner, session, f; then for each of the f reports: id, attempt, how, and
--   how 'F' (finished): output
--   how 'E' (failed):   kind, text, 'o' and the output or '' and '', jitter
--   how 'H' (handed back)
-- then, when jobs are wanted or taken: the lane's circle or '', want, l, l lists in order, t, t taken ids.
-- Answers: drained (1 or 0), r, r refused ids, then 9 values for each claimed job.
local inflight = INFLIGHT .. runner
local refused = {}

-- Whether a failed attempt leads to another one, after a pause.
local function retry(id, key, job, kind, jitter)
  local retries = number(job[5], 0)
  if retries == 0 or (kind ~= 'script_failed' and kind ~= 'timeout') then return false end
  local failures = number(job[6], 0) + 1
  local pause = number(job[7], DEFAULT_BACKOFF) * 2 ^ math.min(failures - 1, 40)
  pause = math.floor(math.min(pause, MAX_BACKOFF) * (1 + tonumber(jitter)))
  call('HSET', key, 'retries', retries - 1, 'failures', failures)
  if has(job[8], 'c') then leave(id, key, job[9] or DEFAULT_CONTEXT, job[8]) end
  delay(id, key, NOW + pause)
  return true
end

local function report_other(id, key, marks, how, at)
  local job = call('HMGET', key, 'script_type', 'circle', 'priority', 'max_deliveries', 'retries',
    'failures', 'retry_backoff_ms', 'marks', 'context_id')
  if how == 'E' then
    local kind, text = ARGV[at], ARGV[at + 1]
    local output = ARGV[at + 2] == 'o' and ARGV[at + 3] or nil
    if has(marks, 'x') then
      fail(id, 'stopped', text, output)
    elseif not retry(id, key, job, kind, ARGV[at + 4]) then
      fail(id, kind, text, output)
    end
  elseif has(marks, 'x') then
    fail(id, 'stopped', 'stopped while it ran')
  elseif number(job[4], DEFAULT_DELIVERIES) <= 1 then
    fail(id, 'runner_lost', 'runner ' .. runner
      .. ' handed it back, and it may be delivered only once; ask for more deliveries if it can run again')
  else
    requeue(id, key, job[1], job[2], job[3])
  end
end

-- Takes ids out of the in-flight list. They mostly stand near its head: a batch is taken out with one look.
local function let_go(ids)
  if #ids >= 4 then
    local window = call('LRANGE', inflight, 0, 2 * #ids + 15)
    local gone, others = {}, {}
    for _, id in ipairs(ids) do gone[id] = true end
    for i = #window, 1, -1 do
      if not gone[window[i]] then others[#others + 1] = window[i] end
    end
    if #window - #others == #ids then
      call('LTRIM', inflight, #window, -1)
      if #others > 0 then call('LPUSH', inflight, unpack(others)) end
      return
    end
  end
  for _, id in ipairs(ids) do call('LREM', inflight, 1, id) end
end

local at = 4
local ended, reports = {}, {}
for _ = 1, tonumber(ARGV[3]) do
  local id, how = ARGV[at], ARGV[at + 2]
  local job = call('HMGET', JOB .. id, 'status', 'attempt', 'runner_id', 'marks')
  if job[2] ~= ARGV[at + 1] or job[3] ~= runner then
    refused[#refused + 1] = id
  elseif job[1] == 'started' and not reports[id] then
    ended[#ended + 1] = id
    reports[id] = {at, job[4]}
  end
  at = at + (how == 'F' and 4 or how == 'E' and 8 or 3)
end
-- The first write is one that Redis allows when its memory is used up: so the others are allowed too.
let_go(ended)
local finished = {}
for _, id in ipairs(ended) do
  local key, from, marks = JOB .. id, unpack(reports[id])
  if ARGV[from + 2] == 'F' then
    call('HSET', key, 'status', 'finished', 'output', ARGV[from + 3], 'finished_at', NOW_TEXT)
    finished[#finished + 1] = id
    if marks then
      keep(id, key, marks)
      reply(id, marks, 'finished')
      if has(marks, 'c') then leave(id, key, call('HGET', key, 'context_id') or DEFAULT_CONTEXT, marks) end
      if has(marks, 'd') then settle(id, true) end
    else
      call('EXPIRE', key, DEFAULT_RETENTION)
    end
  else
    report_other(id, key, marks, ARGV[from + 2], from + 3)
  end
end
if #finished > 0 then happened['finished'] = finished end
flush()

local answer, started = {0, #refused, unpack(refused)}, {}
local NO_EXTRAS = {false, false, false}
local lane_circle = ARGV[at]

-- Gives a job to the runner, if it can still be claimed.
local function claim(id)
  local key = JOB .. id
  local job = redis.pcall('HMGET', key, 'script', 'status', 'attempt', 'script_type', 'caller_id', 'context_id',
    'marks', 'entry')
  if not (job[1] or job[4]) or (job[2] ~= 'dispatched' and string.lower(job[2] or 'dispatched') ~= 'dispatched') then
    return false
  end
  local attempt, marks = number(job[3], 0) + 1, job[7]
  if not job[8] then
    marks = adopt(id, key, job[6], marks, lane_circle)
    if not marks then return false end
  end
  if is_limited and not admit(id, key, job[6] or DEFAULT_CONTEXT, marks) then return false end
  call('HSET', key, 'status', 'started', 'attempt', attempt, 'runner_id', runner, 'started_at', NOW_TEXT)
  started[#started + 1] = id
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = id, attempt, job[1], job[4]
  answer[n + 5], answer[n + 6] = job[5], job[6]
  local more = has(marks, 'e') and call('HMGET', key, 'timeout', 'env_vars', 'traceparent') or NO_EXTRAS
  answer[n + 7], answer[n + 8], answer[n + 9] = more[1], more[2], more[3]
  return true
end

-- The list that the wait for work has put a job into, none when it is in none; and whose queue it was in.
local function hand_of(id)
  if lane_circle ~= '' then
    local hand = inflight .. GROUP .. lane_circle
    if call('LPOS', hand, id) then return hand, lane_circle end
  end
  if call('LPOS', inflight, id) then return inflight end
end

-- Jobs that the wait for work has put into the runner's hands already.
local function claim_taken(from, to, want)
  if from <= to then write_even_when_full() end
  local beyond = {}
  for i = from, to do
    local id = ARGV[i]
    local hand = hand_of(id)
    if hand and #started >= want then
      beyond[#beyond + 1] = id
    elseif hand and claim(id) then
      if hand ~= inflight then
        call('LREM', hand, 1, id)
        call('RPUSH', inflight, id)
      end
    elseif hand and (hand ~= inflight or redis.pcall('HGET', JOB .. id, 'status') ~= 'started') then
      call('LREM', hand, 1, id)
    end
  end
  for i = #beyond, 1, -1 do
    local id = beyond[i]
    local job = redis.pcall('HMGET', JOB .. id, 'script_type', 'circle', 'priority', 'status')
    local hand, circle = hand_of(id)
    if hand and (hand ~= inflight or job[4] ~= 'started') then
      -- Held once: an id that is named twice must not be queued twice.
      local is_held = call('LREM', hand, 1, id) == 1
      if is_held and string.lower(job[4] or 'dispatched') == 'dispatched' and job[1] then
        put_back(id, job[1], job[2] or circle, job[3])
      end
    end
  end
end

-- Jobs from the lists, in order; answers whether all were found empty.
local function claim_queued(first, lists, want)
  if #started < want and call('EXISTS', unpack(ARGV, first, first + lists - 1)) == 0 then return true end
  local list, looks = 0, 0
  while #started < want and looks < 1000 do
    if list == lists then return true end
    local ids = call('LPOP', ARGV[first + list], want - #started)
    if ids then
      looks = looks + #ids
      local held = {}
      for _, id in ipairs(ids) do
        if claim(id) then held[#held + 1] = id end
      end
      if #held > 0 then call('RPUSH', inflight, unpack(held)) end
    else
      list = list + 1
    end
  end
  return false
end

if lane_circle then
  local want, lists = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local taken = at + 3 + lists
  claim_taken(taken + 1, taken + tonumber(ARGV[taken]), want)
  if claim_queued(at + 3, lists, want) then answer[1] = 1 end
end
if #started > 0 then happened['started'] = started end
announce()
return answer
