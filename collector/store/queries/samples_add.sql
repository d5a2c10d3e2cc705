INSERT INTO samples (source_id, name, series, sampled_at, tenant_id, host, kind, value)
SELECT
    %(source_id)s, name, series, to_timestamp(at_us / 1000000) + (at_us %% 1000000) * interval '1 microsecond',
    %(tenant_id)s, host, kind, value
FROM unnest(
    %(names)s::text[], %(series)s::text[], %(at_us)s::bigint[], %(hosts)s::text[], %(kinds)s::text[],
    %(numbers)s::double precision[]
) AS found (name, series, at_us, host, kind, value)
ON CONFLICT DO NOTHING
