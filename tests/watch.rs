//! Tables of one's own, watched.

use testbed::monitored::{calm_sql, Monitored, EPOCH, SOON};
use testbed::Cluster;

const PAYMENTS: &str =
    "CREATE TABLE payments (id bigserial, created timestamptz NOT NULL, status text, merchant integer, amount numeric);";

/// A calm stretch of raw events, two series columns, one of them NULL at times.
const CALM: &str = "INSERT INTO payments (created, status, merchant) \
    SELECT timestamptz '2025-07-14 08:00+00' + make_interval(mins => m, secs => e), 'denied', NULLIF(k, 3) \
      FROM generate_series(0, 179) m, generate_series(1, 3) k, generate_series(1, 4 + (m + k) % 3) e";

#[test]
fn raw_events_by_two_columns() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "raw_events");
    m.run(PAYMENTS);
    assert_eq!(
        m.text(
            "SELECT watch_table('payments', 'created', NULL, '{status,merchant}', name => 'pay')"
        ),
        "pay"
    );
    let listener = m.listen();
    m.run(CALM);
    m.assert_models_of("pay");
    assert_eq!(m.number("SELECT count(*) FROM alerts"), 0);
    m.run(
        "INSERT INTO payments (created, status, merchant) \
         SELECT '2025-07-14 11:00:30+00', 'denied', k FROM generate_series(1, 2) k, generate_series(1, 5 + 40 * (k - 1))",
    );
    m.until(
        "SELECT string_agg(monitor || ' ' || series || ' ' || (labels->>'merchant'), ';') FROM incidents WHERE state = 'open'",
        "pay status=denied,merchant=2 2",
    );
    assert!(listener.wait_for(1, SOON)[0]
        .payload
        .contains("\"monitor\":\"pay\""));
    m.assert_models_of("pay");
    assert_eq!(
        m.rows("SELECT DISTINCT series FROM scored_series('10 minutes', '2025-07-14 11:00+00', 'pay') ORDER BY 1"),
        [["(total)"], ["status=denied,merchant=(null)"], ["status=denied,merchant=1"], ["status=denied,merchant=2"]]
    );
    m.run("UPDATE payments SET status = 'a,b=\"c\"' WHERE created >= '2025-07-14 11:00+00'");
    m.assert_models_of("pay");
    m.until(
        "SELECT count(*) FROM verify_models('pay') WHERE series = 'status=\"a,b=\"\"c\"\"\",merchant=2'",
        "1",
    );
    m.run("DELETE FROM payments WHERE created >= '2025-07-14 10:00+00'");
    m.assert_models_of("pay");
    m.run("TRUNCATE payments");
    m.assert_models_of("pay");

    m.run("SELECT unwatch_table('pay')");
    m.run(CALM);
    assert_eq!(m.number("SELECT count(*) FROM monitors"), 1);
    assert_eq!(
        m.number("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'payments'::regclass"),
        0
    );
    m.quiesce();
}

#[test]
fn watched_in_the_transaction_that_fills_it() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "one_transaction");
    m.run(&format!(
        "BEGIN; {PAYMENTS} SELECT watch_table('payments', 'created', NULL, '{{status}}'); {CALM}; COMMIT"
    ));
    m.until("SELECT monitors FROM monitor_health", "2");
    m.assert_models_of("payments");
    assert_eq!(
        m.text("SELECT split_part(detail, ' ', 1)::int >= 170 FROM verify_models('payments') WHERE series = 'denied'"),
        "t"
    );
    m.run(
        "BEGIN; CREATE TABLE other (at timestamptz); SELECT watch_table('other', 'at'); ROLLBACK",
    );
    m.assert_models_of("payments");
    m.run("DROP TABLE payments");
    m.assert_models();
}

