-- Tells a runner to take no new jobs, or to take them again. ARGV: runner, '1' or '0'.
local runner = ARGV[1]
if call('EXISTS', RUNNER .. runner) == 0 then return redis.error_reply('HERO_RUNNER_NOT_FOUND ' .. runner) end
write_even_when_full()
call('HSET', RUNNER .. runner, 'draining', ARGV[2])
call('RPUSH', CONTROL .. runner, 'drain ' .. ARGV[2])
return 1
