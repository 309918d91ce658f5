-- An incident opens, somebody takes it, it ends: each is recorded once and announced once.
CALL storm(240, 245);
CALL look();
SELECT state, acknowledged_by FROM incidents;

-- For an hour nobody does anything. Then somebody is reminded, once an hour.
CALL pass('59 minutes');
CALL look();
SELECT event, notice FROM log;
CALL pass('2 minutes');
CALL look();
CALL look();
SELECT event, notice FROM log;

-- "Mine": who, when, and a note.
SELECT acknowledge_incident(id, 'calling the issuer') IS NOT NULL AS done FROM incidents;
SELECT state, acknowledged_by, note FROM incidents;

-- What is acknowledged reminds nobody.
CALL pass('5 hours');
CALL look();

CALL calm(245, 265);
CALL look();
SELECT * FROM log;
SELECT state, acknowledged_by, note, to_char(resolved_at AT TIME ZONE 'UTC', 'HH24:MI') AS resolved FROM incidents;