#[test]
fn partitions_values_and_zones() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "partitioned");
    m.run(
        "CREATE TYPE outcome AS ENUM ('ok', 'bad'); \
         CREATE TABLE hourly (n bigint, outcome outcome, fraud boolean, at timestamptz) PARTITION BY RANGE (at); \
         CREATE TABLE hourly_1 PARTITION OF hourly FOR VALUES FROM ('2025-07-01') TO ('2025-07-16'); \
         CREATE TABLE hourly_2 (extra text, at timestamptz, fraud boolean, outcome outcome, n bigint); \
         ALTER TABLE hourly_2 DROP COLUMN extra; \
         ALTER TABLE hourly ATTACH PARTITION hourly_2 FOR VALUES FROM ('2025-07-16') TO ('2025-08-01'); \
         SELECT watch_table('hourly', 'at', 'n', '{outcome,fraud}', '1 hour', 'per hour', 'America/Sao_Paulo')",
    );
    m.run(
        "INSERT INTO hourly (at, outcome, fraud, n) \
         SELECT timestamptz '2025-07-02 00:00+00' + make_interval(hours => h), o::outcome, h % 2 = 0, 50 + h % 7 \
           FROM generate_series(0, 500) h, unnest('{ok,bad}'::text[]) o",
    );
    m.assert_models_of("per hour");
    assert_eq!(
        m.number(
            "SELECT count(*) FROM verify_models('per hour') WHERE series LIKE 'outcome=%,fraud=%'"
        ),
        4
    );
    m.run("INSERT INTO hourly (at, outcome, fraud, n) VALUES ('2025-07-22 21:00+00', 'bad', true, -5)");
    m.run("DROP TABLE hourly_1");
    m.quiesce();
}

#[test]
fn what_cannot_be_watched() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "unwatchable");
    m.run(PAYMENTS);
    m.run("CREATE VIEW seen AS SELECT * FROM payments; CREATE TABLE plain_time (at timestamp, n integer)");
    m.run("SELECT watch_table('payments', 'created', name => 'taken')");
    m.run("CREATE TEMPORARY TABLE passing (at timestamptz)");
    m.run(
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
         CREATE FOREIGN TABLE abroad (at timestamptz) SERVER files OPTIONS (filename '/dev/null')",
    );
    for (call, state) in [
        ("watch_table(NULL, 'created')", "22004"),
        ("watch_table('seen', 'created')", "42809"),
        ("watch_table('alerts', 'at')", "42809"),
        (
            "watch_table('transactions', 'time', name => 'again')",
            "42809",
        ),
        ("set_rule(NULL, 'denied', 'high')", "22004"),
        ("set_rule('transactions', NULL, 'high')", "22004"),
        ("set_rule('nowhere', 'denied', 'high')", "42704"),
        ("watch_table('passing', 'at')", "42809"),
        ("watch_table('abroad', 'at')", "42809"),
        ("watch_table('pg_authid', 'rolvaliduntil')", "42809"),
        (
            "watch_table('payments', 'created', NULL, '{status,status}')",
            "22023",
        ),
        (
            "watch_table('payments', 'created', NULL, '{{status,merchant},{id,id}}')",
            "22023",
        ),
        (
            "watch_table('payments', 'created', NULL, '{status,NULL}')",
            "22023",
        ),
        ("watch_table('payments', 'created', name => '')", "22023"),
        ("watch_table('payments', 'nowhere')", "42703"),
        ("watch_table('payments', 'created', 'nowhere')", "42703"),
        ("watch_table('payments', 'created', 'status')", "42804"),
        (
            "watch_table('payments', 'created', NULL, '{amount}')",
            "42804",
        ),
        ("watch_table('plain_time', 'at')", "42804"),
        (
            "watch_table('payments', 'created', bucket => '7 minutes')",
            "22023",
        ),
        (
            "watch_table('payments', 'created', bucket => '-1 minutes')",
            "22023",
        ),
        (
            "watch_table('payments', 'created', bucket => '1 month')",
            "22023",
        ),
        (
            "watch_table('payments', 'created', time_zone => 'Atlantis')",
            "22023",
        ),
        (
            "watch_table('payments', 'created', name => 'transactions')",
            "42710",
        ),
        (
            "watch_table('payments', 'created', name => 'taken')",
            "42710",
        ),
        ("unwatch_table('nowhere')", "42704"),
        ("unwatch_table('transactions')", "42704"),
    ] {
        let e = m.refused(&format!("SELECT {call}"));
        assert_eq!(e.code().code(), state, "{call}: {e:?}");
        assert!(e.detail().is_some() && e.hint().is_some(), "{call}: {e:?}");
    }
    assert_eq!(m.number("SELECT count(*) FROM watched"), 1);
    // An unlogged table is empty after a crash, and so are the models.
    m.run("CREATE UNLOGGED TABLE quick (at timestamptz); SELECT watch_table('quick', 'at')");
    m.run("INSERT INTO quick VALUES ('2025-07-14 08:00+00')");
    m.assert_models_of("quick");
}

