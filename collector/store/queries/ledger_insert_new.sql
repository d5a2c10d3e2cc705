-- Of rows that may be there already, only the new ones; the rollups count these.
INSERT INTO calls ({columns}) SELECT {columns} FROM arriving ON CONFLICT DO NOTHING RETURNING call_id
