DELETE FROM samples WHERE sampled_at < now() - make_interval(days => %(days)s)
