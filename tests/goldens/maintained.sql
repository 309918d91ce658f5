-- Maintenance from 12:00 to 12:30: what comes then pages nobody and teaches nothing.
SELECT add_maintenance('transactions', tstzrange(minute(240), minute(270)), 'a new acquirer') AS window;
CALL look();
CALL storm(240, 265);
CALL look();
CALL calm(270, 300);
CALL look();
SELECT * FROM log;
SELECT verdict, reason, count(*) FROM scored_series('1 hour', minute(290), 'transactions', 'denied') GROUP BY 1, 2 ORDER BY 1;
SELECT bool_and(same) AS models_equal_a_refold FROM verify_models();

-- The rows are told so when they come.
INSERT INTO transactions (time, status, count) VALUES (minute(269), 'denied', 40) RETURNING verdict;

-- An incident that began before goes on after: no data ends nothing.
SELECT add_maintenance('transactions', tstzrange(minute(305), minute(325)));
CALL look();
CALL storm(300, 325);
CALL look();
SELECT state FROM incidents;
CALL calm(325, 345);
CALL look();
SELECT * FROM log;

-- A window in the past: what it caused is retracted, and what it taught forgotten.
CALL storm(345, 350);
CALL look();
CALL calm(350, 370);
CALL look();
SELECT event, notice, bucket FROM log WHERE incident = 2;
SELECT add_maintenance('transactions', tstzrange(minute(345), minute(350)), 'forgotten to say');
CALL look();
SELECT event, notice, bucket FROM log WHERE incident = 2;
SELECT bool_and(same) AS models_equal_a_refold FROM verify_models();
SELECT series, to_char(opened_at AT TIME ZONE 'UTC', 'HH24:MI') AS opened FROM backtest_monitor('transactions', minute(0), minute(400));

-- It can be taken back.
SELECT remove_maintenance(id) FROM maintenance WHERE reason = 'forgotten to say';
CALL look();
SELECT event, notice, bucket FROM log WHERE incident = 2;
SELECT bool_and(same) AS models_equal_a_refold FROM verify_models();

-- It has a beginning and an end, and a monitor.
SELECT add_maintenance('transactions', tstzrange(minute(0), NULL));
SELECT add_maintenance('nowhere', tstzrange(minute(0), minute(60)));
SELECT remove_maintenance(99);
SELECT remove_maintenance(NULL);
