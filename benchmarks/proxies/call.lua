-- A chat call as OpenAI's Python client sends it. BENCH_KEY is its key.
local text = string.rep("The quick brown fox jumps. ", 32)
wrk.method = "POST"
wrk.body = '{"model":"mock-model","messages":[{"role":"system","content":"You are helpful."},'
  .. '{"role":"user","content":"' .. text .. '"}],"temperature":0.7,"max_tokens":64}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("BENCH_KEY") or "none")
wrk.headers["User-Agent"] = "OpenAI/Python 1.99.0"
wrk.headers["X-Stainless-Lang"] = "python"
wrk.headers["X-Stainless-Package-Version"] = "1.99.0"
wrk.headers["X-Stainless-OS"] = "Linux"
wrk.headers["X-Stainless-Arch"] = "x64"
wrk.headers["X-Stainless-Runtime"] = "CPython"
wrk.headers["Accept"] = "application/json"
wrk.headers["Accept-Encoding"] = "identity"
