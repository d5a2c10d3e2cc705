-- Every key of a tenant that was ever made.
SELECT key_id, name, team, project, environment, last4, secret_mark, created_at, revoked_at
FROM keys
WHERE tenant_id = %(tenant)s
ORDER BY created_at, key_id
