-- Adds lines to the log of an attempt. ARGV: id, attempt, most bytes, then pairs of stream and text.
-- Answers 0 (taken), 1 (full: what is beyond was dropped), 2 (refused).
local key = JOB .. ARGV[1]
local job = call('HMGET', key, 'status', 'attempt', 'log_bytes', 'marks')
if job[1] ~= 'started' or job[2] ~= ARGV[2] then return 2 end
if has(job[4], 'f') then return 1 end
local log, bytes, most, full = key .. LOGS, tonumber(job[3] or 0), tonumber(ARGV[3]), 0
for i = 4, #ARGV, 2 do
  if bytes + #ARGV[i + 1] > most then
    call('XADD', log, '*', 'stream', 'log', 'text', 'log limit of ' .. ARGV[3] .. ' bytes reached')
    mark(key, 'f')
    full = 1
    break
  end
  bytes = bytes + #ARGV[i + 1]
  call('XADD', log, '*', 'stream', ARGV[i], 'text', ARGV[i + 1])
end
call('HSET', key, 'log_bytes', bytes)
if not has(job[4], 'l') then mark(key, 'l') end
if has(job[4], 'w') then call('XADD', LOG_EVENTS, 'MAXLEN', '~', LOG_EVENTS_KEPT, '*', 'id', ARGV[1]) end
return full
