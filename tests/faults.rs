//! Monitoring that fails breaks no payment: at each boundary a fault is injected (`cloudwalk_monitor.fault_at`), and
//! the statement commits, the fault is counted and told once, and the models come right from the table.

use std::sync::{Arc, Mutex};

use postgres::{Client, Config, NoTls};
use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

/// A client that keeps the warnings it is sent.
fn listening(cluster: &Cluster, database: &str) -> (Client, Arc<Mutex<Vec<String>>>) {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let kept = warnings.clone();
    let client = Config::new()
        .host_path(cluster.socket_dir())
        .port(cluster.port())
        .user("postgres")
        .dbname(database)
        .notice_callback(move |n| {
            if n.severity() == "WARNING" {
                kept.lock().expect("warnings").push(n.message().to_string());
            }
        })
        .connect(NoTls)
        .expect("a connection");
    (client, warnings)
}

fn row(at: i64, count: i64) -> String {
    format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', {count})",
        minute(at)
    )
}

#[test]
fn faults_at_every_boundary_of_a_statement_leave_it_whole() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "faults");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.assert_models();
    let cases: [(&str, String); 8] = [
        ("judge", row(240, 7)),
        ("record", row(241, 8)),
        ("precommit", row(242, 9)),
        ("commit", row(243, 10)),
        (
            "subcommit",
            format!("BEGIN; SAVEPOINT a; {}; RELEASE a; COMMIT", row(244, 5)),
        ),
        (
            "subabort",
            format!(
                "BEGIN; {}; SAVEPOINT a; {}; ROLLBACK TO a; COMMIT",
                row(245, 6),
                row(245, 99)
            ),
        ),
        (
            "abort",
            format!("BEGIN; {}; ROLLBACK; {}", row(246, 99), row(246, 4)),
        ),
        (
            "prepare",
            format!(
                "BEGIN; {}; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'",
                row(247, 3)
            ),
        ),
    ];
    for (boundary, sql) in &cases {
        let errors = m.number("SELECT errors FROM monitor_stats");
        let rows = m.number("SELECT count(*) FROM transactions");
        let (mut client, warnings) = listening(&cluster, "faults");
        client
            .batch_execute(&format!(
                "LOAD 'cloudwalk_monitor'; SET cloudwalk_monitor.fault_at = '{boundary}'"
            ))
            .expect("a superuser may set it");
        for _ in 0..2 {
            for statement in sql.split("; ") {
                client
                    .batch_execute(statement)
                    .unwrap_or_else(|e| panic!("{boundary}: {statement}: {e:?}"));
            }
        }
        client
            .batch_execute("RESET cloudwalk_monitor.fault_at")
            .expect("a setting");
        client.batch_execute(&row(248, 1)).expect("another row");
        assert_eq!(
            m.number("SELECT count(*) FROM transactions"),
            rows + 3,
            "{boundary}: every row is stored"
        );
        assert!(
            m.number("SELECT errors FROM monitor_stats") >= errors + 2,
            "{boundary}: faults are counted"
        );
        let told = warnings.lock().expect("warnings").clone();
        assert_eq!(told.len(), 1, "{boundary}: told once: {told:?}");
        assert!(told[0].contains("monitoring failed"), "{told:?}");
        m.assert_models();
        println!("{boundary}: {}", told[0]);
    }
    let (mut client, warnings) = listening(&cluster, "faults");
    client
        .batch_execute("SET cloudwalk_monitor.fault_at = 'truncate'; TRUNCATE transactions")
        .expect("TRUNCATE");
    assert_eq!(m.number("SELECT count(*) FROM transactions"), 0);
    assert_eq!(warnings.lock().expect("warnings").len(), 1);
    m.assert_models();
}

/// With `strict` a fault is an error as long as the statement can fail: until the commit record is written.
#[test]
fn strict_makes_faults_errors() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "strict_faults");
    m.run(&calm_sql(EPOCH, 0, 60));
    m.assert_models();
    for boundary in ["judge", "record", "precommit"] {
        m.run(&format!(
            "SET cloudwalk_monitor.strict = on; SET cloudwalk_monitor.fault_at = '{boundary}'"
        ));
        let e = m.refused(&row(60, 7));
        assert_eq!(e.code().code(), "XX000");
        assert!(e.message().contains("monitoring failed"), "{e:?}");
        m.run("RESET cloudwalk_monitor.strict; RESET cloudwalk_monitor.fault_at");
        m.assert_models();
    }
    assert_eq!(
        m.number("SELECT count(*) FROM transactions WHERE count = 7 AND status = 'denied' AND time >= '2025-07-14 09:00+00'"),
        0
    );
}

