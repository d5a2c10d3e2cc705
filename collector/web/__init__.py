"""What people and scripts read: pages for finance and on-call, the API, health and metrics.

It runs in a process of its own and only reads. Nothing here is on the path of a call.
"""
