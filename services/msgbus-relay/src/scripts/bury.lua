-- Puts an item away that nothing can be done with. ARGV: queue and item, the dead letter, how many are kept, the
-- id of a reply that was to be sent (empty: none).
call('RPUSH', DEAD, ARGV[3])
call('LTRIM', DEAD, -tonumber(ARGV[4]), -1)
if ARGV[5] ~= '' then
  call('HDEL', ANSWERS, ARGV[5])
  call('HDEL', FAILURES, ARGV[5])
  call('ZREM', ANSWERS_DUE, ARGV[5])
end
release(ARGV[1], ARGV[2])
return 1