#[test]
fn sums_beyond_bigint() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "enormous");
    m.run("CREATE TABLE sums (at timestamptz, kind text, n bigint); SELECT watch_table('sums', 'at', 'n', '{kind}')");
    let calm = |from: i64, to: i64| {
        format!(
            "INSERT INTO sums SELECT timestamptz '2025-07-14 08:00+00' + make_interval(mins => m), k, 100 + m % 7 \
               FROM generate_series({from}, {to}) m, unnest('{{a,b}}'::text[]) k ORDER BY m"
        )
    };
    m.run(&calm(0, 120));
    m.assert_models_of("sums");
    for at in ["10:01", "10:02"] {
        for value in [i64::MAX, i64::MIN, i64::MAX, i64::MAX] {
            m.run(&format!(
                "INSERT INTO sums SELECT '2025-07-14 {at}+00', k, {value} FROM unnest('{{a,b}}'::text[]) k"
            ));
        }
        m.assert_models_of("sums");
    }
    m.until(
        "SELECT string_agg(series || ' ' || direction, ',' ORDER BY series) FROM incidents WHERE series <> '(total)'",
        "a 1,b 1",
    );
    m.run(&calm(123, 170));
    m.run("INSERT INTO sums VALUES ('2025-07-14 10:49+00', 'a', NULL), ('2025-07-14 10:51+00', 'a', NULL)");
    m.assert_models_of("sums");
    m.run("UPDATE sums SET n = n / 2 WHERE n > 1000");
    m.assert_models_of("sums");
    m.run("DELETE FROM sums WHERE n > 1000 OR n < 0");
    m.assert_models_of("sums");
    assert_eq!(
        m.number(
            "SELECT count(*) FROM incidents WHERE state <> 'retracted' AND series <> '(total)'"
        ),
        0
    );
}

#[test]
fn monitors_come_and_go() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "come_and_go");
    m.run(&calm_sql(EPOCH, 0, 60));
    let mut other = m.connect();
    let rows = "INSERT INTO passing SELECT timestamptz '2025-07-14 08:00+00', k FROM unnest('{a,b,c}'::text[]) k";
    let watch = "CREATE TABLE passing (at timestamptz, kind text); SELECT watch_table('passing', 'at', NULL, '{kind}')";
    for i in 0..200 {
        if i % 20 == 0 {
            // In one transaction, in the middle of which the worker finds a cell of nobody it knows.
            m.run(&format!("BEGIN; {watch}; {rows}"));
            other
                .batch_execute("INSERT INTO transactions (time, status) VALUES ('2025-07-14 09:10+00', 'denied'); SELECT pg_sleep(0.1)")
                .unwrap();
            m.run(&format!("{rows}; COMMIT"));
            m.assert_models_of("passing");
            m.run(rows);
            m.assert_models_of("passing");
        } else {
            m.run(&format!("{watch}; {rows}"));
        }
        m.run("SELECT unwatch_table('passing'); DROP TABLE passing");
    }
    m.run("CREATE TABLE payments (at timestamptz, kind text); SELECT watch_table('payments', 'at', NULL, '{kind}')");
    m.run("INSERT INTO payments SELECT timestamptz '2025-07-14 08:00+00' + make_interval(mins => m), 'a' FROM generate_series(1, 100) m");
    m.assert_models_of("payments");
    m.assert_models();
    m.until("SELECT status FROM monitor_health", "ok");
    m.until(
        "SELECT monitors || ' ' || series FROM monitor_health",
        "2 4",
    );

    // More than there is room for.
    m.run("DO $$ BEGIN FOR i IN 1 .. 70 LOOP EXECUTE format('CREATE TABLE t%s (at timestamptz)', i); PERFORM watch_table(('t' || i)::regclass, 'at'); END LOOP; END $$");
    m.until(
        "SELECT status FROM monitor_health",
        "watched tables without room: 8 (64 are watched live at most)",
    );
    m.run("SELECT unwatch_table('t' || i) FROM generate_series(1, 70) i");
    m.until("SELECT status FROM monitor_health", "ok");
    m.assert_models_of("payments");
}

