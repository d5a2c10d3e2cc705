DELETE FROM sightings WHERE seen_at < now() - make_interval(days => %(days)s)
