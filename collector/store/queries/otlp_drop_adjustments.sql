-- What a call that is taken out was repriced by goes with it.
DELETE FROM adjustments WHERE source_id = %(source_id)s AND call_id = ANY(%(call_ids)s)
