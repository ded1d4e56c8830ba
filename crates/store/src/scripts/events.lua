-- What happened in this call, one event a kind, announced at its end.
local happened = {}

local function note(kind, id)
  local ids = happened[kind]
  if ids then ids[#ids + 1] = id else happened[kind] = {id} end
end

local function announce()
  for kind, ids in pairs(happened) do
    call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'k', kind, 'ids', table.concat(ids, ' '))
  end
end
