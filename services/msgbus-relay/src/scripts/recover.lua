-- At the start, when nobody works on anything: puts the items of a queue that were worked on back to its front, in
-- their order. ARGV: queue, processing, how many at most. Answers how many those were.
local moved = 0
while moved < tonumber(ARGV[3]) and call('LMOVE', ARGV[2], ARGV[1], 'RIGHT', 'LEFT') do moved = moved + 1 end
return moved
