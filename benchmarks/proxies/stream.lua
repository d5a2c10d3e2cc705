-- The same, streamed, 10 ms between the events. BENCH_ASK=0: the client asks for no usage.
dofile(os.getenv("BENCH_LUA") .. "/call.lua")
local text = string.rep("The quick brown fox jumps. ", 32)
local asks = os.getenv("BENCH_ASK") == "0" and "" or ',"stream_options":{"include_usage":true}'
wrk.body = '{"model":"mock-model","messages":[{"role":"system","content":"You are helpful."},'
  .. '{"role":"user","content":"gap10 ' .. text .. '"}],"temperature":0.7,"stream":true' .. asks .. '}'
wrk.headers["Accept"] = "text/event-stream"
