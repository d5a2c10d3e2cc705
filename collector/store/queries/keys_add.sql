INSERT INTO keys (key_id, tenant_id, key_hash, secret_mark, last4, name, team, project, environment)
VALUES (
    %(key_id)s, %(tenant)s, %(key_hash)s, %(secret_mark)s, %(last4)s, %(name)s, %(team)s, %(project)s,
    %(environment)s
)
RETURNING key_id, name, team, project, environment, last4, secret_mark, created_at, revoked_at
