SELECT segment, byte_offset FROM cursors WHERE source_id = %(source_id)s
