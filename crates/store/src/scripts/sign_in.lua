-- Signs a runner in. ARGV: runner, lease in ms, field names and values of its presence.
-- Answers 1 when an earlier process of this id has left more behind than one call takes back: call again.
local runner = ARGV[1]
local _, _, more = take_all_back(runner, 100)
flush()
announce()
if more then return 1 end
forget_runner(runner)
call('HSET', RUNNER .. runner, 'lease_ms', ARGV[2], 'started_at', NOW, 'seen_at', NOW,
  'limited', limits_in_force(), unpack(ARGV, 3))
call('ZADD', LEASES, NOW + ARGV[2], runner)
call('SADD', RUNNERS, runner)
return 0
