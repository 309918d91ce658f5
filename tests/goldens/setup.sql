-- What every golden begins with: four calm hours, and words for what happens next. Minutes are counted from 08:00.
CREATE FUNCTION minute(m integer) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
  $$ SELECT timestamptz '2025-07-14 08:00+00' + make_interval(mins => m) $$;

-- The monitor looks, as the worker does when it is woken.
CREATE PROCEDURE look() LANGUAGE plpgsql AS $$ BEGIN PERFORM run_monitor(); END $$;

-- Minutes as usual, from one up to another.
CREATE PROCEDURE calm("from" integer, "to" integer) LANGUAGE sql AS $$
  INSERT INTO transactions (time, status, count)
  SELECT minute(m), s.status, greatest(0, s.mean + (s.spread * (abs(hashint4(m * 31 + s.salt)) % 1000 - 500) / 500.0)::int)
    FROM generate_series("from", "to" - 1) AS m,
         (VALUES ('approved', 120, 15, 1), ('denied', 6, 3, 2), ('failed', 0, 0, 3)) AS s (status, mean, spread, salt)
   ORDER BY m
$$;

-- Minutes in which so much is denied; all else is as usual.
CREATE PROCEDURE storm("from" integer, "to" integer, denied integer DEFAULT 40) LANGUAGE sql AS $$
  INSERT INTO transactions (time, status, count)
  SELECT minute(m), s.status, s.count
    FROM generate_series("from", "to" - 1) AS m,
         (VALUES ('approved', 120), ('denied', denied), ('failed', 0)) AS s (status, count)
   ORDER BY m
$$;

-- The clock moves on: what is recorded is so much older.
CREATE PROCEDURE pass(span interval) LANGUAGE sql AS $$
  UPDATE alerts SET at = at - span;
  UPDATE silences SET until = until - span, created_at = created_at - span;
$$;

-- The log: what happened to which incident, and what was announced with it (nothing: it was only recorded).
CREATE VIEW log AS
SELECT dense_rank() OVER (ORDER BY incident) AS incident, event, notice, series,
       to_char(time AT TIME ZONE 'UTC', 'HH24:MI') AS bucket, severity, actor, note
  FROM alerts WHERE event <> 'progress' ORDER BY id;
