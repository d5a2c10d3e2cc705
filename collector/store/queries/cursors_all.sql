-- How far each journal has been recorded. Journals of other hosts are among them.
SELECT source_id, segment, byte_offset, calls, updated_at FROM cursors
