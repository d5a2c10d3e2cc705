-- How far off estimates were, tried on calls that reported: sums over the fleet, since ever.
SELECT
    provider, model, operation,
    sum(input_tests)::bigint AS input_tests,
    sum(input_actual)::bigint AS input_actual,
    sum(input_guessed)::bigint AS input_guessed,
    sum(input_off)::bigint AS input_off,
    sum(output_tests)::bigint AS output_tests,
    sum(output_actual)::bigint AS output_actual,
    sum(output_guessed)::bigint AS output_guessed,
    sum(output_off)::bigint AS output_off
FROM usage_ratios
WHERE {scope}
GROUP BY provider, model, operation
ORDER BY provider, model, operation
