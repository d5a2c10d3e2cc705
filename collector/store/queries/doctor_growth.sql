-- How large each day of calls is, indexes included: the rate at which the database grows.
SELECT child.relname AS name, pg_total_relation_size(child.oid) AS bytes
FROM pg_inherits
JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = to_regclass('calls')
