-- Puts a dead letter back into its queue. ARGV: the letter, queue, item. Answers whether it was there.
if call('LREM', DEAD, 1, ARGV[1]) == 0 then return 0 end
call('RPUSH', ARGV[2], ARGV[3])
return 1
