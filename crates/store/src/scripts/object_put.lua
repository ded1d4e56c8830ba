-- Stores an object. ARGV, after the first two: id, how, most objects, most bytes, json.
--   how: 'new' when there must be none, 'any', or the head of the record that must be there.
-- Answers 1 and the record's new head, or 0 and why not: 'exists', 'missing', 'changed', 'objects', 'bytes'.
local id, how, json = ARGV[3], ARGV[4], ARGV[7]
local before = call('HGET', objects, id)
if how == 'new' then
  if before then return {0, 'exists'} end
elseif how ~= 'any' then
  if not before then return {0, 'missing'} end
  if head_of(before) ~= how then return {0, 'changed'} end
end
local too_much = replace(id, before, json, tonumber(ARGV[5]), tonumber(ARGV[6]))
if too_much then return {0, too_much} end
local version, created = 1, NOW
if before then
  local old_version, old_created = string.match(before, '^(%d+) (%d+) ')
  version, created = old_version + 1, old_created
end
local head = string.format('%d %s %d', version, created, NOW)
call('HSET', objects, id, head .. ' ' .. json)
if not before then call('ZADD', ids, 0, id) end
return {1, head}
