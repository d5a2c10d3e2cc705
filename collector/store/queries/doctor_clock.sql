-- The server's wall clock, now.
SELECT clock_timestamp()
