-- Renews the lease of a runner's jobs. ARGV: runner, session, busy, the ids that it holds.
-- Answers: draining (1 or 0), then the ids of jobs that it shall stop.
local key = RUNNER .. runner
local presence = call('HMGET', key, 'lease_ms', 'unknown', 'draining', 'circles')
write_even_when_full()
call('ZADD', LEASES, NOW + presence[1], runner)
local known = {}
for i = 4, #ARGV do known[ARGV[i]] = true end

-- What is in its list and unknown to it for two renewals: the answer that brought it was lost.
local before, held, unknown = presence[2] or '', {}, {}
local function look_through(list, circle)
  for _, id in ipairs(call('LRANGE', list, 0, -1)) do
    held[id] = true
    if not known[id] then
      if #unknown < 100 and string.find(before, id, 1, true) then
        call('LREM', list, 0, id)
        take_back(runner, id, circle)
      else
        unknown[#unknown + 1] = id
      end
    end
  end
end
look_through(INFLIGHT .. runner)
for _, hand in ipairs(hands(runner, presence[4])) do look_through(hand[1], hand[2]) end
call('HSET', key, 'busy', ARGV[3], 'seen_at', NOW, 'unknown', table.concat(unknown, ' '),
  'limited', limits_in_force())

local answer = {presence[3] == '1' and 1 or 0}
for _, id in ipairs(call('SMEMBERS', key .. STOPS)) do
  if held[id] or known[id] then
    answer[#answer + 1] = id
  else
    call('SREM', key .. STOPS, id)
  end
end
flush()
announce()
return answer
