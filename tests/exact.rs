//! Corners of exactness, one by one: what `property` found, and what it is too rare to find.

use std::io::Write;

use postgres::Client;
use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

fn storm(at: i64) -> String {
    format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 60), ({0}, 'approved', 120)",
        minute(at)
    )
}

/// Who waits for the lock of `alerts` has to see what was recorded meanwhile.
#[test]
fn two_that_record_at_once_tell_it_once() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "two_record");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let worker = m.number("SELECT worker_pid FROM monitor_health") as i32;
    cluster.freeze(worker);
    m.run(&storm(240));
    m.run("BEGIN");
    let found = format!(
        "SELECT count(*) FROM detect_anomalies('1 hour', {})",
        minute(241)
    );
    assert_eq!(m.text(&found), "1");
    assert_eq!(m.events("opened"), 1);
    cluster.thaw(worker);
    m.until(
        &format!("SELECT count(*) FROM pg_locks WHERE pid = {worker} AND NOT granted"),
        "1",
    );
    m.run("COMMIT");
    m.assert_models();
    assert_eq!(m.events("opened"), 1);
}

/// What a load finds is recorded with it; rolled back, it has to be found again.
#[test]
fn a_round_that_is_rolled_back_loses_nothing() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "rolled_back");
    m.run(&calm_sql(EPOCH, 0, 600));
    m.run(&storm(300));
    m.until(
        "SELECT count(*) FROM incidents WHERE state = 'resolved'",
        "1",
    );
    m.assert_models();
    let worker = m.number("SELECT worker_pid FROM monitor_health") as i32;
    cluster.freeze(worker);
    m.run("DELETE FROM transactions WHERE count = 60");
    m.run("BEGIN; SELECT run_monitor()");
    assert_eq!(m.text("SELECT state FROM incidents"), "retracted");
    m.run("ROLLBACK");
    assert_eq!(m.text("SELECT dirty FROM monitor_health"), "1");
    cluster.thaw(worker);
    m.until("SELECT state FROM incidents", "retracted");
    m.assert_models();
}

/// A watched table with a partition a day: a calm week, and a storm on its last day.
fn partitioned<'a>(cluster: &'a Cluster, name: &str) -> Monitored<'a> {
    let mut m = Monitored::create(cluster, name);
    m.run("CREATE TABLE payments (at timestamptz, kind text, n integer) PARTITION BY RANGE (at)");
    for day in 0..10 {
        let (from, to) = (minute(day * 1440), minute((day + 1) * 1440));
        m.run(&format!(
            "CREATE TABLE payments_{day} PARTITION OF payments FOR VALUES FROM ({from}) TO ({to})"
        ));
    }
    m.run("SELECT watch_table('payments', 'at', 'n', '{kind}')");
    m.run(&format!(
        "INSERT INTO payments SELECT {} + make_interval(mins => m), 'card', \
                CASE WHEN m BETWEEN 9 * 1440 + 60 AND 9 * 1440 + 70 THEN 300 ELSE 20 + m % 5 END \
           FROM generate_series(0, 9 * 1440 + 200) m",
        minute(0)
    ));
    m.assert_models_of("payments");
    m.until(
        "SELECT count(*) FROM incidents WHERE opened_at >= '2025-07-23 08:00+00' AND state = 'resolved'",
        "1",
    );
    m
}

