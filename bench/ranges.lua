-- SPDX-License-Identifier: Apache-2.0
-- For wrk: 4 KiB ranges at random offsets of an image of so many bytes:
--   wrk -s ranges.lua URL -- BYTES
-- The requests are made before the first is sent, to cost wrk nothing.

local requests = {}
local next_request = 0

function init(args)
    math.randomseed(1)
    local blocks = math.floor(tonumber(args[1]) / 4096)
    for i = 1, 8192 do
        local offset = math.random(0, blocks - 1) * 4096
        local range = string.format("bytes=%d-%d", offset, offset + 4095)
        requests[i] = wrk.format("GET", nil, { Range = range })
    end
end

function request()
    next_request = next_request % #requests + 1
    return requests[next_request]
end

function done(summary)
    local errors = summary.errors
    io.write(string.format("bench requests=%d us=%d bytes=%d status=%d "
        .. "socket=%d\n", summary.requests, summary.duration, summary.bytes,
        errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
