-- Takes in a reply for another twin. ARGV: queue and item, its id, the record, the end of the sender's lease.
-- Answers whether it is new; it is not: the item was handled before.
if not is_held(ARGV[1], ARGV[2]) then return 0 end
call('HSET', ANSWERS, ARGV[3], ARGV[4])
call('HDEL', FAILURES, ARGV[3])
call('ZADD', ANSWERS_DUE, ARGV[5], ARGV[3])
release(ARGV[1], ARGV[2])
return 1
