-- The time of this call: in milliseconds, and as text (RFC 3339, UTC).
local call, NOW
local function look_at_clock()
  call = redis.call
  local time = call('TIME')
  NOW = time[1] * 1000 + math.floor(time[2] / 1000)
end
