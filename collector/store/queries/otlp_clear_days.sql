DELETE FROM rollup_days WHERE source_id = %(source_id)s AND bucket = ANY(%(buckets)s) AND calls = 0
