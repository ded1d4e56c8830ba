-- Adds lines to the log of an attempt. ARGV: id, attempt, how many lines of it came before these, most bytes, then
-- pairs of stream and text. Answers 0 (taken), 1 (full: what is beyond was dropped), 2 (refused).
-- Lines that are in already are passed over: the answer to the call that brought them was lost.
local key = JOB .. ARGV[1]
local job = call('HMGET', key, 'status', 'attempt', 'log_bytes', 'marks', 'logged')
if job[1] ~= 'started' or job[2] ~= ARGV[2] then return 2 end
if has(job[4], 'f') then return 1 end
local log, bytes, most, full = key .. LOGS, tonumber(job[3] or 0), tonumber(ARGV[4]), 0
-- Of which attempt, and how many.
local of, logged = string.match(job[5] or '', '^(%d+) (%d+)$')
local before = tonumber(ARGV[3])
local again = of == ARGV[2] and math.max(logged - before, 0) or 0
local first = 5 + 2 * again
if first > #ARGV then return 0 end
for i = first, #ARGV, 2 do
  if bytes + #ARGV[i + 1] > most then
    call('XADD', log, '*', 'stream', 'log', 'text', 'log limit of ' .. ARGV[4] .. ' bytes reached')
    mark(key, 'f')
    full = 1
    break
  end
  bytes = bytes + #ARGV[i + 1]
  call('XADD', log, '*', 'stream', ARGV[i], 'text', ARGV[i + 1])
end
call('HSET', key, 'log_bytes', bytes, 'logged', ARGV[2] .. ' ' .. before + (#ARGV - 4) / 2)
if has(job[4], 'b') then
  local context = call('HGET', key, 'context_id') or DEFAULT_CONTEXT
  call('HINCRBY', BYTES_OF .. context, ARGV[1], bytes - (job[3] or 0))
  call('HINCRBY', BYTES, context, bytes - (job[3] or 0))
end
if not has(job[4], 'l') then mark(key, 'l') end
return full