#[test]
fn partitions_with_rows_that_count_come_and_go() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.tick_interval", "200ms")]);
    let mut m = partitioned(&cluster, "partitions");
    let noticed = |m: &mut Monitored, sql: &str| {
        let refolds = m.number("SELECT refolds FROM monitor_stats");
        m.run(sql);
        m.until(
            &format!("SELECT refolds > {refolds} FROM monitor_stats"),
            "t",
        );
        m.assert_models_of("payments");
    };
    let retracted = "SELECT state FROM incidents WHERE opened_at >= '2025-07-23 08:00+00'";
    noticed(&mut m, "ALTER TABLE payments DETACH PARTITION payments_9");
    m.until(retracted, "retracted");
    let bounds = format!(
        "FOR VALUES FROM ({}) TO ({})",
        minute(9 * 1440),
        minute(10 * 1440)
    );
    let attach = format!("ALTER TABLE payments ATTACH PARTITION payments_9 {bounds}");
    noticed(&mut m, &attach);
    m.until(retracted, "resolved");
    noticed(&mut m, "TRUNCATE payments_9");
    m.until(retracted, "retracted");
    noticed(&mut m, "DROP TABLE payments_8");
    // While it was none of the table, its rows were changed; and while no worker was there to see it come back.
    m.run("ALTER TABLE payments DETACH PARTITION payments_1");
    m.run("UPDATE payments_1 SET n = n + 5");
    let worker = m.number("SELECT worker_pid FROM monitor_health");
    m.run(&format!("SELECT pg_terminate_backend({worker})"));
    m.until("SELECT worker_alive FROM monitor_health", "f");
    let bounds = format!(
        "FOR VALUES FROM ({}) TO ({})",
        minute(1440),
        minute(2 * 1440)
    );
    m.run(&format!(
        "ALTER TABLE payments ATTACH PARTITION payments_1 {bounds}"
    ));
    cluster.restart();
    m.reconnect();
    m.run(&format!(
        "INSERT INTO payments VALUES ({}, 'card', 22)",
        minute(7 * 1440 + 100)
    ));
    noticed(&mut m, "SELECT start_monitor()");
}

/// What happens in partitions that are older than the horizon is retention: the models keep what they learned.
#[test]
fn old_partitions_are_dropped_without_a_refold() {
    let cluster = Cluster::start_with(&[
        ("cloudwalk_monitor.tick_interval", "200ms"),
        ("cloudwalk_monitor.sealed_horizon", "2 days"),
    ]);
    let mut m = partitioned(&cluster, "old_partitions");
    let (refolds, alerts) = (
        m.number("SELECT refolds FROM monitor_stats"),
        m.number("SELECT count(*) FROM alerts"),
    );
    let readings =
        "SELECT split_part(detail, ' ', 1) FROM verify_models('payments') WHERE series = 'card'";
    let known = m.text(readings);
    m.run("DROP TABLE payments_0");
    m.run("ALTER TABLE payments DETACH PARTITION payments_1");
    m.run("TRUNCATE payments_2");
    m.run("CREATE TABLE payments_10 PARTITION OF payments FOR VALUES FROM ('2025-08-01') TO ('2025-08-02')");
    let seen = "SELECT count(*) FROM watched_partitions WHERE monitor > 0";
    // Seven of ten, the new one, and the table itself: one was truncated.
    m.until(seen, "10");
    m.quiesce();
    assert_eq!(m.number("SELECT refolds FROM monitor_stats"), refolds);
    assert_eq!(m.number("SELECT count(*) FROM alerts"), alerts);
    assert_eq!(m.text(readings), known);
}

/// A session that is ended in the middle of a load leaves no models that wait for it.
#[test]
fn a_load_whose_session_is_ended_is_done_again() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.tick_interval", "200ms")]);
    let mut m = Monitored::create(&cluster, "ended");
    m.run(&calm_sql(EPOCH, 0, 60 * 1440));
    m.assert_models();
    let worker = m.number("SELECT worker_pid FROM monitor_health") as i32;
    cluster.freeze(worker);
    m.run("TRUNCATE transactions");
    m.run(&calm_sql(EPOCH, 0, 60 * 1440));
    let mut other = m.connect();
    let pid: i32 = other
        .query_one("SELECT pg_backend_pid()", &[])
        .expect("a pid")
        .get(0);
    let round = std::thread::spawn(move || other.batch_execute("SELECT run_monitor()").is_err());
    m.until("SELECT loading FROM monitor_health", "1");
    m.run(&format!("SELECT pg_terminate_backend({pid})"));
    assert!(
        round.join().expect("the thread ends"),
        "the round was ended"
    );
    assert_eq!(m.text("SELECT loading FROM monitor_health"), "1");
    cluster.thaw(worker);
    m.assert_models();
}

