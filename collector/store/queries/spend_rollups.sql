-- Spend of one tenant between two instants that begin an hour of the reporting zone.
-- Whole local days come from rollup_days, the ragged ends from rollup_hours: few rows, the same sum.
WITH buckets AS (
    SELECT * FROM rollup_days
    WHERE {scope} AND bucket >= %(first_day)s AND bucket < %(last_day)s
    UNION ALL
    SELECT * FROM rollup_hours
    WHERE {scope}
      AND (bucket >= %(start)s AND bucket < %(first_day)s OR bucket >= %(last_day)s AND bucket < %(end)s)
)
SELECT
    {dimensions}
    coalesce(sum(calls), 0)::bigint AS calls,
    coalesce(sum(errors), 0)::bigint AS errors,
    coalesce(sum(interrupted), 0)::bigint AS interrupted,
    coalesce(sum(unpriced), 0)::bigint AS unpriced,
    coalesce(sum(unknown_usage), 0)::bigint AS unknown_usage,
    coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
    coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
    coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
    coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write_tokens,
    coalesce(sum(reasoning_tokens), 0)::bigint AS reasoning_tokens,
    coalesce(sum(cost_usd), 0) AS cost_usd
FROM buckets
{grouping}
