-- Calls of a stretch of time whose tokens were not reported as such, by model.
SELECT
    provider,
    model,
    operation,
    count(*) FILTER (WHERE usage_source = 'estimated') AS estimated,
    count(*) FILTER (WHERE usage_source = 'derived') AS derived,
    count(*) FILTER (WHERE price_state = 'unknown_usage') AS unknown,
    coalesce(sum(cost_usd) FILTER (WHERE usage_source = 'estimated'), 0) AS estimated_usd,
    coalesce(sum(cost_usd) FILTER (WHERE usage_source = 'derived'), 0) AS derived_usd
FROM calls
WHERE {scope} AND started_at >= %(start)s AND started_at < %(end)s
    AND (usage_source IN ('estimated', 'derived') OR price_state = 'unknown_usage')
GROUP BY provider, model, operation
ORDER BY estimated_usd DESC, provider, model, operation
