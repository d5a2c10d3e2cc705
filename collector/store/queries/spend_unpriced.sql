-- Models that had calls with usage and no price, and on which days.
SELECT
    provider,
    model,
    sum(unpriced)::bigint AS unpriced,
    sum(calls)::bigint AS calls,
    sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    min(bucket) FILTER (WHERE unpriced > 0) AS first_at,
    max(bucket) FILTER (WHERE unpriced > 0) AS last_at
FROM rollup_days
WHERE {scope} AND bucket >= %(start)s AND bucket < %(end)s
GROUP BY provider, model
HAVING sum(unpriced) > 0
ORDER BY unpriced DESC, provider, model
