"""From the journal to the ledger: calls are priced, told as OpenTelemetry spans, and written to Postgres."""
