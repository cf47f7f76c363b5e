-- Nodes tell the platform's keys from the tenants', because only the platform's may let a member look at an app.
GRANT SELECT (kind) ON keys TO fanfare_feed;

-- The dashboard listens to what happens in an app.
UPDATE keys SET capabilities = '{"$stats:*":["subscribe"],"$debug:*":["subscribe","history"],"**":["subscribe","history","sign"]}'
    WHERE kind = 'platform';
