-- Keeps what the script of an attempt says about itself.
-- ARGV: id, attempt, thousandths or '' for none, words, 'r' when there is a result, the result.
-- Answers 1, or 0 when the attempt is not the current one.
local key = JOB .. ARGV[1]
local job = call('HMGET', key, 'status', 'attempt', 'said')
if job[1] ~= 'started' or job[2] ~= ARGV[2] then return 0 end
if job[3] ~= ARGV[2] then
  call('HDEL', key, 'progress', 'progress_text', 'result')
  call('HSET', key, 'said', ARGV[2])
end
if ARGV[3] ~= '' then call('HSET', key, 'progress', ARGV[3], 'progress_text', ARGV[4]) end
if ARGV[5] == 'r' then call('HSET', key, 'result', ARGV[6]) end
note('progress', ARGV[1])
announce()
return 1
