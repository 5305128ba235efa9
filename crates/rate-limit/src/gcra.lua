-- One decision of the generic cell rate algorithm; the same arithmetic as gcra.rs, in microseconds, on the server's clock.
-- KEYS[1] the key; ARGV price of this question, time of a whole quota. Returns what was stored (-1: nothing), the time, and 1 or 0.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local price, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local stored = redis.call('GET', KEYS[1])
local whole_at = math.min(math.max(tonumber(stored or now), now), now + window)
local next = whole_at + price
local allowed = next - now <= window
if allowed and price > 0 then
  -- %.0f: a number of this size would otherwise be written with an exponent, losing digits
  redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
end
return { tonumber(stored or -1), now, allowed and 1 or 0 }
