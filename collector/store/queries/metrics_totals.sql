-- Everything ever counted, by the labels that Prometheus sees. rollup_days only grows, so these are counters.
SELECT
    team, provider, model,
    sum(calls)::bigint AS calls,
    sum(errors)::bigint AS errors,
    sum(interrupted)::bigint AS interrupted,
    sum(unpriced)::bigint AS unpriced,
    sum(unknown_usage)::bigint AS unknown_usage,
    sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    sum(cache_read_tokens)::bigint AS cache_read_tokens,
    sum(cache_write_tokens)::bigint AS cache_write_tokens,
    sum(cost_usd) AS cost_usd,
    min(bucket) FILTER (WHERE calls > errors) AS first_answered_at
FROM rollup_days
WHERE {scope}
GROUP BY team, provider, model
