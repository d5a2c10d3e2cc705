-- Which traces have spans of the calls that were just recorded.
SELECT trace_id FROM sightings WHERE source_id = %(source_id)s AND trace_id = ANY(%(trace_ids)s)
UNION
SELECT trace_id FROM sightings
WHERE source_id = %(source_id)s AND response_id <> '' AND response_id = ANY(%(response_ids)s)
