-- Notes that sending has failed. ARGV: OUTBOX or ANSWERS_DUE, id, the most failures, now, the first pause and the
-- longest, not after. Answers the pause, or -1 (that was the last time), or -2 (it is not to be sent any more).
if not call('ZSCORE', ARGV[1], ARGV[2]) then return -2 end
local failures = call('HINCRBY', FAILURES, ARGV[2], 1)
if failures > tonumber(ARGV[3]) then return -1 end
local pause = math.min(tonumber(ARGV[5]) * 2 ^ math.min(failures - 1, 30), tonumber(ARGV[6]))
local due = tonumber(ARGV[4]) + pause
if due > tonumber(ARGV[7]) then return -1 end
call('ZADD', ARGV[1], string.format('%.0f', due), ARGV[2])
return math.floor(pause)
