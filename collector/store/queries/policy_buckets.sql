-- Spend of a tenant since the month began, by bucket and team: whole days before today, hours of today.
SELECT bucket, team, sum(calls)::bigint AS calls, sum(cost_usd) AS cost_usd
FROM rollup_days
WHERE tenant_id = %(tenant)s AND bucket >= %(month_start)s AND bucket < %(day_start)s
GROUP BY bucket, team
UNION ALL
SELECT bucket, team, sum(calls)::bigint AS calls, sum(cost_usd) AS cost_usd
FROM rollup_hours
WHERE tenant_id = %(tenant)s AND bucket >= %(day_start)s AND bucket < %(day_end)s
GROUP BY bucket, team
