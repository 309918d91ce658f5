-- An incident ends after five normal minutes. (The sum of five minutes is calm only four minutes after the storm.)
CALL storm(240, 245);
CALL look();
CALL calm(245, 258);
CALL look();
SELECT * FROM log;

-- It returns within ten minutes of its end: it is the same one, under its number.
CALL storm(258, 260);
CALL look();
SELECT state, to_char(opened_at AT TIME ZONE 'UTC', 'HH24:MI') AS opened FROM incidents;
CALL calm(260, 290);
CALL look();

-- What comes later is another.
CALL storm(290, 292);
CALL look();
SELECT * FROM log;
SELECT count(*) AS incidents, count(*) FILTER (WHERE state = 'open') AS open FROM incidents;

-- Minutes without any data end nothing.
CALL calm(330, 331);
CALL look();
SELECT series, state FROM incidents ORDER BY id;
SELECT bool_and(same) AS models_equal_a_refold FROM verify_models();
