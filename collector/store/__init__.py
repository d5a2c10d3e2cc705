"""Postgres: tables, migrations' entry, partitions, named queries, and the server that comes along."""
