-- Spend of one tenant from the calls themselves, and what was adjusted since: for dimensions and bounds that
-- no rollup holds. What counts as what is the recorder's rule for rollups; a test holds the two together.
SELECT
    {dimensions}
    coalesce(sum(counted), 0)::bigint AS calls,
    count(*) FILTER (WHERE {is_error}) AS errors,
    count(*) FILTER (WHERE outcome = 'interrupted') AS interrupted,
    coalesce(sum(unpriced), 0)::bigint AS unpriced,
    coalesce(sum(unknown_usage), 0)::bigint AS unknown_usage,
    coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
    coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
    coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
    coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write_tokens,
    coalesce(sum(reasoning_tokens), 0)::bigint AS reasoning_tokens,
    coalesce(sum(cost_usd), 0) AS cost_usd
FROM (
    SELECT
        started_at, upstream, provider, operation, zone, team, project, route, environment, key_id, end_user,
        unit, model, served_model, outcome, 1::bigint AS counted, (price_state = 'unpriced')::int::bigint AS unpriced,
        (price_state = 'unknown_usage')::int::bigint AS unknown_usage, input_tokens, output_tokens,
        cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd
    FROM calls
    WHERE {scope} AND started_at >= %(start)s AND started_at < %(end)s
    UNION ALL
    SELECT
        started_at, upstream, provider, operation, zone, team, project, route, environment, key_id, end_user,
        unit, model, '', '', 0, unpriced, unknown_usage, NULL, NULL, NULL, NULL, NULL, cost_usd
    FROM adjustments
    WHERE {scope} AND started_at >= %(start)s AND started_at < %(end)s
) AS spent
{grouping}
