-- Answers a request, once: whoever comes first with a reply, an error or a timeout. ARGV: queue and item (both
-- empty: it came another way), uid, the answer up to its return queue and from there on, how long the return
-- queue is kept, the parcel that a long answer is in (empty: it is not long), 1: the request is not sent any more.
-- Answers when the request was accepted and its return queue, or nothing: it has its answer.
if ARGV[8] == '1' then
  call('ZREM', OUTBOX, ARGV[3])
  call('HDEL', FAILURES, ARGV[3])
end
local waiting = call('HGET', WAITING, ARGV[3])
if not waiting then
  throw_away(ARGV[7])
  release(ARGV[1], ARGV[2])
  return false
end
local at, ret = string.match(waiting, '^(%d+):(.*)$')
local answer = ARGV[7] == '' and ARGV[4] .. cjson.encode(ret) .. ARGV[5]
local pushed = put('RPUSH', ret, answer, ARGV[7])
if has_failed(pushed) then
  if not string.find(pushed.err, 'WRONGTYPE', 1, true) then return pushed end
  call('RPUSH', DEAD, cjson.encode({
    id = ARGV[3], at = tonumber(at), queue = ret, why = 'the return queue is not a list',
    item = answer or call('LPOP', ARGV[7]),
  }))
else
  call('EXPIRE', ret, ARGV[6])
end
call('HDEL', BACKLOG, ARGV[3])
call('HDEL', WAITING, ARGV[3])
call('ZREM', EXPIRY, ARGV[3])
release(ARGV[1], ARGV[2])
return {at, ret}
