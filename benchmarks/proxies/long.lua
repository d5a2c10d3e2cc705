-- A prompt of 80,000 to 100,000 tokens: 400 kB, with the line ends and quotes that a text has.
dofile(os.getenv("BENCH_LUA") .. "/call.lua")
local line = 'The quick brown fox said \\"jump\\" to the lazy dog, and it did; so it goes, 17 times.\\n'
local text = string.rep(line, math.floor(400000 / #line))
wrk.body = '{"model":"mock-model","messages":[{"role":"system","content":"You are helpful."},'
  .. '{"role":"user","content":"' .. text .. '"}],"temperature":0.7,"max_tokens":64}'
