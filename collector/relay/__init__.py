"""The relay: passes every call through untouched, and writes down what it cost.

Its process holds only the standard library, uvloop, httptools and msgspec.
"""