/// What was learned from rows that were deleted as retention is not unlearned by a row that comes in far behind.
#[test]
fn an_old_row_does_not_unlearn_deleted_history() {
    let cluster = Cluster::start_with(&[
        ("cloudwalk_monitor.sealed_horizon", "2 days"),
        ("cloudwalk_monitor.tick_interval", "200ms"),
    ]);
    let mut m = Monitored::create(&cluster, "unlearned");
    m.run(&calm_sql(EPOCH, 0, 12 * 1440));
    m.assert_models();
    let readings = |m: &mut Monitored| {
        m.number(
            "SELECT split_part(detail, ' ', 1)::int FROM verify_models() WHERE series = 'approved'",
        )
    };
    let known = readings(&mut m);
    assert!(known > 12 * 1440 - 60, "{known}");
    let stored = m.number("SELECT count(DISTINCT time) FROM snapshots");
    m.run(&format!(
        "DELETE FROM transactions WHERE time < {}",
        minute(8 * 1440)
    ));
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'approved', 1)",
        minute(-40 * 1440)
    ));
    m.quiesce();
    assert_eq!(readings(&mut m), known);
    assert!(m.number("SELECT count(DISTINCT time) FROM snapshots") >= stored - 1);
    // A history that is loaded behind what there is, as whole as that, is taken in.
    m.run("TRUNCATE transactions");
    m.run(&calm_sql(EPOCH, 4 * 1440, 12 * 1440));
    m.assert_models();
    m.run(&calm_sql(EPOCH, 0, 4 * 1440));
    m.assert_models();
    assert_eq!(readings(&mut m), known);
}

/// States are stored for each day, bounded in number, and a window begins with the one before it.
#[test]
fn a_window_folds_a_day_at_most() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.snapshot_retention", "100 days")]);
    let mut m = Monitored::create(&cluster, "dense");
    m.run(&calm_sql(EPOCH, 0, 130 * 1440));
    m.assert_models();
    let days = m.number("SELECT count(DISTINCT time) FROM snapshots");
    assert!((102..=105).contains(&days), "{days}");
    // One a day, and of the last three hours one each.
    let more = "SELECT count(*) FROM (SELECT FROM snapshots WHERE time < (SELECT max(time) FROM snapshots) - interval '3 hours 1 minute' \
                  GROUP BY time::date HAVING count(DISTINCT time) > 1) x";
    let recent = "SELECT count(DISTINCT time) FROM snapshots WHERE time > (SELECT max(time) FROM snapshots) - interval '3 hours 1 minute'";
    assert_eq!(m.number(more), 0);
    assert!((2..=4).contains(&m.number(recent)), "{}", m.number(recent));
    let end = minute(130 * 1440);
    let sealed = m.text("SELECT min(sealed_at) FROM verify_models()");
    for back in [1, 30, 89] {
        let until = format!("{end} - interval '{back} days 7 hours'");
        let sql = format!(
            "SELECT count(*), md5(string_agg(s::text, '')) FROM scored_series('1 hour', {until}) s"
        );
        let with = m.rows(&sql);
        // The rows that it has to read: those after the newest state before the window.
        let state = m.text(&format!(
            "SELECT max(time) > {until} - interval '1 day 2 hours' FROM snapshots WHERE time < {until} - interval '1 hour'"
        ));
        assert_eq!(state, "t", "{back} days back");
        m.run("BEGIN; DELETE FROM snapshots");
        assert_eq!(m.rows(&sql), with, "{back} days back, from the first row");
        m.run("ROLLBACK");
    }
    // Hour by hour no more than that stay.
    let at = 130 * 1440;
    for hour in 0..5 {
        m.run(&calm_sql(EPOCH, at + hour * 60, at + (hour + 1) * 60));
        m.assert_models();
    }
    m.until(
        &format!("SELECT max(time) > '{sealed}'::timestamptz + interval '3 hours' FROM snapshots"),
        "t",
    );
    assert_eq!(m.number(more), 0);
    assert!((3..=4).contains(&m.number(recent)), "{}", m.number(recent));
    // So the last hour is folded from no more than an hour before it.
    let until = format!("{} - interval '30 minutes'", minute(at + 5 * 60));
    assert_eq!(
        m.text(&format!(
            "SELECT max(time) >= {until} - interval '2 hours 2 minutes' FROM snapshots WHERE time < {until} - interval '1 hour'"
        )),
        "t"
    );
}

