//! How alerts leave the database: each once, in order, cut to size, and what happens when nobody takes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testbed::monitored::{calm_sql, minute, storms, Monitored, EPOCH, SOON};
use testbed::{eventually, Cluster};

/// Every storm is an incident of its own.
const APART: (&str, &str) = ("cloudwalk_monitor.reopen_window", "0 minutes");

/// Texts that grow when JSON or UTF-8 writes them.
const GROWING: [&str; 4] = ["ü", "\u{1F4B3}", "\u{1}", "\""];

#[test]
fn no_payload_is_too_long() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "long");
    let listener = m.listen();
    for (n, c) in GROWING.iter().enumerate() {
        let name = c.repeat(3000);
        let (bytes, columns) = (
            c.len(),
            ["a", "b", "c"].map(|x| format!("\"{x}{}\"", "ü".repeat(30))),
        );
        // As much as a key takes: three times 80 bytes.
        let value = c.repeat(80 / bytes);
        m.client
            .execute(
                &format!(
                    "CREATE TABLE t{n} (at timestamptz, {0} text, {1} text, {2} text)",
                    columns[0], columns[1], columns[2]
                ),
                &[],
            )
            .unwrap();
        m.client
            .execute(
                &format!("SELECT watch_table('t{n}', 'at', NULL, $1::text[]::name[], name => $2)"),
                &[
                    &columns.each_ref().map(|c| c.trim_matches('"')).to_vec(),
                    &name,
                ],
            )
            .unwrap();
        m.client
            .execute(
                &format!(
                    "INSERT INTO t{n} SELECT timestamptz '{EPOCH}' + make_interval(mins => m), $1, $1, $1 \
                       FROM generate_series(1, 100) m, generate_series(1, 4) e"
                ),
                &[&value],
            )
            .unwrap();
        m.quiesce();
        m.client
            .execute(
                &format!(
                    "INSERT INTO t{n} SELECT {}, $1, $1, $1 FROM generate_series(1, 60)",
                    minute(101)
                ),
                &[&value],
            )
            .unwrap();
        m.until(
            "SELECT count(*) FROM incidents WHERE labels <> '{}'",
            &(n + 1).to_string(),
        );
        m.client
            .execute(
                "SELECT acknowledge_incident(max(id), $1) FROM incidents",
                &[&c.repeat(20_000)],
            )
            .unwrap();
    }
    let heard = m.announced(&listener);
    assert_eq!(heard.len(), 2 * GROWING.len(), "{heard:#?}");
    for p in &heard {
        assert!(p.len() < 8000, "{}", p.len());
        let same = m
            .client
            .query_one(
                "SELECT count(*) FROM alerts WHERE payload = $1::text::jsonb",
                &[p],
            )
            .unwrap();
        assert_eq!(
            same.get::<_, i64>(0),
            1,
            "what is recorded is what was announced: {p}"
        );
    }
    // The longest is not cut to nothing either.
    assert!(heard.iter().any(|p| p.len() > 4000));
    assert_eq!(m.number("SELECT errors FROM monitor_stats"), 0);
    m.run(&calm_sql(EPOCH, 0, 60));
    m.assert_models();
}

/// A listener that sits in a transaction keeps what was sent to everybody from being removed.
#[test]
fn a_full_queue_delays_notifications_and_nothing_else() {
    // A share of the queue that a test can fill: 8 GB are the whole.
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.queue_limit", "0.0005"), APART]);
    let mut m = Monitored::create(&cluster, "crammed");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let listener = m.listen();
    let mut idle = m.connect();
    idle.batch_execute("LISTEN other").unwrap();
    idle.batch_execute("BEGIN; SELECT 1").unwrap();
    m.run("SELECT pg_notify('other', repeat('x', 7000) || n) FROM generate_series(1, 800) n");
    assert!(
        m.text("SELECT queue_usage FROM monitor_health")
            .parse::<f64>()
            .unwrap()
            > 0.0005
    );

    m.run(&storms(240, 3));
    m.until(
        "SELECT count(*) FROM incidents WHERE state = 'resolved'",
        "3",
    );
    m.until("SELECT withheld FROM monitor_health", "6");
    m.until(
        "SELECT split_part(status, ':', 1) FROM monitor_health",
        "the notification queue has no room",
    );
    // What an operator does is recorded too.
    m.run(&storms(315, 1).replace(
        "make_interval(mins => m)",
        "make_interval(mins => least(m, 319))",
    ));
    m.until("SELECT count(*) FROM incidents WHERE state = 'open'", "1");
    m.run("SELECT acknowledge_incident(id, 'mine') FROM incidents WHERE state = 'open'");
    assert_eq!(m.text("SELECT withheld FROM monitor_health"), "8");
    assert_eq!(listener.payloads(), Vec::<String>::new());
    // Payments notice nothing, not even those that notify.
    m.run("SET statement_timeout = '5s'");
    m.run(&format!(
        "BEGIN; INSERT INTO transactions (time, status) VALUES ({}, 'approved'); NOTIFY other, 'paid'; COMMIT",
        minute(319)
    ));

    idle.batch_execute("COMMIT").unwrap();
    m.until("SELECT withheld FROM monitor_health", "0");
    m.until("SELECT status FROM monitor_health", "ok");
    // Those of the worker one by one and in order; a heartbeat stands for that of the operator. They are counted as sent
    // a moment before they are.
    eventually(SOON, || (listener.payloads().len() >= 8).then_some(()));
    let heard = m.announced(&listener);
    let heard: Vec<Vec<String>> = heard
        .iter()
        .map(|p| {
            let sql = "SELECT $1::text::jsonb->>'event', coalesce($1::text::jsonb->>'alert', $1::text::jsonb->>'last_alert')";
            let row = m.client.query_one(sql, &[p]).unwrap();
            vec![row.get(0), row.get(1)]
        })
        .collect();
    let mut wanted =
        m.rows("SELECT event, id FROM alerts WHERE event IN ('opened', 'resolved') ORDER BY id");
    wanted.push(vec![
        "heartbeat".into(),
        m.text("SELECT max(id) FROM alerts WHERE event = 'acknowledged'"),
    ]);
    assert_eq!(heard, wanted);
    m.assert_models();
}

