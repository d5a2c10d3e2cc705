DELETE FROM calls
USING unnest(%(started)s::timestamptz[], %(call_ids)s::uuid[]) AS gone (started_at, call_id)
WHERE calls.source_id = %(source_id)s AND calls.started_at = gone.started_at AND calls.call_id = gone.call_id
RETURNING {columns}