/// The figures of a long incident are recorded ever more rarely.
#[test]
fn a_long_incident_writes_few_rows() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "long_silence");
    let mut client = m.connect();
    // A series that is out of bounds from now on, minute by minute, in a stream of its own.
    client
        .batch_execute(
            "CREATE TABLE feed (at timestamptz, n integer); SELECT watch_table('feed', 'at', 'n'); \
             INSERT INTO feed SELECT timestamptz '2025-07-14' + make_interval(mins => g), 20 + g % 3 FROM generate_series(0, 1439) g",
        )
        .expect("a feed");
    m.assert_models_of("feed");
    for g in 1440..1740 {
        client
            .batch_execute(&format!(
                "INSERT INTO feed VALUES (timestamptz '2025-07-14' + make_interval(mins => {g}), 80)"
            ))
            .expect("a row");
        if g % 3 == 0 {
            m.quiesce();
        }
    }
    m.assert_models_of("feed");
    let rows =
        m.number("SELECT count(*) FROM alerts WHERE monitor = 'feed' AND event = 'progress'");
    assert!((10..60).contains(&rows), "{rows}");
    m.until(
        "SELECT max(buckets) > 200 FROM incidents WHERE monitor = 'feed'",
        "t",
    );
}

/// In whatever order rows come, once they are folded in it is as if they had come in order of time.
#[test]
fn shuffled_and_grouped_loads_equal_sorted_ones() {
    let cluster = Cluster::shared();
    let load = |name: &str, order: &str| {
        let mut m = Monitored::create(&cluster, name);
        m.run(&format!(
            "CREATE TEMP TABLE made AS SELECT {} + make_interval(mins => g) AS time, s AS status, \
                    CASE WHEN s = 'denied' AND g BETWEEN 2000 AND 2010 THEN 70 ELSE n + abs(hashint4(g + n)) % 5 END AS count \
               FROM generate_series(0, 2879) g, (VALUES ('approved', 110), ('denied', 6)) v(s, n)",
            minute(0)
        ));
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) SELECT time, status, count FROM made ORDER BY {order}"
        ));
        m.assert_models();
        m.until(
            "SELECT count(*) FROM incidents WHERE series = 'denied' AND state = 'resolved' AND opened_at > '2025-07-15'",
            "1",
        );
        m.rows(&format!(
            "SELECT count(*)::text, md5(string_agg(s::text, ',' ORDER BY series, time)) FROM scored_series('2 days', {}) s \
             UNION ALL SELECT series, opened_at || ' ' || buckets FROM incidents WHERE state <> 'retracted' ORDER BY 1, 2",
            minute(2880)
        ))
    };
    let sorted = load("load_sorted", "time, status");
    assert_eq!(
        load("load_shuffled", "hashtext(time::text || status)"),
        sorted
    );
    assert_eq!(load("load_grouped", "status, time"), sorted);
}