/// What a table looks like is not forever: the triggers of a session that has seen it otherwise read it as it is now.
#[test]
fn columns_that_change_their_types_and_names() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "altered");
    m.run("CREATE TABLE pay (at timestamptz NOT NULL, kind text, n integer); SELECT watch_table('pay', 'at', 'n', '{kind}')");
    let rows = |from: i64, to: i64| {
        format!(
            "INSERT INTO pay SELECT timestamptz '2025-07-14 08:00+00' + make_interval(mins => m), '7', 50 + m % 7 \
               FROM generate_series({from}, {to}) m"
        )
    };
    let mut other = m.connect();
    m.run(&rows(0, 200));
    m.quiesce();
    // A row of the session that was there before, after each change.
    other.batch_execute(&rows(201, 201)).unwrap();
    m.assert_models_of("pay");

    m.run("ALTER TABLE pay ALTER COLUMN n TYPE numeric");
    other
        .batch_execute("INSERT INTO pay VALUES ('2025-07-14 11:22+00', '7', 52.5), ('2025-07-14 11:23+00', '7', 1.25)")
        .unwrap();
    m.assert_models_of("pay");
    m.until(
        "SELECT string_agg(observed::text, ' ' ORDER BY time) FROM scored_series('3 minutes', '2025-07-14 11:24+00', 'pay') WHERE series = '7'",
        "55 52.5 1.25",
    );
    cluster.restart();
    m.reconnect();
    let mut other = m.connect();
    m.assert_models_of("pay");
    other.batch_execute(&rows(204, 210)).unwrap();
    m.assert_models_of("pay");

    m.run("ALTER TABLE pay ALTER COLUMN kind TYPE integer USING kind::integer, ALTER COLUMN n TYPE bigint");
    other
        .batch_execute(&rows(211, 212).replace("'7'", "7"))
        .unwrap();
    m.assert_models_of("pay");
    m.run("ALTER TABLE pay ALTER COLUMN kind TYPE text USING 'of kind ' || kind");
    m.run("SELECT run_monitor()");
    m.assert_models_of("pay");
    other.batch_execute(&rows(213, 220)).unwrap();
    m.assert_models_of("pay");
    m.until(
        "SELECT string_agg(DISTINCT series, ',') FROM scored_series('1 hour', '2025-07-14 12:00+00', 'pay')",
        "(total),7,of kind 7",
    );

    // Nothing of it matters to what is read, nor does VACUUM FULL: nothing is folded again.
    let refolds = m.number("SELECT refolds FROM monitor_stats");
    m.run("ALTER TABLE pay ALTER COLUMN n TYPE smallint, ALTER COLUMN kind TYPE varchar(20)");
    m.run("VACUUM FULL pay");
    m.run("SELECT run_monitor()");
    other.batch_execute(&rows(221, 222)).unwrap();
    m.assert_models_of("pay");
    assert_eq!(m.number("SELECT refolds FROM monitor_stats"), refolds);

    // A new column in the place of the old one, without a word of the rows that are there.
    m.run("ALTER TABLE pay RENAME COLUMN n TO old; ALTER TABLE pay ADD COLUMN n integer DEFAULT 3");
    m.run("SELECT run_monitor()");
    m.assert_models_of("pay");
    assert_eq!(m.text("SELECT status FROM monitor_health"), "ok");

    for (change, undo, sees) in [
        (
            "ALTER COLUMN n TYPE text",
            "ALTER COLUMN n TYPE integer USING 4",
            "column n of pay is of type text now, which cannot be its value column",
        ),
        (
            "RENAME COLUMN kind TO sort",
            "RENAME COLUMN sort TO kind",
            "pay has no column kind any more, its series column",
        ),
        (
            "ALTER COLUMN at TYPE timestamp",
            "ALTER COLUMN at TYPE timestamptz",
            "column at of pay is of type timestamp without time zone now, which cannot be its time column",
        ),
    ] {
        let errors = m.number("SELECT errors FROM monitor_health");
        m.run(&format!("ALTER TABLE pay {change}"));
        assert_eq!(
            m.text("SELECT reason FROM blind_spots WHERE monitor = 'pay' AND what = 'rows'"),
            sees
        );
        assert_eq!(
            m.text("SELECT status FROM monitor_health"),
            "not everything is seen: see blind_spots"
        );
        let row = "INSERT INTO pay (at, old) VALUES ('2025-07-14 08:10:00', 1)";
        other.batch_execute(row).unwrap();
        m.run(row);
        assert!(m.number("SELECT errors FROM monitor_health") >= errors + 2);
        let e = m.refused("SELECT * FROM scored_series('1 hour', '2025-07-14 12:00+00', 'pay')");
        assert_eq!(e.code().code(), "42703");
        // The others go on, whatever happens to the server meanwhile.
        m.assert_models();
        cluster.restart();
        m.reconnect();
        other = m.connect();
        m.run("INSERT INTO transactions (time, status) VALUES ('2025-07-14 09:10+00', 'denied')");
        m.assert_models();
        m.run(&format!("ALTER TABLE pay {undo}"));
        other.batch_execute(&rows(223, 224)).unwrap();
        m.assert_models_of("pay");
    }
}

