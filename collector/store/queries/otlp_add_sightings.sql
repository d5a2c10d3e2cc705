-- Those that were not there before: who sends a span again changes nothing.
INSERT INTO sightings (
    source_id, trace_id, span_id, parent_span_id, kind, response_id, started_at_ns, ended_at_ns, call
)
SELECT %(source_id)s, found.*
FROM unnest(
    %(trace_ids)s::uuid[], %(span_ids)s::bytea[], %(parent_ids)s::bytea[], %(kinds)s::text[],
    %(response_ids)s::text[], %(started)s::bigint[], %(ended)s::bigint[], %(calls)s::bytea[]
) AS found
ON CONFLICT DO NOTHING
RETURNING trace_id, span_id
