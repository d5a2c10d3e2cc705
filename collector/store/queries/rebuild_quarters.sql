SELECT date_bin('15 minutes', started_at, timestamptz 'epoch') FROM calls WHERE started_at >= %(kept_before)s
UNION
SELECT bucket FROM rollup_hours WHERE bucket < %(kept_before)s
UNION
SELECT bucket FROM latency_hours WHERE bucket < %(kept_before)s
UNION
SELECT date_bin('15 minutes', started_at, timestamptz 'epoch') FROM adjustments WHERE started_at >= %(kept_before)s