/// A standby that does not answer stops whoever waits for it. Others go on, and those that notify too.
#[test]
fn a_standby_that_does_not_answer_stops_the_worker_only() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "no_answer");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let listener = m.listen();
    m.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    m.run("SELECT pg_reload_conf()");
    m.until("SHOW synchronous_standby_names", "nobody");
    m.run("SET synchronous_commit = local; SET statement_timeout = '10s'");
    m.run(&storms(240, 1));
    m.until(
        "SELECT split_part(status, ':', 1) FROM monitor_health",
        "the worker waits for a synchronous standby that does not answer",
    );
    assert_eq!(
        m.text("SELECT waits_for FROM monitor_health"),
        "IPC: SyncRep"
    );
    for k in 0..20 {
        m.run(&format!(
            "BEGIN; INSERT INTO transactions (time, status) VALUES ({}, 'approved'); NOTIFY other, '{k}'; COMMIT",
            minute(270)
        ));
    }
    assert_eq!(
        listener.payloads(),
        Vec::<String>::new(),
        "what a standby does not have is not told"
    );
    assert_eq!(m.number("SELECT count(*) FROM alerts"), 0);

    m.run("ALTER SYSTEM RESET synchronous_standby_names");
    m.run("SELECT pg_reload_conf()");
    m.until(
        "SELECT count(*) FROM incidents WHERE state = 'resolved'",
        "1",
    );
    m.until("SELECT status FROM monitor_health", "ok");
    assert_eq!(m.announced(&listener).len(), 2);
    // A worker that waits can be ended.
    m.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    m.run("SELECT pg_reload_conf()");
    m.until("SHOW synchronous_standby_names", "nobody");
    m.run(&storms(275, 1));
    m.until("SELECT waits_for FROM monitor_health", "IPC: SyncRep");
    cluster.stop();
}

/// Whoever acknowledges holds the lock of `alerts` to the end of the transaction.
#[test]
fn an_operator_who_does_not_commit_is_told_of() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "dawdler");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let listener = m.listen();
    let mut second = m.connect();
    m.run(&storms(240, 1).replace(
        "make_interval(mins => m)",
        "make_interval(mins => least(m, 244))",
    ));
    m.until("SELECT count(*) FROM incidents WHERE state = 'open'", "1");
    second
        .batch_execute("BEGIN; SELECT acknowledge_incident(id) FROM incidents WHERE state = 'open'")
        .unwrap();
    m.run(&storms(245, 2));
    m.until(
        "SELECT split_part(status, ':', 1) FROM monitor_health",
        "the worker waits for another session's transaction to end",
    );
    assert_eq!(
        m.text("SELECT waits_for FROM monitor_health"),
        "Lock: advisory"
    );
    second.batch_execute("COMMIT").unwrap();
    m.until("SELECT status FROM monitor_health", "ok");
    m.assert_models();
    assert_eq!(
        m.announced(&listener).len() as i64,
        m.number("SELECT count(*) FROM alerts_since()")
    );
}

