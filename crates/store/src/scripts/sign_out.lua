-- Signs a runner out. Answers 1 when it held more than one call takes back: call again.
local _, _, more = take_all_back(runner, 100)
flush()
announce()
if more then return 1 end
forget_runner(runner)
return 0
