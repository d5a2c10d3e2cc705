"""What the comparison of relays needs: a mock upstream, the loads, the proxies, and a clock for their CPU.

mock_upstream.c and rate_client.c are compiled when they are needed, so that the instrument costs less than
what it measures; call.lua, stream.lua and long.lua say to wrk what to send.
"""
