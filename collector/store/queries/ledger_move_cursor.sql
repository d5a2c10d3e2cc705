-- Compare and set: who read from another place than the ledger's own moves nothing and writes nothing.
-- The zone is read here, in the transaction, so that the rollups of a batch are aligned to the one that holds.
UPDATE cursors
SET segment = %(segment)s, byte_offset = %(byte_offset)s, calls = calls + %(calls)s, updated_at = now()
WHERE source_id = %(source_id)s AND segment = %(old_segment)s AND byte_offset = %(old_byte_offset)s
RETURNING (SELECT value FROM settings WHERE name = 'reporting_zone')
