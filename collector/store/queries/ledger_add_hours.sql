INSERT INTO rollup_hours (
    source_id, bucket, tenant_id, team, provider, model, calls, errors, interrupted, unpriced, unknown_usage,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd
)
SELECT
    %(source_id)s, bucket, tenant_id, team, provider, model, calls, errors, interrupted, unpriced, unknown_usage,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd
FROM json_to_recordset(%(records)s::json) AS added (
    bucket timestamptz, tenant_id text, team text, provider text, model text, calls bigint, errors bigint,
    interrupted bigint, unpriced bigint, unknown_usage bigint, input_tokens bigint, output_tokens bigint,
    cache_read_tokens bigint, cache_write_tokens bigint, reasoning_tokens bigint, cost_usd numeric
)
ON CONFLICT (source_id, bucket, tenant_id, team, provider, model) DO UPDATE SET
    calls = rollup_hours.calls + excluded.calls,
    errors = rollup_hours.errors + excluded.errors,
    interrupted = rollup_hours.interrupted + excluded.interrupted,
    unpriced = rollup_hours.unpriced + excluded.unpriced,
    unknown_usage = rollup_hours.unknown_usage + excluded.unknown_usage,
    input_tokens = rollup_hours.input_tokens + excluded.input_tokens,
    output_tokens = rollup_hours.output_tokens + excluded.output_tokens,
    cache_read_tokens = rollup_hours.cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = rollup_hours.cache_write_tokens + excluded.cache_write_tokens,
    reasoning_tokens = rollup_hours.reasoning_tokens + excluded.reasoning_tokens,
    cost_usd = rollup_hours.cost_usd + excluded.cost_usd
