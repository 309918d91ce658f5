-- By default one critical minute opens an incident, and five normal ones end it. A rule may ask for more.
SELECT set_rule('transactions', 'denied', open_after => 8, open_within => 10, resolve_after => 12);
CALL look();

-- Two bad minutes are six with the sums of five minutes that hold them: not enough.
CALL storm(240, 242);
CALL look();
CALL calm(242, 260);
CALL look();
SELECT count(*) FROM incidents;

-- Eight minutes are.
CALL storm(260, 268);
CALL look();
SELECT event, notice, bucket FROM log;

-- Five normal ones are not the end, twelve are.
CALL calm(268, 282);
CALL look();
SELECT state FROM incidents;
CALL calm(282, 290);
CALL look();
SELECT event, notice, bucket FROM log;

-- No rule changes what is learned.
SELECT bool_and(same) AS models_equal_a_refold FROM verify_models();
SELECT series, to_char(opened_at AT TIME ZONE 'UTC', 'HH24:MI') AS opened, to_char(resolved_at AT TIME ZONE 'UTC', 'HH24:MI') AS resolved
  FROM backtest_monitor('transactions', minute(0), minute(400));

-- An incident that was recorded is not retracted because of another rule.
SELECT set_rule('transactions', 'denied', open_after => 20, open_within => 20);
INSERT INTO transactions (time, status, count) VALUES (minute(100), 'denied', 1);
CALL look();
SELECT state FROM incidents;

SELECT set_rule('transactions', 'denied', open_after => 5, open_within => 3);
SELECT set_rule('transactions', 'denied', resolve_after => 0);
