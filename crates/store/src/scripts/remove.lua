-- Forgets a runner whose lease is over. ARGV: runner.
-- Answers 1 when it held more than one call takes back: call again.
local runner = ARGV[1]
local lease = call('ZSCORE', LEASES, runner)
if call('EXISTS', RUNNER .. runner) == 0 and not lease then
  return redis.error_reply('HERO_RUNNER_NOT_FOUND ' .. runner)
end
if lease and tonumber(lease) > NOW then
  return redis.error_reply('HERO_RUNNER_ALIVE ' .. runner .. ' ' .. string.format('%d', lease))
end
local _, _, more = take_all_back(runner, 100)
flush()
announce()
if more then return 1 end
forget_runner(runner)
return 0
