-- One page of a tenant's calls, newest first, by keyset: the next page begins after (before_at, before_id).
SELECT
    call_id, started_at, upstream, api, provider, operation, team, project, route, environment, key_id, end_user,
    model, served_model, stream, status, outcome, error_type, finish_reason,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    usage_source, usage_problem, cost_usd, price_state, price_id,
    duration_ms, first_byte_ms, first_content_ms, relay_ms
FROM calls
WHERE {scope} {filters}
ORDER BY started_at DESC, call_id DESC
LIMIT %(limit)s
