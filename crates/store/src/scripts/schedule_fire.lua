-- Works on a time of a schedule: once, whoever comes first. Goes before the script that creates the job.
--
-- ARGV: those of create.lua for one plain job; the last five: schedule, the time it was seen to wait for, the time to
-- start a job for ('' for none), the time that it waits for then ('' for none), the job.
-- Answers 'overtaken', 'left out' or 'waits'; an empty list (that of create.lua) when the job was started.
local WAIT_MS = 1000
local fire_at = #ARGV - 5
do
  local schedule, key = ARGV[fire_at + 1], SCHEDULE .. ARGV[fire_at + 1]
  local due, next_due, new = ARGV[fire_at + 3], ARGV[fire_at + 4], ARGV[fire_at + 5]
  local stored = call('HMGET', key, 'due', 'overlap', 'last_job')
  if stored[1] ~= ARGV[fire_at + 2] or (due ~= '' and call('EXISTS', JOB .. new) == 1) then return 'overtaken' end

  local function go_on(...)
    call('HSET', key, 'due', next_due, ...)
    call('ZADD', SCHEDULES, next_due == '' and '+inf' or next_due, schedule)
  end
  if due == '' then
    go_on()
    return 'left out'
  end

  local last = stored[3]
  local before = last and call('HMGET', JOB .. last, 'script_type', 'status', 'runner_id', 'circle', 'priority', 'marks',
    'context_id')
  local status = before and before[1] and before[2]
  if status and status ~= 'finished' and status ~= 'error' then
    if stored[2] == 'queue' then
      -- Looked at again in a while; the time that it waits for stays.
      call('ZADD', SCHEDULES, NOW + WAIT_MS, schedule)
      return 'waits'
    elseif stored[2] ~= 'replace' then
      go_on()
      call('HINCRBY', key, 'skipped', 1)
      return 'left out'
    end
    if status == 'started' and before[3] then
      mark(JOB .. last, 'x')
      tell_to_stop(before[3], last)
    else
      if status == 'dispatched' then unqueue(last, before[1], before[4], before[5], before[6], before[7]) end
      fail(last, 'stopped', 'stopped before it ran: its schedule started the next one in its place')
    end
  end
  go_on('last_due', due, 'last_job', new)
  call('HINCRBY', key, 'started', 1)
end
