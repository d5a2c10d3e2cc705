-- Whether the hour across the first midnight that has calls has lost none of its own.
SELECT
    (SELECT coalesce(sum(calls), 0) FROM rollup_hours WHERE bucket = %(begin)s)
    = (SELECT count(*) FROM calls WHERE started_at >= %(begin)s AND started_at < %(end)s)
