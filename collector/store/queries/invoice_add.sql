-- Nothing where the same file was imported before.
INSERT INTO invoices (invoice_id, tenant_id, form, file_name, digest, who)
VALUES (%(invoice_id)s, %(tenant)s, %(form)s, %(file_name)s, %(digest)s, %(who)s)
ON CONFLICT (tenant_id, digest) DO NOTHING
RETURNING invoice_id
