-- One call with the rates it was priced with, and by how much its cost was adjusted since. The window prunes partitions: a UUIDv7 tells its time.
SELECT
    calls.*,
    price_versions.rates AS price_rates,
    price_versions.origin AS price_origin,
    price_versions.provider AS price_provider,
    price_versions.model AS price_model,
    (
        SELECT sum(adjustments.cost_usd) FROM adjustments
        WHERE adjustments.call_id = calls.call_id AND adjustments.source_id = calls.source_id
    ) AS adjusted_usd,
    sources.host AS source_host,
    sources.name AS source_name
FROM (
    SELECT * FROM calls
    WHERE {scope} AND call_id = %(call_id)s AND started_at >= %(earliest)s AND started_at < %(latest)s
    LIMIT 1
) AS calls
LEFT JOIN price_versions ON price_versions.price_id = calls.price_id
LEFT JOIN sources ON sources.source_id = calls.source_id