/// Rows are recorded as they were judged, where they are sure to be inserted, and else as they were inserted.
#[test]
fn what_is_recorded_is_what_was_inserted() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "as_inserted");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let refolds = m.number("SELECT refolds FROM monitor_stats");
    let refolded = |m: &mut Monitored, what: &str| {
        m.assert_models();
        assert_eq!(
            m.number("SELECT refolds FROM monitor_stats"),
            refolds,
            "{what}"
        );
    };
    let insert = |at: i64, more: &str| {
        let columns = "INSERT INTO transactions (time, status, count)";
        format!(
            "{columns} VALUES ({0}, 'denied', 5), ({0}, 'approved', 120){more}",
            minute(at)
        )
    };
    m.run("CREATE UNIQUE INDEX once ON transactions (time, status)");
    m.run(&insert(240, ""));
    m.run(&insert(240, " ON CONFLICT DO NOTHING"));
    m.run(&insert(
        240,
        " ON CONFLICT (time, status) DO UPDATE SET count = excluded.count + 1",
    ));
    refolded(&mut m, "conflicts");

    // Triggers that come after the one that judges.
    m.run("CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.status = 'denied' THEN RETURN NULL; END IF; NEW.count := NEW.count + 1; NEW.status := 'failed'; RETURN NEW; END $$; \
           CREATE TRIGGER zz_meddle BEFORE INSERT ON transactions FOR EACH ROW EXECUTE FUNCTION meddle()");
    m.run(&insert(241, ""));
    assert_eq!(
        m.rows(&format!(
            "SELECT status, count FROM transactions WHERE time = {}",
            minute(241)
        )),
        [["failed", "121"]]
    );
    refolded(&mut m, "a trigger that changes rows");
    m.run("DROP TRIGGER zz_meddle ON transactions; CREATE TRIGGER aa_meddle BEFORE INSERT ON transactions FOR EACH ROW EXECUTE FUNCTION meddle()");
    m.run(&insert(242, ""));
    refolded(&mut m, "one that comes before");

    // Another row of the table between judging a row and inserting it.
    m.run("DROP TRIGGER aa_meddle ON transactions; \
           CREATE FUNCTION fee() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.status = 'approved' THEN INSERT INTO transactions (time, status, count) VALUES (NEW.time, 'processing', 2); END IF; RETURN NEW; END $$; \
           CREATE TRIGGER zz_fee BEFORE INSERT ON transactions FOR EACH ROW EXECUTE FUNCTION fee()");
    m.run(&insert(243, ""));
    refolded(&mut m, "a row within a row");
    m.run("DROP TRIGGER zz_fee ON transactions; CREATE TRIGGER zz_fee AFTER INSERT ON transactions FOR EACH ROW EXECUTE FUNCTION fee()");
    m.run(&insert(244, ""));
    refolded(&mut m, "a row after a row");
    // And some row that a savepoint takes back.
    m.run(&format!(
        "BEGIN; {}; SAVEPOINT s; {}; ROLLBACK TO s; {}; COMMIT",
        insert(245, ""),
        insert(246, ""),
        insert(247, "")
    ));
    refolded(&mut m, "a savepoint");
    m.refused(&format!("{}, ({}, '', 1)", insert(248, ""), minute(248)));
    m.refused(&insert(247, ""));
    refolded(&mut m, "a statement that failed");
    // Rows of one transaction as they come: each is judged knowing those before it.
    let said = m.rows(&format!(
        "INSERT INTO transactions (time, status, count) SELECT {}, 'denied', 3 FROM generate_series(1, 20) ON CONFLICT DO NOTHING RETURNING verdict",
        minute(249)
    ));
    assert_eq!(said, [["normal"]]);
    m.run("DROP INDEX once");
    let said = m.rows(&format!(
        "INSERT INTO transactions (time, status, count) SELECT {}, 'denied', 3 FROM generate_series(1, 20) RETURNING verdict",
        minute(250)
    ));
    assert_eq!(
        (said[0][0].as_str(), said[19][0].as_str()),
        ("normal", "critical")
    );
    refolded(&mut m, "sums");
}

