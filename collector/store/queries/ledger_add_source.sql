INSERT INTO sources (source_id, tenant_id, host, name) VALUES (%(source_id)s, %(tenant_id)s, %(host)s, %(name)s)
ON CONFLICT DO NOTHING