/// After the commit record nothing can be an error, and the session's next statement has done nothing: it is warned, in
/// strict mode each time.
#[test]
fn strict_warns_of_faults_after_the_commit_record() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "strict_commit");
    m.run(&calm_sql(EPOCH, 0, 60));
    m.assert_models();
    let errors = m.number("SELECT errors FROM monitor_stats");
    let (mut client, warnings) = listening(&cluster, "strict_commit");
    client
        .batch_execute(
            "LOAD 'cloudwalk_monitor'; SET cloudwalk_monitor.strict = on; SET cloudwalk_monitor.fault_at = 'commit'",
        )
        .expect("a superuser may set it");
    for at in 60..63 {
        client.batch_execute(&row(at, 7)).expect("it has committed");
    }
    client
        .batch_execute("RESET cloudwalk_monitor.fault_at")
        .expect("a setting");
    client
        .batch_execute(&row(63, 7))
        .expect("nothing is wrong with it");
    let told = warnings.lock().expect("warnings").clone();
    assert_eq!(told, ["monitoring failed: after a commit"; 3]);
    assert_eq!(m.number("SELECT errors FROM monitor_stats"), errors + 3);
    assert_eq!(
        m.number(
            "SELECT count(*) FROM transactions WHERE count = 7 AND time >= '2025-07-14 09:00+00'"
        ),
        4
    );
    m.assert_models();
}

/// The worker goes on as soon as it can; payments notice nothing.
#[test]
fn faults_of_the_worker_are_mended_by_it() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.tick_interval", "200ms")]);
    let mut m = Monitored::create(&cluster, "worker_faults");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.assert_models();
    // A setting of a library that is not loaded is not known.
    m.run("LOAD 'cloudwalk_monitor'");
    let mut at = 240;
    for boundary in ["seal", "survey", "reconcile", "load"] {
        let errors = m.number("SELECT errors FROM monitor_stats");
        let incidents = m.number("SELECT count(*) FROM incidents");
        m.run(&format!(
            "ALTER SYSTEM SET cloudwalk_monitor.fault_at = '{boundary}'"
        ));
        m.run("SELECT pg_reload_conf()");
        m.until(
            "SELECT current_setting('cloudwalk_monitor.fault_at')",
            boundary,
        );
        // Rows to be sealed, a storm, and one that has to be folded in.
        for _ in 0..40 {
            at += 1;
            m.run(&row(at, 6));
        }
        m.run(&row(at, 90));
        m.run(&row(at - 200, 1));
        m.until(&format!("SELECT errors > {errors} FROM monitor_stats"), "t");
        m.run("ALTER SYSTEM RESET cloudwalk_monitor.fault_at");
        m.run("SELECT pg_reload_conf()");
        m.run(&row(at + 1, 6));
        m.until(
            &format!("SELECT count(*) > {incidents} FROM incidents"),
            "t",
        );
        m.assert_models();
        at += 60;
        m.run(&calm_sql(EPOCH, at - 58, at));
        m.until("SELECT count(*) FROM incidents WHERE state = 'open'", "0");
    }
}

#[test]
fn faults_of_reading_functions_are_theirs() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "reading_faults");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.assert_models();
    m.run("SET cloudwalk_monitor.fault_at = 'read'");
    for sql in [
        "SELECT count(*) FROM scored_series('1 hour', '2025-07-14 12:00+00')",
        "SELECT count(*) FROM detect_anomalies('1 hour', '2025-07-14 12:00+00')",
        "SELECT count(*) FROM backtest_monitor('transactions', '2025-07-14', '2025-07-15')",
    ] {
        assert!(m.refused(sql).message().contains("a fault was injected"));
    }
    m.run("SET cloudwalk_monitor.fault_at = 'load'");
    let worker = m.number("SELECT worker_pid FROM monitor_health") as i32;
    cluster.freeze(worker);
    m.run(&row(3, 5));
    assert!(m
        .refused("SELECT run_monitor()")
        .message()
        .contains("a fault was injected"));
    cluster.thaw(worker);
    m.run("RESET cloudwalk_monitor.fault_at");
    m.assert_models();
}

#[test]
fn only_a_superuser_injects_faults() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "nobody_injects");
    m.run("CREATE ROLE payer LOGIN; GRANT INSERT ON transactions TO payer");
    let mut payer = cluster.connect_as("payer", "nobody_injects");
    // Before the library is loaded it is an unknown setting that anybody may set.
    payer
        .batch_execute("SET cloudwalk_monitor.fault_at = 'judge'")
        .expect("a placeholder");
    payer
        .batch_execute("INSERT INTO transactions (status, count) VALUES ('approved', 3)")
        .expect("a row");
    assert_eq!(m.number("SELECT errors FROM monitor_stats"), 0);
    let refused = payer.batch_execute("SET cloudwalk_monitor.fault_at = 'judge'");
    assert_eq!(refused.unwrap_err().code().map(|c| c.code()), Some("42501"));
    m.run("REVOKE ALL ON transactions FROM payer; DROP ROLE payer");
}
