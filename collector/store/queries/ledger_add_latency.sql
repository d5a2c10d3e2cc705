INSERT INTO latency_hours (source_id, bucket, tenant_id, upstream, model, measure, bin, calls)
SELECT %(source_id)s, bucket, tenant_id, upstream, model, measure, bin, calls
FROM json_to_recordset(%(records)s::json) AS added (
    bucket timestamptz, tenant_id text, upstream text, model text, measure text, bin smallint, calls bigint
)
ON CONFLICT (source_id, bucket, tenant_id, upstream, model, measure, bin)
DO UPDATE SET calls = latency_hours.calls + excluded.calls
