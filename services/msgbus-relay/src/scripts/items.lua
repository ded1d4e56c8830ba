-- Items of a queue that is being worked on. An item that is not there any more has been handled: the answer to
-- that was lost on its way.

local function is_held(queue, item)
  return queue == '' or call('LPOS', queue, item) ~= false
end

-- Always the last change of a script, so that one that fails (memory) leaves the item where it is found again.
local function release(queue, item)
  if queue ~= '' then call('LREM', queue, 1, item) end
end
