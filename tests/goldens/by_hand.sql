-- Somebody says that an incident is over, though its readings say that it goes on.
CALL storm(240, 245);
CALL look();
SELECT resolve_incident(id, 'a test of the acquirer') IS NOT NULL AS done FROM incidents;
SELECT state, resolved_by FROM incidents;

-- The readings go on, and nobody hears of it.
CALL storm(245, 250);
CALL look();
SELECT event, notice, actor, note FROM log;
SELECT state FROM incidents;

-- They come to rest, and return soon after: that is a word worth.
CALL calm(250, 262);
CALL look();
CALL storm(262, 264);
CALL look();
SELECT event, notice, bucket, actor FROM log;
SELECT state FROM incidents;

-- What is over cannot be resolved or acknowledged.
CALL calm(264, 285);
CALL look();
SELECT resolve_incident(id) FROM incidents;
SELECT acknowledge_incident(id) FROM incidents;