#[test]
fn the_heartbeat_tells_quiet_from_dead() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.heartbeat_interval", "200ms"), APART]);
    let mut m = Monitored::create(&cluster, "alive");
    let listener = m.listen();
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(&storms(240, 1));
    m.until(
        "SELECT count(*) FROM incidents WHERE state = 'resolved'",
        "1",
    );
    let last = m.text("SELECT max(id) FROM alerts");
    let beat = format!(
        "{{\"database\":\"alive\",\"event\":\"heartbeat\",\"interval\":0.2,\"last_alert\":{last},\"status\":\"ok\",\"time\":"
    );
    eventually(SOON, || {
        listener
            .payloads()
            .iter()
            .any(|p| p.starts_with(&beat))
            .then_some(())
    });
    assert_eq!(
        m.text("SELECT clock_timestamp() - last_heartbeat < '5 s' FROM monitor_health"),
        "t"
    );
    let alerts = listener
        .payloads()
        .iter()
        .filter(|p| p.contains("\"alert\":"))
        .count();
    assert_eq!(alerts, 2);
    // Frozen, the worker is silent, and the view says that it is late.
    let pid = m.number("SELECT worker_pid FROM monitor_health") as i32;
    cluster.freeze(pid);
    std::thread::sleep(Duration::from_millis(300));
    let heard = listener.heard().len();
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(listener.heard().len(), heard);
    assert_eq!(m.text("SELECT lag > '1 s' FROM monitor_health"), "t");
    cluster.thaw(pid);
    eventually(SOON, || (listener.heard().len() > heard).then_some(()));
    // None where alerts are not announced.
    m.run("ALTER SYSTEM SET cloudwalk_monitor.delivery = 'table'");
    m.run("SELECT pg_reload_conf()");
    std::thread::sleep(Duration::from_millis(600));
    let heard = listener.heard().len();
    m.run(&storms(265, 1));
    m.until(
        "SELECT count(*) FROM incidents WHERE state = 'resolved'",
        "2",
    );
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(listener.heard().len(), heard);
    assert_eq!(m.number("SELECT withheld FROM monitor_health"), 0);
}

/// The worker and four operators append, three readers follow: each gets every alert once, in order.
#[test]
fn a_cursor_misses_nothing_that_is_appended_at_once() {
    let cluster = Cluster::start_with(&[APART]);
    let mut m = Monitored::create(&cluster, "cursor");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let done = AtomicBool::new(false);
    let (cluster, done) = (&cluster, &done);
    let read = std::thread::scope(|scope| {
        let readers: Vec<_> = [1, 7, 1000]
            .map(|rows| {
                scope.spawn(move || {
                    let mut c = cluster.connect_to("cursor");
                    let (mut ids, mut last) = (Vec::new(), 0i64);
                    loop {
                        let ended = done.load(Ordering::Acquire);
                        let batch = c
                            .query("SELECT id FROM alerts_since($1, $2)", &[&last, &rows])
                            .unwrap();
                        ids.extend(batch.iter().map(|r| r.get::<_, i64>(0)));
                        last = ids.last().copied().unwrap_or(0);
                        if ended && batch.is_empty() {
                            return ids;
                        }
                    }
                })
            })
            .into_iter()
            .collect();
        let operators: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn(move || {
                    let mut c = cluster.connect_to("cursor");
                    let mut told = 0;
                    while !done.load(Ordering::Acquire) {
                        let rollback = if told % 3 == n % 3 { "ROLLBACK" } else { "COMMIT" };
                        let sql = format!(
                            "BEGIN; SELECT acknowledge_incident(id, '{n}') FROM incidents \
                               WHERE state IN ('open', 'acknowledged') ORDER BY random() LIMIT 2; {rollback}"
                        );
                        // An incident may be resolved before its turn comes.
                        if c.batch_execute(&sql).is_err() {
                            c.batch_execute("ROLLBACK").unwrap();
                        }
                        told += 1;
                    }
                })
            })
            .collect();
        for k in 0..12 {
            for at in (0..25).step_by(5) {
                m.run(&format!(
                    "{} LIMIT 10 OFFSET {}",
                    storms(240 + 25 * k, 1),
                    2 * at
                ));
                m.run("SELECT run_monitor()");
            }
        }
        m.quiesce();
        done.store(true, Ordering::Release);
        for o in operators {
            o.join().unwrap();
        }
        readers
            .into_iter()
            .map(|r| r.join().unwrap())
            .collect::<Vec<_>>()
    });
    let all: Vec<i64> = m
        .rows("SELECT id FROM alerts WHERE event <> 'progress' ORDER BY id")
        .iter()
        .map(|r| r[0].parse().unwrap())
        .collect();
    assert!(
        m.events("acknowledged") > 20 && m.events("opened") == 12,
        "{}",
        all.len()
    );
    for ids in read {
        assert_eq!(ids, all);
    }
    m.assert_models();
}
