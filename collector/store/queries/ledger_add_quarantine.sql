INSERT INTO quarantine (source_id, segment, byte_offset, reason, frame)
VALUES (%(source_id)s, %(segment)s, %(byte_offset)s, %(reason)s, %(frame)s)
ON CONFLICT DO NOTHING
