-- What a look at the ledger's health needs of one tenant: its newest call, and what could not become a row.
SELECT
    (SELECT max(started_at) FROM calls WHERE {scope}) AS last_call_at,
    (SELECT count(*) FROM quarantine) AS quarantined,
    (SELECT count(*) FROM sources) AS sources
