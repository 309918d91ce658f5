-- An outage: approvals fall and failures rise. It is one group with one notice, the worst first.
INSERT INTO transactions (time, status, count)
SELECT minute(m), s.status, s.count FROM generate_series(240, 249) AS m,
       (VALUES ('approved', 30), ('denied', 6), ('failed', 25)) AS s (status, count) ORDER BY m;
CALL look();
SELECT incident, event, notice, series, severity FROM log;
SELECT state, severity, series, cardinality(incidents) AS incidents FROM incident_groups;
SELECT payload ->> 'event' AS event, payload ->> 'series' AS series, m ->> 'series' AS member, m ->> 'direction' AS direction
  FROM alerts, jsonb_array_elements(payload -> 'members') AS m;

-- A third series turns bad a little later. It joins: told at most once a minute.
INSERT INTO transactions (time, status, count)
SELECT minute(m), s.status, s.count FROM generate_series(250, 254) AS m,
       (VALUES ('approved', 30), ('denied', 40), ('failed', 25)) AS s (status, count) ORDER BY m;
CALL look();
SELECT incident, event, notice, series FROM log;
CALL pass('61 seconds');
CALL look();
CALL look();
SELECT incident, event, notice, series FROM log;

-- One of them ends: nothing is said while another goes on. The last one ends the group.
INSERT INTO transactions (time, status, count)
SELECT minute(m), s.status, s.count FROM generate_series(255, 270) AS m,
       (VALUES ('approved', 120), ('denied', 40), ('failed', 0)) AS s (status, count) ORDER BY m;
CALL look();
SELECT incident, event, notice, series FROM log WHERE event = 'resolved';
SELECT state FROM incident_groups;
CALL calm(271, 290);
CALL look();
SELECT incident, event, notice, series FROM log WHERE event = 'resolved';
SELECT state, series FROM incident_groups;

-- In words, the raw rows behind it, and what the shift hands over.
SELECT topic, words FROM explain_incident(1) WHERE topic IN ('what', 'why', 'together with');
SELECT count(*), min(row ->> 'count') AS least, max(row ->> 'count') AS most FROM incident_rows(1);
SELECT state, severity, series, notices, hidden FROM shift_report(minute(0), minute(300));
