-- Stores jobs, all or none, and starts them too when asked.
--
-- ARGV: start, special, groups, budget; then for each group of jobs with the same fields:
--   queue, context, n, n field names and values, m; then for each of its m jobs:
--     id, script, x: '' for a plain job; else '1' and
--       brought, idempotency key, due, confined, p, p prerequisites, n, n field names and values
-- `special` says that some job is not plain: only then there is anything to check. The budget is how many bytes each
-- context may keep; '' for as many as there are.
-- Answers, for each job whose idempotency key is known, its index and the first job's id.
local start = ARGV[1] == '1'
local known, skip, bytes_of = {}, {}, {}

-- Reads the extra part of a job that begins at `at`; answers it and where the next job begins.
local function extra(at)
  local prerequisites = tonumber(ARGV[at + 4])
  local fields = at + 5 + prerequisites
  return {brought = ARGV[at] == '1', key = ARGV[at + 1], due = ARGV[at + 2], confined = ARGV[at + 3] == '1',
    first = at + 5, last = at + 4 + prerequisites,
    fields = fields + 1, fields_last = fields + tonumber(ARGV[fields])}
end

local function check()
  local at, index = 5, -1
  local context_of, keys = {}, {}
  for _ = 1, tonumber(ARGV[3]) do
    local context = ARGV[at + 1]
    at = at + 3 + tonumber(ARGV[at + 2])
    local jobs = tonumber(ARGV[at])
    at = at + 1
    for _ = 1, jobs do
      index = index + 1
      local id = ARGV[at]
      if ARGV[at + 2] == '' then
        context_of[id] = context
        at = at + 3
      else
        local job = extra(at + 3)
        at = job.fields_last + 1
        local idem = job.key ~= '' and IDEM .. context .. ':' .. job.key
        local first = idem and (keys[idem] or call('GET', idem))
        if first and not keys[idem] and call('EXISTS', JOB .. first) == 0 then first = nil end
        if first then
          known[#known + 1] = index
          known[#known + 1] = first
          skip[index] = true
        else
          if job.brought and (context_of[id] or call('EXISTS', JOB .. id) == 1) then
            return redis.error_reply('HERO_JOB_EXISTS ' .. index .. ' ' .. id)
          end
          for i = job.first, job.last do
            local other = ARGV[i]
            local found = context_of[other]
            if not found then
              local stored = call('HMGET', JOB .. other, 'script_type', 'context_id')
              found = stored[1] and (stored[2] or DEFAULT_CONTEXT)
            end
            if not found or (job.confined and found ~= context) then
              return redis.error_reply('HERO_PREREQUISITE_NOT_FOUND ' .. index .. ' ' .. other)
            end
          end
          context_of[id] = context
          if idem then keys[idem] = id end
        end
      end
    end
  end
end

if ARGV[2] == '1' then
  local refused = check()
  if refused then return refused end
end

-- What each context is asked to keep, and the first job that it is asked to.
local function check_budget(most)
  local at, index = 5, -1
  local contexts, wanted, first = {}, {}, {}
  for _ = 1, tonumber(ARGV[3]) do
    local context, shared = ARGV[at + 1], JOB_COSTS
    for i = at + 3, at + 1 + tonumber(ARGV[at + 2]), 2 do
      if ARGV[i] == 'env_vars' then shared = shared + #ARGV[i + 1] end
    end
    at = at + 3 + tonumber(ARGV[at + 2])
    local jobs = tonumber(ARGV[at])
    at = at + 1
    for _ = 1, jobs do
      index = index + 1
      local id, bytes = ARGV[at], shared + #ARGV[at + 1]
      at = ARGV[at + 2] == '' and at + 3 or extra(at + 3).fields_last + 1
      if not skip[index] then
        if not wanted[context] then
          contexts[#contexts + 1] = context
          wanted[context], first[context] = 0, index
        end
        wanted[context] = wanted[context] + bytes
        bytes_of[id] = bytes
      end
    end
  end
  for _, context in ipairs(contexts) do
    if not make_room(context, most, wanted[context]) then
      return redis.error_reply('HERO_CONTEXT_FULL ' .. first[context] .. ' ' .. (call('HGET', BYTES, context) or 0)
        .. ' ' .. ARGV[4] .. ' ' .. context)
    end
  end
end

if ARGV[4] ~= '' then
  local refused = check_budget(tonumber(ARGV[4]))
  if refused then return refused end
end

local news = {}
happened[start and 'queued' or 'created'] = news
local at, index = 5, -1
for _ = 1, tonumber(ARGV[3]) do
  local queue, context = ARGV[at], ARGV[at + 1]
  local n = tonumber(ARGV[at + 2])
  local same = {'status', 'dispatched', 'created_at', NOW_TEXT, unpack(ARGV, at + 3, at + 2 + n)}
  local plain = same
  if start then plain = {'queued_at', NOW_TEXT, unpack(same)} end
  at = at + 3 + n
  local jobs = tonumber(ARGV[at])
  at = at + 1
  local context_index = CONTEXT .. context
  local queued = pushes[queue] or {}
  pushes[queue] = queued
  for _ = 1, jobs do
    index = index + 1
    local id, script = ARGV[at], ARGV[at + 1]
    local job
    if ARGV[at + 2] == '' then
      at = at + 3
    else
      job = extra(at + 3)
      at = job.fields_last + 1
    end
    if not skip[index] then
      local key = JOB .. id
      local entry = call('XADD', INDEX, '*', 'id', id, 'c', context)
      call('XADD', context_index, entry, 'id', id)
      if bytes_of[id] then count(id, context, bytes_of[id]) end
      local waits = job and (job.first <= job.last or job.due ~= '')
      call('HSET', key, 'id', id, 'script', script, 'entry', entry, unpack(waits and same or plain))
      if job then
        if job.fields <= job.fields_last then call('HSET', key, unpack(ARGV, job.fields, job.fields_last)) end
        if job.key ~= '' then call('SET', IDEM .. context .. ':' .. job.key, id) end
      end
      if waits and start then
        begin(id, key, call('HMGET', key, 'script_type', 'circle', 'priority', 'due', 'prerequisites'))
      else
        news[#news + 1] = id
        if start then queued[#queued + 1] = id end
      end
    end
  end
end
if #news == 0 then happened[start and 'queued' or 'created'] = nil end
flush()
announce()
return known
