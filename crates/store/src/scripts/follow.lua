-- From now on what comes into the log of a job is announced. ARGV: id.
local key = JOB .. ARGV[1]
if call('HEXISTS', key, 'script_type') == 1 then mark(key, 'w') end
return 0
