-- What all journals of the fleet taught about each model.
SELECT
    tenant_id, provider, model, operation,
    sum(input_calls)::bigint AS input_calls,
    sum(request_bytes)::bigint AS request_bytes,
    sum(input_tokens)::bigint AS input_tokens,
    max(most_request_bytes) AS most_request_bytes,
    sum(output_calls)::bigint AS output_calls,
    sum(content_chars)::bigint AS content_chars,
    sum(output_tokens)::bigint AS output_tokens,
    sum(event_calls)::bigint AS event_calls,
    sum(input_tests)::bigint AS input_tests,
    sum(input_actual)::bigint AS input_actual,
    sum(input_guessed)::bigint AS input_guessed,
    sum(input_off)::bigint AS input_off,
    sum(output_tests)::bigint AS output_tests,
    sum(output_actual)::bigint AS output_actual,
    sum(output_guessed)::bigint AS output_guessed,
    sum(output_off)::bigint AS output_off
FROM usage_ratios
GROUP BY tenant_id, provider, model, operation
