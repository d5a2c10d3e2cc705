INSERT INTO price_versions (price_id, provider, model, origin, rates)
VALUES (%(price_id)s, %(provider)s, %(model)s, %(origin)s, %(rates)s::jsonb)
ON CONFLICT DO NOTHING
