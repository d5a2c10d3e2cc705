-- What the doctor asks of the server: its kind, how full it is, and what its clock says.
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::int AS version_number,
    current_setting('server_encoding') AS encoding,
    pg_database_size(current_database()) AS size_bytes,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    current_setting('max_connections')::int AS most_connections,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS read_only
