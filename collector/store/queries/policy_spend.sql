-- Spend of some projects and keys between two instants, from the calls and their adjustments: no rollup
-- knows those.
SELECT project, key_id, sum(cost_usd) AS cost_usd
FROM (
    SELECT project, key_id, cost_usd
    FROM calls
    WHERE tenant_id = %(tenant)s AND started_at >= %(start)s AND started_at < %(end)s
      AND (project = ANY(%(projects)s) OR key_id = ANY(%(key_ids)s)) AND cost_usd IS NOT NULL
    UNION ALL
    SELECT project, key_id, cost_usd
    FROM adjustments
    WHERE tenant_id = %(tenant)s AND started_at >= %(start)s AND started_at < %(end)s
      AND (project = ANY(%(projects)s) OR key_id = ANY(%(key_ids)s))
) AS spent
GROUP BY project, key_id
