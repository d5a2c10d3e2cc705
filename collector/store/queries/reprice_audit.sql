INSERT INTO audit (audit_id, tenant_id, who, action, why, before, after)
VALUES (%(audit_id)s, %(tenant)s, %(who)s, %(action)s, %(why)s, %(before)s::jsonb, %(after)s::jsonb)
