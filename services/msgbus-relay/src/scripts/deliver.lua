-- Hands a request to its service, once. ARGV: queue and item (both empty: it came over HTTP), the key that
-- remembers it (empty: none), for how long, what it remembers, the service's list, RPUSH or LPUSH, the most
-- items of that list, the message, the key of a return queue that was given out (empty: none), for how long, the
-- parcel that a long message is in (empty: it is not long).
-- Answers 0 (delivered), 1 (it was before; and what was remembered then), 2 (the list is full).
if not is_held(ARGV[1], ARGV[2]) then
  throw_away(ARGV[12])
  return {1, ''}
end
local seen = ARGV[3] ~= '' and call('GET', ARGV[3])
if seen then
  throw_away(ARGV[12])
  release(ARGV[1], ARGV[2])
  return {1, seen}
end
local length = put(ARGV[7], ARGV[6], ARGV[9], ARGV[12])
if has_failed(length) then return length end
if length > tonumber(ARGV[8]) then
  call(ARGV[7] == 'LPUSH' and 'LPOP' or 'RPOP', ARGV[6])
  return {2, ''}
end
if ARGV[3] ~= '' then call('SET', ARGV[3], ARGV[5], 'EX', ARGV[4]) end
if ARGV[10] ~= '' then call('SET', ARGV[10], '1', 'EX', ARGV[11]) end
release(ARGV[1], ARGV[2])
return {0, ''}
