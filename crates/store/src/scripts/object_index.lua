-- Keeps an index of a field, a step at a time. ARGV, after the first two: field, the id before this step or '',
-- most fields, most bytes.
-- Answers 'ready'; 'fields' or 'bytes' when it would be too much; or '+' and the id to go on after.
local STEP = 200
local field = ARGV[3]
local state = call('HGET', fields_key, field)
if state == 'ready' then return 'ready' end
if not state then
  if call('HLEN', fields_key) >= tonumber(ARGV[5]) then return 'fields' end
  -- From now on whatever is written goes into the index; what was written before follows step by step.
  call('HSET', fields_key, field, 'building')
end
local found = call('ZRANGEBYLEX', ids, ARGV[4] == '' and '-' or '(' .. ARGV[4], '+', 'LIMIT', 0, STEP)
local used, index = tonumber(call('HGET', usage, 'bytes') or 0), index_of(field)
for _, id in ipairs(found) do
  local entry = entries_of({field}, id, json_of(call('HGET', objects, id)))[field]
  if entry and call('ZADD', index, 0, entry) == 1 then
    used = used + #entry + ENTRY_COST
    call('HINCRBY', usage, 'bytes', #entry + ENTRY_COST)
  end
end
if used > tonumber(ARGV[6]) then return 'bytes' end
if #found == STEP then return '+' .. found[STEP] end
call('HSET', fields_key, field, 'ready')
return 'ready'
