-- Adds to a counter. ARGV: context, name, how much, 's' to set it instead, most objects.
-- Answers its value, or why not: 'objects', 'overflow'.
local counters, usage, name = OBJECT_COUNTERS .. ARGV[1], OBJECT_USAGE .. ARGV[1], ARGV[2]
if call('HEXISTS', counters, name) == 0 then
  -- A counter counts as an object of the context.
  if tonumber(call('HGET', usage, 'objects') or 0) >= tonumber(ARGV[5]) then return 'objects' end
  call('HINCRBY', usage, 'objects', 1)
end
if ARGV[4] == 's' then
  call('HSET', counters, name, ARGV[3])
  return ARGV[3]
end
local sum = redis.pcall('HINCRBY', counters, name, ARGV[3])
if type(sum) == 'table' then return 'overflow' end
-- As it is kept: a number of this language would lose the last digits of a large one.
return call('HGET', counters, name)
