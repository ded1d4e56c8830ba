-- Refuses a process that is not the runner's current one. ARGV: runner, session.
local runner = ARGV[1]
if call('HGET', RUNNER .. runner, 'session') ~= ARGV[2] then
  return redis.error_reply('HERO_RUNNER_REPLACED ' .. runner)
end
