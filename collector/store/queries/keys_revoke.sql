UPDATE keys SET revoked_at = coalesce(revoked_at, now())
WHERE tenant_id = %(tenant)s AND key_id = %(key_id)s
RETURNING key_id, name, team, project, environment, last4, secret_mark, created_at, revoked_at
