-- What relays recorded of the same traces and replies. A reply's id has no index: the time bounds the search.
SELECT trace_id, span_id, parent_span_id, response_id, started_at, duration_ms
FROM calls
WHERE tenant_id = %(tenant_id)s AND source_id <> %(source_id)s AND trace_id = ANY(%(trace_ids)s)
    AND started_at BETWEEN %(first)s::timestamptz - interval '1 day' AND %(last)s::timestamptz + interval '1 day'
UNION
SELECT trace_id, span_id, parent_span_id, response_id, started_at, duration_ms
FROM calls
WHERE tenant_id = %(tenant_id)s AND source_id <> %(source_id)s
    AND response_id <> '' AND response_id = ANY(%(response_ids)s)
    AND started_at BETWEEN %(first)s::timestamptz AND %(last)s::timestamptz
