-- A page of the objects whose field has a value. ARGV, after the first two: field, the value in a JSON list,
-- the id before it or '', most.
-- Answers -1 when the field has no index; else 1 when there may be more, then ids and records.
local field, most = ARGV[3], tonumber(ARGV[6])
if call('HGET', fields_key, field) ~= 'ready' then return {-1} end
local entry = as_entry(cjson.decode(ARGV[4])[1])
if not entry then return {0} end
local prefix = entry .. '\0'
local from = ARGV[5] == '' and '[' .. prefix or '(' .. prefix .. ARGV[5]
local found = call('ZRANGEBYLEX', index_of(field), from, '(' .. entry .. '\1', 'LIMIT', 0, most)
local answer = {#found == most and 1 or 0}
for _, member in ipairs(found) do
  if not answer_object(answer, string.sub(member, #prefix + 1)) then
    answer[1] = 1
    break
  end
end
return answer
