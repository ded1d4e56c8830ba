-- Goes before every script. What is defined above is there once for all calls, and knows nothing of the one before.
local function begin_call()
  look_at_clock()
  NOW_TEXT = time_text(NOW)
  happened, pushes, budget, evictions = {}, {}, MOST_SETTLED, MOST_EVICTED
end
