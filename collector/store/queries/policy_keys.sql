-- What a policy needs of a tenant's keys. Revoked ones count for the caps that they share.
SELECT key_id, key_hash, name, team, project, environment, secret_mark, revoked_at IS NOT NULL AS revoked
FROM keys
WHERE tenant_id = %(tenant)s
ORDER BY key_id
