-- Which models were called lately, and how much of that has no cost, and why.
SELECT
    provider,
    model,
    sum(calls)::bigint AS calls,
    sum(unpriced)::bigint AS unpriced,
    sum(unknown_usage)::bigint AS unknown_usage,
    sum(input_tokens + output_tokens)::bigint AS tokens
FROM rollup_hours
WHERE {scope} AND bucket >= %(since)s
GROUP BY provider, model
ORDER BY calls DESC, provider, model
LIMIT 1000
