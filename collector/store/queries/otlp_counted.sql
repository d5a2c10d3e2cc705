-- The calls that stand in the ledger because of spans of these traces.
SELECT started_at, call_id, trace_id FROM calls WHERE source_id = %(source_id)s AND trace_id = ANY(%(trace_ids)s)
