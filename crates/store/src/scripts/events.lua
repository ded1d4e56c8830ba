-- Redis with its memory used up refuses the writes of a script that has not begun to write. This one changes
-- nothing and is allowed: after it, what frees memory, or keeps running jobs alive, is allowed too.
local function write_even_when_full()
  call('PERSIST', EVENTS)
end

-- What happened in this call, one event a kind, announced at its end.
local happened = {}

local function note(kind, id)
  local ids = happened[kind]
  if ids then ids[#ids + 1] = id else happened[kind] = {id} end
end

local ENDS = {finished = true, failed = true, deleted = true}

-- Events are kept for those that follow jobs. An end is published besides: whoever waits for one needs no other news,
-- and is told without having asked.
local function announce()
  for kind, ids in pairs(happened) do
    local all = table.concat(ids, ' ')
    call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'k', kind, 'ids', all)
    if ENDS[kind] then call('PUBLISH', ENDED, all) end
  end
end
