-- Refuses a process that is not the runner's current one. ARGV: runner, session.
local runner = ARGV[1]
local presence_of = call('HMGET', RUNNER .. runner, 'session', 'limited')
if presence_of[1] ~= ARGV[2] then
  return redis.error_reply('HERO_RUNNER_REPLACED ' .. runner)
end
-- Whether contexts have limits, as of its latest renewal: only then a claim has to look.
local is_limited = (presence_of[2] or '') ~= ''
