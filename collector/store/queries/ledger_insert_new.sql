-- Of rows that may be there already, only the new ones; the rollups count these.
INSERT INTO calls ({columns}) SELECT {columns} FROM arriving ON CONFLICT DO NOTHING
RETURNING source_id, (extract(epoch FROM started_at) * 1000000)::bigint, call_id
