-- Spend of one tenant from the calls themselves: for dimensions and bounds that no rollup holds.
-- What counts as what is the recorder's rule for rollups; a test holds the two against each other.
SELECT
    {dimensions}
    count(*) AS calls,
    count(*) FILTER (WHERE {is_error}) AS errors,
    count(*) FILTER (WHERE outcome = 'interrupted') AS interrupted,
    count(*) FILTER (WHERE price_state = 'unpriced') AS unpriced,
    count(*) FILTER (WHERE price_state = 'unknown_usage') AS unknown_usage,
    coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
    coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
    coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
    coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write_tokens,
    coalesce(sum(reasoning_tokens), 0)::bigint AS reasoning_tokens,
    coalesce(sum(cost_usd), 0) AS cost_usd
FROM calls
WHERE {scope} AND started_at >= %(start)s AND started_at < %(end)s
{grouping}