/// The AFTER trigger is called for the rows of those statements only that may leave rows out.
#[test]
fn rows_that_are_sure_to_be_inserted_are_recorded_at_once() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "sure_rows");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    m.run("CREATE UNIQUE INDEX once ON transactions (time, status); SET track_functions = 'all'");
    // Calls of the AFTER trigger by this statement, and the models afterwards.
    let calls = |client: &mut Client, sql: &str| -> i64 {
        let count = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_xact_user_functions WHERE funcname = 'record_row'";
        client.batch_execute("BEGIN").expect("begins");
        let before: i64 = client.query_one(count, &[]).expect("counted").get(0);
        client.batch_execute(sql).expect(sql);
        let after: i64 = client.query_one(count, &[]).expect("counted").get(0);
        client.batch_execute("COMMIT").expect("commits");
        after - before
    };
    let rows = |at: i64, more: &str| {
        format!(
            "INSERT INTO transactions (time, status, count) SELECT {} + i * interval '1 minute', 'denied', 5 FROM generate_series(1, 3) i{more}",
            minute(at)
        )
    };
    let mut fresh = cluster.connect_to("sure_rows");
    fresh
        .batch_execute("SET track_functions = 'all'")
        .expect("set");
    // Of the first INSERT of a connection nothing is known: it brought the library.
    assert_eq!(calls(&mut fresh, &rows(240, "")), 3);
    assert_eq!(calls(&mut fresh, &rows(243, "")), 0);
    assert_eq!(calls(&mut fresh, &rows(246, " RETURNING verdict")), 0);
    assert_eq!(
        calls(&mut fresh, &rows(246, " ON CONFLICT DO NOTHING")),
        0,
        "none was inserted"
    );
    assert_eq!(calls(&mut fresh, &rows(249, " ON CONFLICT DO NOTHING")), 3);
    let upsert = " ON CONFLICT (time, status) DO UPDATE SET count = excluded.count + 1";
    assert_eq!(calls(&mut fresh, &rows(249, upsert)), 3);
    assert_eq!(
        calls(
            &mut fresh,
            &format!(
                "WITH x AS ({} RETURNING 1) INSERT INTO transactions (time, status, count) SELECT {}, 'failed', 1 FROM x LIMIT 1",
                rows(252, upsert),
                minute(252)
            )
        ),
        4,
        "two commands of a statement"
    );
    let merge = format!(
        "MERGE INTO transactions t USING (SELECT {} AS time, 'denied' AS status, g AS count FROM generate_series(7, 7) g) s \
           ON t.time = s.time AND t.status = s.status \
         WHEN MATCHED THEN UPDATE SET count = s.count \
         WHEN NOT MATCHED THEN INSERT (time, status, count) VALUES (s.time, s.status, s.count)",
        minute(256)
    );
    assert_eq!(calls(&mut fresh, &merge), 1);
    assert_eq!(calls(&mut fresh, &merge), 1);
    // A statement of its own within one that is marked, and one within one that is not.
    let within = |at: i64, inner: &str, outer: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION another() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN {inner}; RETURN 4; END $$; \
             INSERT INTO transactions (time, status, count) VALUES ({}, 'reversed', another()){outer}",
            minute(at)
        )
    };
    let plain = rows(260, "");
    assert_eq!(
        calls(&mut fresh, &within(260, &plain, " ON CONFLICT DO NOTHING")),
        1
    );
    let careful = rows(264, " ON CONFLICT DO NOTHING");
    assert_eq!(calls(&mut fresh, &within(264, &careful, "")), 3);
    // A statement that fails half way, and is caught.
    let caught = format!(
        "DO $$ BEGIN {}; {}; EXCEPTION WHEN unique_violation THEN {}; END $$",
        rows(268, ""),
        rows(266, ""),
        rows(268, "")
    );
    assert_eq!(calls(&mut fresh, &caught), 0);
    // Each row of a COPY, the first of a connection included.
    let mut copies = cluster.connect_to("sure_rows");
    copies
        .batch_execute("SET track_functions = 'all'; BEGIN")
        .expect("set");
    let mut copy = copies
        .copy_in("COPY transactions (time, status, count) FROM STDIN")
        .expect("copies");
    for at in 272..280 {
        writeln!(copy, "2025-07-14 12:{}+00\tdenied\t5", at - 240).expect("written");
    }
    assert_eq!(copy.finish().expect("copied"), 8);
    let called = "SELECT count(*) FROM pg_stat_xact_user_functions WHERE funcname = 'record_row'";
    assert_eq!(
        copies
            .query_one(called, &[])
            .expect("counted")
            .get::<_, i64>(0),
        0
    );
    copies.batch_execute("COMMIT").expect("commits");
    // Switched off in the table, it stays off.
    m.assert_models();
    m.run("ALTER TABLE transactions DISABLE TRIGGER cloudwalk_monitor_record");
    assert_eq!(calls(&mut fresh, &rows(280, "")), 0);
    m.run(&format!(
        "ALTER TABLE transactions ENABLE ALWAYS TRIGGER cloudwalk_monitor_record; \
         DELETE FROM transactions WHERE time > {}",
        minute(270)
    ));
    assert_eq!(
        calls(&mut fresh, &rows(284, "")),
        3,
        "the table was changed"
    );
    assert_eq!(calls(&mut fresh, &rows(288, "")), 0);
    // A BEFORE trigger that does not fire for every session leaves recording to the other one.
    m.run("ALTER TABLE transactions ENABLE TRIGGER cloudwalk_monitor_judge");
    assert_eq!(calls(&mut fresh, &rows(292, "")), 3);
    assert_eq!(calls(&mut fresh, &rows(296, "")), 3);
    m.run("ALTER TABLE transactions ENABLE ALWAYS TRIGGER cloudwalk_monitor_judge");
    m.quiesce();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn kept(name: &str) -> Vec<u8> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../detector/tests/states/v5");
    std::fs::read(format!("{directory}/{name}")).expect("a stored state")
}

