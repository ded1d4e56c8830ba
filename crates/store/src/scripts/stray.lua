-- Takes back what stands in an in-flight list whose runner has no lease: it was moved there after the runner had
-- signed out or was given up. ARGV: runner, the circle of the list or ''. Answers: requeued, ended, more (1 or 0).
local LIMIT = 100
local runner, circle = ARGV[1], ARGV[2]
if call('ZSCORE', LEASES, runner) then return {0, 0, 0} end
local list = INFLIGHT .. runner .. (circle ~= '' and GROUP .. circle or '')
local requeued, ended, held = take_list_back(runner, list, LIMIT, circle ~= '' and circle or nil)
flush()
announce()
return {requeued, ended, held == LIMIT and 1 or 0}
