-- Takes a request in: one entry for each destination. ARGV: queue and item (both empty: it came another way),
-- the record, its return queue, now, its expiry, the end of the sender's lease, then the destinations.
-- Answers their uids; none: the item was handled before.
local uids = {}
if not is_held(ARGV[1], ARGV[2]) then return uids end
for i = 8, #ARGV do
  local uid = ARGV[i] .. '.' .. call('INCR', COUNTER .. ARGV[i])
  call('HSET', BACKLOG, uid, ARGV[3])
  call('HSET', WAITING, uid, ARGV[5] .. ':' .. ARGV[4])
  call('ZADD', EXPIRY, ARGV[6], uid)
  call('ZADD', OUTBOX, ARGV[7], uid)
  uids[#uids + 1] = uid
end
release(ARGV[1], ARGV[2])
return uids
