-- Puts a local service's reply to a /zbus-cmd into its return queue. ARGV: queue and item, the key of the return
-- queue that was given out, the return queue, the reply, for how long it is kept. Answers whether there is one.
if not is_held(ARGV[1], ARGV[2]) then return 1 end
if call('EXISTS', ARGV[3]) == 0 then return 0 end
call('RPUSH', ARGV[4], ARGV[5])
call('EXPIRE', ARGV[4], ARGV[6])
release(ARGV[1], ARGV[2])
return 1
