-- A page of objects by id. ARGV, after the first two: the id before it or '', most.
-- Answers 1 when there may be more, then ids and records.
local most = tonumber(ARGV[4])
local found = call('ZRANGEBYLEX', ids, ARGV[3] == '' and '-' or '(' .. ARGV[3], '+', 'LIMIT', 0, most)
local answer = {#found == most and 1 or 0}
for _, id in ipairs(found) do
  if not answer_object(answer, id) then
    answer[1] = 1
    break
  end
end
return answer
