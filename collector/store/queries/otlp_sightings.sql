-- All that was seen of some traces, and of the replies that they name, in whichever trace.
SELECT trace_id, span_id, parent_span_id, kind, response_id, started_at_ns, ended_at_ns, call
FROM sightings
WHERE source_id = %(source_id)s AND trace_id = ANY(%(trace_ids)s)
UNION
SELECT trace_id, span_id, parent_span_id, kind, response_id, started_at_ns, ended_at_ns, call
FROM sightings
WHERE source_id = %(source_id)s AND response_id <> '' AND response_id = ANY(%(response_ids)s)
