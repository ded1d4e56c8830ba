-- Removes an object. ARGV, after the first two: id. Answers 1, or 0 when there was none.
local id = ARGV[3]
local before = call('HGET', objects, id)
if not before then return 0 end
write_even_when_full()
replace(id, before, nil)
call('HDEL', objects, id)
call('ZREM', ids, id)
return 1
