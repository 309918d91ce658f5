-- What opens and ends again and again is said to flap, once; then nothing, until it has come to rest.
CALL storm(240, 242);
CALL look();
CALL calm(242, 254);
CALL look();
CALL storm(254, 256);
CALL look();
CALL calm(256, 268);
CALL look();
CALL storm(268, 270);
CALL look();
CALL calm(270, 282);
CALL look();
SELECT event, notice, bucket FROM log;

-- The third return.
CALL storm(282, 284);
CALL look();
SELECT state, flapping FROM incidents;

-- Calm for as long as it took before, and worse again: nothing is said.
CALL calm(284, 296);
CALL look();
SELECT state, flapping FROM incidents;
CALL storm(296, 298);
CALL look();
CALL calm(298, 310);
CALL look();
SELECT event, notice, bucket FROM log;

-- Calm for twice as long: it is over.
CALL calm(310, 320);
CALL look();
SELECT event, notice, bucket FROM log;
SELECT count(*) AS incidents, min(state) AS state FROM incidents;
