-- The relay's own share of the newest calls since an instant, as it measured it itself.
SELECT
    count(*) AS calls,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY relay_ms) AS relay_p50_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY relay_ms) AS relay_p99_ms,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS duration_p50_ms
FROM (
    SELECT relay_ms, duration_ms
    FROM calls
    WHERE {scope} AND started_at >= %(since)s AND relay_ms IS NOT NULL AND outcome <> 'refused'
    ORDER BY started_at DESC
    LIMIT 100000
) AS newest
