-- Items of a queue that is being worked on. An item that is not there any more has been handled: the answer to
-- that was lost on its way.

local function is_held(queue, item)
  return queue == '' or call('LPOS', queue, item) ~= false
end

-- Always the last change of a script, so that one that fails (memory) leaves the item where it is found again.
local function release(queue, item)
  if queue ~= '' then call('LREM', queue, 1, item) end
end

local function has_failed(answer)
  return type(answer) == 'table' and answer.err
end

-- Puts a text into a list: `text`, or the long one that is the only item of the list `parcel` and is moved from there
-- without coming by here. `push`: RPUSH or LPUSH. Answers the length of the list, or an error as such.
local function put(push, list, text, parcel)
  if parcel == '' then return try(push, list, text) end
  local moved
  if call('EXISTS', list) == 0 then
    call('PERSIST', parcel)
    moved = try('RENAME', parcel, list)
  else
    moved = try('LMOVE', parcel, list, 'LEFT', push == 'LPUSH' and 'LEFT' or 'RIGHT')
  end
  return has_failed(moved) and moved or call('LLEN', list)
end

-- A parcel that is not wanted.
local function throw_away(parcel)
  if parcel ~= '' then call('DEL', parcel) end
end
