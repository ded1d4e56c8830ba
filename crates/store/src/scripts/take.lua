-- Moves an id from a queue into an in-flight list, as BLMOVE does, which Redis refuses when its memory is used
-- up. ARGV: queue, in-flight list.
write_even_when_full()
return call('LMOVE', ARGV[1], ARGV[2], 'LEFT', 'RIGHT')
