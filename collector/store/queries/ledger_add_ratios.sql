INSERT INTO usage_ratios (
    source_id, tenant_id, provider, model, operation, input_calls, request_bytes, input_tokens,
    most_request_bytes, output_calls, content_chars, output_tokens, event_calls, input_tests, input_actual,
    input_guessed, input_off, output_tests, output_actual, output_guessed, output_off
)
SELECT
    %(source_id)s, tenant_id, provider, model, operation, input_calls, request_bytes, input_tokens,
    most_request_bytes, output_calls, content_chars, output_tokens, event_calls, input_tests, input_actual,
    input_guessed, input_off, output_tests, output_actual, output_guessed, output_off
FROM json_to_recordset(%(records)s::json) AS added (
    tenant_id text, provider text, model text, operation text, input_calls bigint, request_bytes bigint,
    input_tokens bigint, most_request_bytes bigint, output_calls bigint, content_chars bigint,
    output_tokens bigint, event_calls bigint, input_tests bigint, input_actual bigint, input_guessed bigint,
    input_off bigint, output_tests bigint, output_actual bigint, output_guessed bigint, output_off bigint
)
ON CONFLICT (source_id, tenant_id, provider, model, operation) DO UPDATE SET
    input_calls = usage_ratios.input_calls + excluded.input_calls,
    request_bytes = usage_ratios.request_bytes + excluded.request_bytes,
    input_tokens = usage_ratios.input_tokens + excluded.input_tokens,
    most_request_bytes = greatest(usage_ratios.most_request_bytes, excluded.most_request_bytes),
    output_calls = usage_ratios.output_calls + excluded.output_calls,
    content_chars = usage_ratios.content_chars + excluded.content_chars,
    output_tokens = usage_ratios.output_tokens + excluded.output_tokens,
    event_calls = usage_ratios.event_calls + excluded.event_calls,
    input_tests = usage_ratios.input_tests + excluded.input_tests,
    input_actual = usage_ratios.input_actual + excluded.input_actual,
    input_guessed = usage_ratios.input_guessed + excluded.input_guessed,
    input_off = usage_ratios.input_off + excluded.input_off,
    output_tests = usage_ratios.output_tests + excluded.output_tests,
    output_actual = usage_ratios.output_actual + excluded.output_actual,
    output_guessed = usage_ratios.output_guessed + excluded.output_guessed,
    output_off = usage_ratios.output_off + excluded.output_off
