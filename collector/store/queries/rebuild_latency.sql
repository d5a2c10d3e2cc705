-- The bins are the recorder's: 8 an octave of microseconds. The small summand mends powers of two, whose
-- quotient of logarithms may come out a hair below the whole number it is.
INSERT INTO rebuilt_latency
SELECT source_id, hour, tenant_id, upstream, model, measure, bin, sum(calls)
FROM (
    SELECT source_id, bucket AS quarter, tenant_id, upstream, model, measure, bin, calls
    FROM latency_hours
    WHERE bucket < %(kept_before)s
    UNION ALL
    SELECT
        source_id, date_bin('15 minutes', started_at, timestamptz 'epoch'), tenant_id, upstream,
        coalesce(nullif(served_model, ''), model), measure,
        floor(ln(greatest(round(took_ms * 1000), 1)) / ln(2::double precision) * 8 + 1e-9)::smallint, 1
    FROM calls
    CROSS JOIN LATERAL (
        VALUES ('duration', duration_ms), ('first_content', first_content_ms), ('relay', relay_ms)
    ) AS measured (measure, took_ms)
    WHERE started_at >= %(kept_before)s AND took_ms IS NOT NULL
) AS counted
JOIN rebuilt_quarters USING (quarter)
GROUP BY source_id, hour, tenant_id, upstream, model, measure, bin
