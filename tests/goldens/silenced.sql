-- A silence: what happens is recorded and not announced.
SELECT silence_alerts('transactions', 'denied', now() + interval '2 hours', 'the issuer knows') AS silence;
CALL storm(240, 245, 14);
CALL look();
CALL storm(245, 248);
CALL look();
SELECT * FROM log;
SELECT state FROM incidents;

-- A view shows what each silence hid.
SELECT silence, created_by, event, series, severity FROM silenced_alerts ORDER BY alert;

-- Its end comes while the incident is open: that is announced, once.
CALL pass('2 hours');
CALL look();
CALL look();
SELECT event, notice, severity FROM log;
SELECT id, series, reason, created_by, ended_by IS NULL AS expired, settled_at IS NOT NULL AS settled FROM silences;

-- From now on it is heard again.
CALL calm(248, 300);
CALL look();
SELECT event, notice FROM log;

-- A silence over an incident that is already open, ended by hand before it expires.
CALL storm(300, 303);
CALL look();
SELECT silence_alerts('transactions', NULL, now() + interval '1 day', 'known') AS silence;
CALL storm(303, 306);
CALL look();
SELECT end_silence(2);
SELECT event, notice, actor FROM log WHERE incident = 2;

-- What was announced and ended under a silence: its end is told when the silence has ended.
SELECT silence_alerts('transactions', NULL, now() + interval '1 day') AS silence;
CALL calm(306, 330);
CALL look();
SELECT event, notice FROM log WHERE incident = 2;
CALL pass('1 day');
CALL look();
CALL look();
SELECT event, notice FROM log WHERE incident = 2;

-- What began and ended under a silence leaves nothing to tell.
SELECT silence_alerts('transactions', NULL, now() + interval '1 hour') AS silence;
CALL storm(330, 333);
CALL look();
CALL calm(333, 360);
CALL look();
CALL pass('1 hour');
CALL look();
SELECT event, notice, series FROM log WHERE incident = 3;

-- A silence needs an end, and a monitor.
SELECT silence_alerts('transactions', 'denied', now() - interval '1 minute');
SELECT silence_alerts('transactions', 'denied', 'infinity');
SELECT silence_alerts('nowhere', 'denied', now() + interval '1 hour');
SELECT end_silence(1);
