-- The hours that outlived their calls, and the calls themselves with their adjustments, by the new zone's hour and day.
-- What counts as an error, and as whose model, is what the recorder counts so.
INSERT INTO rebuilt
SELECT
    source_id, hour, tenant_id, team, provider, model, sum(calls), sum(errors), sum(interrupted), sum(unpriced),
    sum(unknown_usage), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_tokens),
    sum(reasoning_tokens), sum(cost_usd), day
FROM (
    SELECT
        source_id, bucket AS quarter, tenant_id, team, provider, model, calls, errors, interrupted, unpriced,
        unknown_usage, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
        cost_usd
    FROM rollup_hours
    WHERE bucket < %(kept_before)s
    UNION ALL
    SELECT
        source_id, date_bin('15 minutes', started_at, timestamptz 'epoch'), tenant_id, team, provider,
        coalesce(nullif(served_model, ''), model), 1,
        (outcome IN ('error', 'upstream_cut', 'upstream_unreachable', 'refused'))::int,
        (outcome = 'interrupted')::int, (price_state = 'unpriced')::int, (price_state = 'unknown_usage')::int,
        coalesce(input_tokens, 0), coalesce(output_tokens, 0), coalesce(cache_read_tokens, 0),
        coalesce(cache_write_tokens, 0), coalesce(reasoning_tokens, 0), coalesce(cost_usd, 0)
    FROM calls
    WHERE started_at >= %(kept_before)s
    UNION ALL
    SELECT
        source_id, date_bin('15 minutes', started_at, timestamptz 'epoch'), tenant_id, team, provider, model,
        0, 0, 0, unpriced, unknown_usage, 0, 0, 0, 0, 0, cost_usd
    FROM adjustments
    WHERE started_at >= %(kept_before)s
) AS counted
JOIN rebuilt_quarters USING (quarter)
GROUP BY source_id, hour, day, tenant_id, team, provider, model
