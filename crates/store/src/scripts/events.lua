-- Redis with its memory used up refuses the writes of a script that has not begun to write. This one changes
-- nothing and is allowed: after it, what frees memory, or keeps running jobs alive, is allowed too. A function of
-- Redis is registered as one that may write.
local IS_FUNCTION = redis.register_function ~= nil
local function write_even_when_full()
  if not IS_FUNCTION then call('PERSIST', EVENTS) end
end

-- What happened in this call, one event a kind, announced at its end.
local happened

local function note(kind, id)
  local ids = happened[kind]
  if ids then ids[#ids + 1] = id else happened[kind] = {id} end
end

local ENDS = {finished = true, failed = true, deleted = true}

-- A job that ended alone, when it is small and somebody listens: that spares whoever waits for it a look. Where many
-- end together, looks are made together as well.
local function with_record(id)
  if call('PUBSUB', 'NUMSUB', ENDED)[2] == 0 then return id end
  local fields, bytes = call('HGETALL', JOB .. id), 0
  for i = 2, #fields, 2 do bytes = bytes + #fields[i] end
  if #fields == 0 or bytes > RECORD_BYTES then return id end
  return id .. '\n' .. cjson.encode(fields)
end

-- Events are kept for those that follow jobs. An end is published besides: whoever waits for one needs no other news,
-- and is told without having asked.
local function announce()
  for kind, ids in pairs(happened) do
    local all = table.concat(ids, ' ')
    call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'k', kind, 'ids', all)
    if ENDS[kind] then call('PUBLISH', ENDED, #ids == 1 and with_record(ids[1]) or all) end
  end
end
