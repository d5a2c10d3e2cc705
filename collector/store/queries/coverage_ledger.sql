-- What the ledger says, by UTC day and model: providers bill in UTC, whatever zone reports are in.
SELECT
    (started_at AT TIME ZONE 'UTC')::date AS day, provider, model,
    sum(counted)::bigint AS calls, sum(unpriced)::bigint AS unpriced, sum(unknown_usage)::bigint AS unknown_usage,
    coalesce(sum(cost_usd), 0) AS cost_usd
FROM (
    SELECT
        started_at, provider, coalesce(nullif(served_model, ''), model) AS model, 1::bigint AS counted,
        (price_state = 'unpriced')::int::bigint AS unpriced,
        (price_state = 'unknown_usage')::int::bigint AS unknown_usage, cost_usd
    FROM calls
    WHERE {scope} AND started_at >= %(start)s AND started_at < %(end)s AND provider <> ''
    UNION ALL
    SELECT started_at, provider, model, 0, unpriced, unknown_usage, cost_usd
    FROM adjustments
    WHERE {scope} AND started_at >= %(start)s AND started_at < %(end)s AND provider <> ''
) AS spent
GROUP BY 1, 2, 3
