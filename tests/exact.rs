//! Corners of exactness, one by one: what `property` found, and what it is too rare to find.

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
    let seen = "SELECT count(*) FROM watched_partitions";
    // Seven of ten, the new one, and the table itself: one was truncated.
    m.until(seen, "10");
    m.quiesce();
    assert_eq!(m.number("SELECT refolds FROM monitor_stats"), refolds);
    assert_eq!(m.number("SELECT count(*) FROM alerts"), alerts);
    assert_eq!(m.text(readings), known);
}
