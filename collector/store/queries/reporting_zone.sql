-- The one zone in which the rollups' hours and days begin.
SELECT value FROM settings WHERE name = 'reporting_zone'
