-- A journal seen for the first time: it begins before its first segment.
INSERT INTO cursors (source_id, segment, byte_offset) VALUES (%(source_id)s, 0, 0) ON CONFLICT DO NOTHING
