-- While none of this changes, neither do keys and spend (but for what comes without a journal: see policy.py).
SELECT
    (SELECT coalesce(sum(calls), 0)::bigint FROM cursors) AS calls,
    (SELECT count(*) FROM audit WHERE tenant_id = %(tenant)s) AS audits,
    (SELECT count(*) FROM keys WHERE tenant_id = %(tenant)s) AS keys,
    (SELECT count(*) FROM keys WHERE tenant_id = %(tenant)s AND revoked_at IS NOT NULL) AS revoked,
    (SELECT value FROM settings WHERE name = 'reporting_zone') AS zone