/// Whoever owns a watched table gives the worker nothing to run: it reads as he would.
#[test]
fn a_table_is_read_as_its_owner() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "owned");
    m.run(
        "CREATE ROLE clerk LOGIN; CREATE SCHEMA shop AUTHORIZATION clerk; SET ROLE clerk; \
         CREATE TABLE shop.pay (at timestamptz NOT NULL, kind text, n integer); \
         CREATE TABLE shop.seen (who text); \
         CREATE FUNCTION shop.look(integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS \
           $$ BEGIN RAISE LOG 'looked as %', current_user; RETURN true; END $$; \
         CREATE INDEX ON shop.pay (at) WHERE shop.look(1); RESET ROLE; \
         SELECT watch_table('shop.pay', 'at', 'n', '{kind}')",
    );
    m.run(
        "INSERT INTO shop.pay SELECT timestamptz '2025-07-14 08:00+00' + make_interval(mins => k), 'card', 20 + k % 5 \
           FROM generate_series(0, 200) k; \
         INSERT INTO shop.pay VALUES ('2025-07-14 11:21+00', 'card', 300)",
    );
    m.assert_models_of("pay");
    m.until("SELECT state FROM incidents WHERE series = 'card'", "open");
    cluster.restart();
    m.reconnect();
    m.assert_models_of("pay");
    let log = cluster.log();
    let looked: Vec<&str> = log
        .lines()
        .filter(|l| l.contains("] cloudwalk_monitor LOG:  looked as"))
        .collect();
    assert!(
        !looked.is_empty() && looked.iter().all(|l| l.contains("looked as clerk")),
        "{looked:?}"
    );
    assert_eq!(
        m.number("SELECT count(*) FROM incidents i, incident_rows(i.id)"),
        1
    );
    m.run("CREATE ROLE reader; GRANT EXECUTE ON FUNCTION incident_rows TO reader; GRANT SELECT ON incidents, monitors TO reader");
    let e = m.refused("SET ROLE reader; SELECT incident_rows(id) FROM incidents");
    assert_eq!(e.code().code(), "42501");
}

/// What goes on when a table is watched no more, or is gone, can be ended.
#[test]
fn incidents_of_tables_that_are_gone_end() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "gone");
    let bad = |table: &str| {
        format!(
            "CREATE TABLE {table} (at timestamptz NOT NULL, kind text, n integer); \
             SELECT watch_table('{table}', 'at', 'n', '{{kind}}'); \
             INSERT INTO {table} SELECT timestamptz '2025-07-14 08:00+00' + make_interval(mins => k), 'card', 20 + k % 5 \
               FROM generate_series(0, 200) k; \
             INSERT INTO {table} VALUES ('2025-07-14 11:21+00', 'card', 300)"
        )
    };
    for table in ["unwatched", "dropped"] {
        m.run(&bad(table));
        m.until(
            &format!("SELECT count(*) FROM incidents WHERE monitor = '{table}' AND state = 'open'"),
            "1",
        );
    }
    m.run("DROP TABLE dropped");
    m.run(
        "SELECT acknowledge_incident(id, 'whose was it?') FROM incidents WHERE monitor = 'dropped'",
    );
    m.run("SELECT resolve_incident(id, 'nobody knows') FROM incidents WHERE monitor = 'dropped'");
    m.run("SELECT unwatch_table('dropped'), unwatch_table('unwatched')");
    assert_eq!(
        m.rows("SELECT a.monitor, state, a.note FROM incidents JOIN alerts a ON a.incident = incidents.id AND a.event = 'resolved' ORDER BY 1"),
        [["dropped", "resolved", "nobody knows"], ["unwatched", "resolved", "its table is watched no more"]]
    );
    assert_eq!(m.number("SELECT count(*) FROM open_incidents"), 0);
}
