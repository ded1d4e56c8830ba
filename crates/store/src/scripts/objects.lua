-- The objects of one context. Every script begins with ARGV: context, collection.
--
-- A record is `version created updated json`. Names of collections, fields and objects have no colon, and the
-- context comes last in a key: so no name of one context can be spelled to mean another.
local context, collection = ARGV[1], ARGV[2]
local objects = OBJECTS .. collection .. ':' .. context
local ids = OBJECT_IDS .. collection .. ':' .. context
local fields_key = OBJECT_FIELDS .. collection .. ':' .. context
local usage = OBJECT_USAGE .. context
-- What an object, or an entry of an index, costs beside its text, roughly.
local OBJECT_COST, ENTRY_COST = 160, 100

local function index_of(field)
  return OBJECT_INDEX .. collection .. '/' .. field .. ':' .. context
end

local function json_of(record)
  return string.match(record, '^%d+ %d+ %d+ (.*)$')
end

local function head_of(record)
  return string.match(record, '^(%d+ %d+ %d+) ')
end

-- A value as an index has it; nil for one that is in none. Whoever finds by it compares the value itself.
local function as_entry(value)
  local kind = type(value)
  if kind == 'string' then return #value > 200 and 'h' .. redis.sha1hex(value) or 's' .. value end
  if kind == 'number' then return 'n' .. string.format('%.17g', value) end
  if kind == 'boolean' then return value and 'b1' or 'b0' end
end

-- The entries of an object, by field, and what they cost.
local function entries_of(fields, id, json)
  local entries, cost = {}, 0
  if #fields == 0 then return entries, cost end
  local object = cjson.decode(json)
  for _, field in ipairs(fields) do
    local entry = as_entry(object[field])
    if entry then
      entries[field] = entry .. '\0' .. id
      cost = cost + #entries[field] + ENTRY_COST
    end
  end
  return entries, cost
end

-- Puts an object in the place of `before` (false: there was none); false takes it away. Answers nil, or
-- what it would be too much of.
local function replace(id, before, json, most_objects, most_bytes)
  local fields = call('HKEYS', fields_key)
  local old, old_cost, new, new_cost, bytes, count = {}, 0, {}, 0, 0, 0
  if before then
    old, old_cost = entries_of(fields, id, json_of(before))
    bytes, count = -(#json_of(before) + 2 * #id + OBJECT_COST), -1
  end
  if json then
    new, new_cost = entries_of(fields, id, json)
    bytes, count = bytes + #json + 2 * #id + OBJECT_COST, count + 1
  end
  bytes = bytes + new_cost - old_cost
  if json then
    local used = call('HMGET', usage, 'objects', 'bytes')
    if count > 0 and tonumber(used[1] or 0) >= most_objects then return 'objects' end
    if bytes > 0 and tonumber(used[2] or 0) + bytes > most_bytes then return 'bytes' end
  end
  if bytes ~= 0 then call('HINCRBY', usage, 'bytes', bytes) end
  if count ~= 0 then call('HINCRBY', usage, 'objects', count) end
  for field, entry in pairs(old) do
    if new[field] ~= entry then call('ZREM', index_of(field), entry) end
  end
  for field, entry in pairs(new) do
    if old[field] ~= entry then call('ZADD', index_of(field), 0, entry) end
  end
end

-- Adds objects to an answer, until it is large.
local MOST_ANSWERED = 1048576
local answered = 0
local function answer_object(answer, id)
  local record = call('HGET', objects, id)
  if not record then return true end
  if answered > 0 and answered + #record > MOST_ANSWERED then return false end
  answered = answered + #record
  answer[#answer + 1], answer[#answer + 2] = id, record
  return true
end