/// As postcard writes it.
fn signed(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 128 {
        bytes.push(rest as u8 | 128);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A state of the version before, of which this bucket was the last one.
fn of_version_before(name: &str, bucket: i64) -> Vec<u8> {
    let last = signed(3 * 1440 - 1);
    let (old, mut new, mut at) = (kept(name), Vec::new(), 0);
    while at < old.len() {
        if old[at..].starts_with(&last) {
            new.extend_from_slice(&signed(bucket));
            at += last.len();
        } else {
            new.push(old[at]);
            at += 1;
        }
    }
    let found = (new.len() - old.len()) / (signed(bucket).len() - last.len());
    // The last bucket and the present one, of each series in it; the last one sealed.
    assert_eq!(found, if name == "ground" { 5 } else { 2 });
    new
}

/// The encoding around a state.
fn with_lifecycle(state: &[u8]) -> Vec<u8> {
    [&(state.len() as u32).to_le_bytes(), state, &kept("heard")].concat()
}

/// Stored states of the layout before this one are gone on from.
#[test]
fn states_of_the_version_before_are_read() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "layouts");
    m.run(&calm_sql(EPOCH, 0, 2 * 1440));
    m.assert_models();
    let stored = m.rows(
        "SELECT ctid, encode(series, 'hex'), encode(substring(state, 1, 8), 'hex'), \
                (extract(epoch FROM time - '2000-01-01 00:00+00') / 60)::bigint FROM snapshots",
    );
    assert!(stored.len() >= 5, "{stored:?}");
    for row in stored {
        let (whole, bucket) = (row[1].is_empty(), row[3].parse().expect("a bucket"));
        let name = if whole { "ground" } else { "series" };
        let first = if whole { "" } else { row[2].as_str() };
        m.run(&format!(
            "UPDATE snapshots SET state = '\\x{first}{}' WHERE ctid = '{}'",
            hex(&with_lifecycle(&of_version_before(name, bucket))),
            row[0]
        ));
    }
    // The rows behind them are gone, so that what is known of them is known from the state.
    m.run(
        "ALTER TABLE transactions DISABLE TRIGGER USER; \
         DELETE FROM transactions WHERE time < '2025-07-15 00:00+00'",
    );
    let learning = "SELECT count(*) FILTER (WHERE verdict = 'learning'), count(*) \
                      FROM scored_series('10 minutes', '2025-07-15 00:15+00')";
    assert_eq!(m.rows(learning), [["0", "40"]]);
    m.run(
        "UPDATE snapshots SET state = set_byte(state, CASE WHEN series = '' THEN 0 ELSE 12 END, 1)",
    );
    assert_eq!(m.rows(learning), [["40", "40"]]);
}
