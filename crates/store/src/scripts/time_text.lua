-- RFC 3339, UTC. A function of Redis keeps the text of the latest second.
local second, text_of_second
local function time_text(ms)
  local floor = math.floor
  local s = floor(ms / 1000)
  if s ~= second then
    local days = floor(s / 86400)
    local rest = s - days * 86400
    -- Days to a civil date, after Howard Hinnant.
    local z = days + 719468
    local era = floor(z / 146097)
    local doe = z - era * 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local mp = floor((5 * doy + 2) / 153)
    local month = mp < 10 and mp + 3 or mp - 9
    text_of_second = string.format('%04d-%02d-%02dT%02d:%02d:%02d',
      yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - floor((153 * mp + 2) / 5) + 1,
      floor(rest / 3600), floor(rest / 60) % 60, rest % 60)
    second = s
  end
  return string.format('%s.%03dZ', text_of_second, ms - s * 1000)
end
local NOW_TEXT
