-- What was invoiced, by day and model. Of several invoices about one provider's day the newest counts: what is
-- fetched every day overlaps, and the last word is the provider's.
WITH newest AS (
    SELECT DISTINCT ON (invoice_lines.provider, invoice_lines.day)
        invoice_lines.provider, invoice_lines.day, invoice_lines.invoice_id
    FROM invoice_lines
    JOIN invoices USING (invoice_id)
    WHERE invoice_lines.{scope} AND invoice_lines.day >= %(first)s AND invoice_lines.day < %(last)s
    ORDER BY invoice_lines.provider, invoice_lines.day, invoices.imported_at DESC, invoice_lines.invoice_id
)
SELECT day, provider, model, kind, project, sum(cost_usd) AS cost_usd
FROM invoice_lines
JOIN newest USING (provider, day, invoice_id)
GROUP BY day, provider, model, kind, project
