-- Calls between two instants as they count now: as recorded, with what was adjusted since.
-- Whatever may be priced anew: usage that is unknown stays so, and what nobody bills too.
SELECT
    calls.source_id, calls.call_id, (extract(epoch FROM calls.started_at) * 1000000)::bigint AS started_at_us,
    calls.tenant_id, upstream, provider, operation, zone, team, project, route, environment, key_id, end_user,
    unit, model, served_model, service_tier, status, outcome, input_tokens, output_tokens, cache_read_tokens,
    cache_write_tokens, reasoning_tokens, other_usage,
    coalesce(calls.cost_usd, 0) + coalesce(adjusted.cost_usd, 0) AS cost_usd,
    (calls.price_state = 'unpriced')::int + coalesce(adjusted.unpriced, 0) AS unpriced
FROM calls
LEFT JOIN (
    SELECT source_id, started_at, call_id, sum(cost_usd) AS cost_usd, sum(unpriced)::bigint AS unpriced
    FROM adjustments
    WHERE {scope} AND started_at >= %(start)s AND started_at < %(end)s
    GROUP BY source_id, started_at, call_id
) AS adjusted USING (source_id, started_at, call_id)
WHERE calls.{scope} AND started_at >= %(start)s AND started_at < %(end)s
    AND price_state IN ('priced', 'free', 'unpriced')
    AND (%(model)s = '' OR %(model)s IN (model, served_model))
