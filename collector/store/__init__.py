"""Postgres: tables, migrations' entry, partitions, named queries, and the embedded server that comes along."""
