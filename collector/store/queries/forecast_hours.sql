-- Spend and calls of each local hour, of the whole tenant or of each of its teams.
SELECT bucket, {team} AS team, sum(cost_usd) AS cost_usd, sum(calls)::bigint AS calls
FROM rollup_hours
WHERE {scope} AND bucket >= %(start)s AND bucket < %(end)s
GROUP BY 1, 2
