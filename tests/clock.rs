//! Rounds: by the worker, by hand, by pg_cron, several at once, with nothing to do, and what they clear away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testbed::monitored::{calm_sql, storms, Monitored, EPOCH, SOON};
use testbed::{eventually, Cluster};

/// Three sessions run rounds as fast as they can beside the worker, while storms pass.
#[test]
fn rounds_at_once_record_each_thing_once() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "at_once");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let listener = m.listen();
    let stop = AtomicBool::new(false);
    let (cluster, stop) = (&*cluster, &stop);
    std::thread::scope(|scope| {
        let rounds: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    let mut c = cluster.connect_to("at_once");
                    let mut n = 0;
                    while !stop.load(Ordering::Acquire) {
                        c.batch_execute("SELECT run_monitor()").expect("a round");
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        for k in 0..15 {
            for at in (0..50).step_by(5) {
                m.run(&format!("{} LIMIT 5 OFFSET {at}", storms(240 + 25 * k, 1)));
            }
        }
        m.until(
            "SELECT count(*) FROM incidents WHERE state = 'resolved'",
            "15",
        );
        stop.store(true, Ordering::Release);
        let n: usize = rounds.into_iter().map(|r| r.join().unwrap()).sum();
        println!("{n} rounds by hand");
        assert!(n >= 3);
    });
    m.assert_models();
    assert_eq!((m.events("opened"), m.events("resolved")), (15, 15));
    let mut heard = m.announced(&listener);
    assert_eq!(
        heard.len() as i64,
        m.number("SELECT count(*) FROM alerts_since()")
    );
    heard.sort();
    heard.dedup();
    assert_eq!(
        heard.len() as i64,
        m.number("SELECT count(*) FROM alerts_since()")
    );
}

/// A series remembers its last four incidents. More of them may come and go between two rounds.
#[test]
fn incidents_that_no_round_saw_are_told() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "unseen");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(&storms(240, 1));
    m.quiesce();
    let worker = m.number("SELECT worker_pid FROM monitor_health") as i32;
    cluster.freeze(worker);
    for k in 1..9 {
        for at in (0..50).step_by(5) {
            m.run(&format!("{} LIMIT 5 OFFSET {at}", storms(240 + 25 * k, 1)));
        }
    }
    cluster.thaw(worker);
    m.until(
        "SELECT count(*) FROM incidents WHERE state = 'resolved'",
        "9",
    );
    m.assert_models();
    assert_eq!((m.events("opened"), m.events("resolved")), (9, 9));
}

/// What a round costs that finds nothing to do: no transaction id, and how much time is printed.
#[test]
fn an_idle_round_is_cheap() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.tick_interval", "100ms")]);
    let mut m = Monitored::create(&cluster, "idle");
    m.run(&calm_sql(EPOCH, 0, 240));
    for n in 0..20 {
        m.run(&format!("CREATE TABLE t{n} (at timestamptz, kind text); SELECT watch_table('t{n}', 'at', NULL, '{{kind}}')"));
        m.run(&format!("INSERT INTO t{n} SELECT timestamptz '{EPOCH}' + make_interval(mins => m), 'k' FROM generate_series(1, 60) m"));
    }
    m.until("SELECT monitors FROM monitor_health", "21");
    m.quiesce();
    let ticks = |m: &mut Monitored| -> (i64, f64, String, u64) {
        let r = m.rows("SELECT rounds, round_ms, pg_snapshot_xmax(pg_current_snapshot()) FROM monitor_stats").remove(0);
        let pid = m.text("SELECT worker_pid FROM monitor_health");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the worker runs");
        let (_, after) = stat.rsplit_once(") ").expect("the name ends");
        // utime and stime, in hundredths of a second.
        let cpu = after
            .split(' ')
            .skip(11)
            .take(2)
            .map(|n| n.parse::<u64>().unwrap())
            .sum();
        (
            r[0].parse().unwrap(),
            r[1].parse().unwrap(),
            r[2].clone(),
            cpu,
        )
    };
    // The first rounds after a change read the catalog.
    std::thread::sleep(Duration::from_millis(1500));
    let before = ticks(&mut m);
    let began = Instant::now();
    eventually(SOON, || (ticks(&mut m).0 >= before.0 + 40).then_some(()));
    let after = ticks(&mut m);
    let rounds = (after.0 - before.0) as f64;
    println!(
        "idle, 21 monitors: {:.3} ms a round, of {rounds} in {:?}; {:.2} ms of CPU a round",
        (after.1 - before.1) / rounds,
        began.elapsed(),
        (after.3 - before.3) as f64 * 10.0 / rounds,
    );
    assert_eq!(before.2, after.2, "an idle round takes no transaction id");
}

/// Where no worker may run, pg_cron does its work.
#[test]
fn pg_cron_in_place_of_a_worker() {
    // The scheduler takes the only process for workers, and runs its jobs over connections.
    let cluster = Cluster::start_with(&[
        ("shared_preload_libraries", "pg_cron"),
        ("cron.database_name", "postgres"),
        ("cloudwalk_monitor.heartbeat_interval", "1s"),
        ("max_worker_processes", "1"),
        ("max_logical_replication_workers", "0"),
        ("max_parallel_workers", "0"),
    ]);
    let socket = cluster.socket_dir().to_string_lossy().into_owned();
    cluster
        .connect()
        .batch_execute(&format!("ALTER SYSTEM SET cron.host = '{socket}'"))
        .unwrap();
    cluster.restart();
    cluster.create_database("by_cron");
    let mut m = Monitored::of(&cluster, "by_cron");
    m.run("CREATE EXTENSION cloudwalk_monitor; ALTER DATABASE by_cron SET cloudwalk_monitor.alert_horizon = '100 years'");
    m.run("ALTER SYSTEM SET cloudwalk_monitor.sealed_horizon = '1 day'");
    m.run("SELECT pg_reload_conf()");
    m.until(
        "SELECT status FROM monitor_health",
        "no worker: max_worker_processes is used up; let pg_cron call run_monitor()",
    );
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(&storms(240, 2));
    // Each minute, as the README has it; and at once, so that nobody waits for a minute to begin.
    cluster
        .connect()
        .batch_execute(
            "CREATE EXTENSION pg_cron; \
             SELECT cron.schedule_in_database('monitor', '* * * * *', 'SELECT run_monitor()', 'by_cron'), \
                    cron.schedule_in_database('now', '@reboot', 'SELECT run_monitor()', 'by_cron')",
        )
        .unwrap();
    cluster.restart();
    m.reconnect();
    let listener = m.listen();
    let recorded = "SELECT count(*) FROM incidents WHERE state = 'resolved'";
    let minute = Duration::from_secs(90);
    let found = testbed::poll_until(minute, || (m.text(recorded) == "2").then_some(()));
    assert!(
        found.is_some(),
        "{:?}",
        cluster
            .connect()
            .simple_query("SELECT status, return_message FROM cron.job_run_details")
    );
    // Rows that came since are found by the next.
    m.run(&storms(290, 1));
    m.run("SELECT run_monitor()");
    assert_eq!(
        m.rows("SELECT status, worker_alive, lag < '1 minute' FROM monitor_health"),
        [["ok", "f", "t"].map(String::from)]
    );
    // Those of the first round may have come before the listener.
    let heard = m.announced(&listener);
    assert!(
        heard.iter().filter(|p| p.contains("\"alert\":")).count() >= 2,
        "{heard:#?}"
    );
    eventually(SOON, || {
        m.run("SELECT run_monitor()");
        listener
            .payloads()
            .iter()
            .any(|p| p.contains("\"heartbeat\""))
            .then_some(())
    });
    // A round by hand stores states and clears away as well.
    m.run(&storms(315, 120));
    m.run("SELECT run_monitor()");
    m.run(&storms(315 + 120 * 25, 1));
    m.run("SELECT run_monitor()");
    assert!(m.number("SELECT count(DISTINCT time) FROM snapshots") >= 2);
    assert_eq!(
        m.number("SELECT count(*) FROM verify_models() WHERE NOT same"),
        0
    );
    cluster
        .connect()
        .batch_execute("SELECT cron.unschedule('monitor')")
        .unwrap();
}

/// Old alerts go a thousand rows at a time; those of open incidents, and those that a refold would record anew, stay.
#[test]
fn what_is_old_goes_and_what_is_open_stays() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "old");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let old = |incidents: i64, from: i64, ended: bool| {
        format!(
            "INSERT INTO alerts (id, incident, group_id, at, event, monitor, series, severity, direction, time, buckets) \
             SELECT {from} + 3 * n + k, {from} + 3 * n, {from} + 3 * n, now() - interval '400 days', \
                    (ARRAY['opened', 'progress', '{}'])[k + 1], 'transactions', 's' || n, 'critical', 1, now() - interval '400 days', 1 \
               FROM generate_series(0, {incidents} - 1) n, generate_series(0, 2) k",
            if ended { "resolved" } else { "acknowledged" }
        )
    };
    // Old and open; old and ended; young.
    m.run(&old(500, 1, false));
    m.run(&old(3000, 2000, true));
    m.run(&old(100, 20_000, true));
    m.run("UPDATE alerts SET at = now() - interval '300 days' WHERE id > 20000 AND event = 'resolved'");
    m.run("SELECT setval(pg_get_serial_sequence('alerts', 'id'), 30000)");
    // A silence that hid nothing that is left; a younger one; one that hid an alert that stays for now.
    m.run(
        "INSERT INTO silences (id, monitor, until, created_by, settled_at) \
         SELECT n, 'transactions', now() - make_interval(days => d), 'me', now() - make_interval(days => d) \
           FROM (VALUES (1, 400), (2, 100), (3, 390)) v (n, d); \
         UPDATE alerts SET silence = 3 WHERE id = 20001",
    );
    let silences = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM silences";
    let count = "SELECT count(*) FILTER (WHERE id < 2000) || ' ' || count(*) FILTER (WHERE id BETWEEN 2000 AND 19999) \
                    || ' ' || count(*) FILTER (WHERE id >= 20000) FROM alerts";
    assert_eq!(m.text(count), "1500 9000 300");
    // Nothing is removed that lies within alert_horizon, which is 100 years here.
    m.run("SELECT pg_reload_conf()");
    std::thread::sleep(Duration::from_millis(500));
    m.quiesce();
    assert_eq!(m.text(count), "1500 9000 300");
    m.run("ALTER DATABASE old SET cloudwalk_monitor.alert_horizon = '1 day'");
    m.run("SELECT pg_reload_conf()");
    m.until(count, "1500 0 300");
    m.until(silences, "2 3");
    // A batch is a transaction.
    m.until("SELECT status FROM monitor_health", "ok");
    assert_eq!(
        m.number("SELECT count(*) FROM incidents WHERE state = 'acknowledged'"),
        500
    );
    m.run("ALTER SYSTEM SET cloudwalk_monitor.retention = '200 days'");
    m.run("SELECT pg_reload_conf()");
    m.until(count, "1500 0 0");
    m.until(silences, "2");
    m.run("ALTER SYSTEM RESET cloudwalk_monitor.retention");
    m.assert_models();
}

#[test]
fn snapshots_are_bounded() {
    let cluster = Cluster::start_with(&[
        ("cloudwalk_monitor.sealed_horizon", "1 day"),
        ("cloudwalk_monitor.snapshot_retention", "5 days"),
    ]);
    let mut m = Monitored::create(&cluster, "bounded");
    m.run(&calm_sql(EPOCH, 0, 20 * 1440));
    m.assert_models();
    // One a day; of the last day those of its last hours besides.
    let days = "SELECT count(DISTINCT time::date) FROM snapshots";
    let times = "SELECT count(DISTINCT time) FROM snapshots";
    assert_eq!(m.number(days), 6);
    assert!((7..=9).contains(&m.number(times)), "{}", m.number(times));
    // Never fewer than a restart needs.
    m.run("ALTER SYSTEM SET cloudwalk_monitor.snapshot_retention = '0'");
    m.run("SELECT pg_reload_conf()");
    m.run(&calm_sql(EPOCH, 20 * 1440, 22 * 1440));
    m.assert_models();
    assert_eq!(m.number(days), 4);
    assert!((5..=7).contains(&m.number(times)), "{}", m.number(times));
}

/// What the worker reads from the server's configuration a round by hand does too.
#[test]
fn a_round_by_hand_takes_the_settings() {
    let cluster = Cluster::start_with(&[("max_worker_processes", "0")]);
    cluster.create_database("settled");
    let mut m = Monitored::of(&cluster, "settled");
    m.run("CREATE EXTENSION cloudwalk_monitor");
    m.run("INSERT INTO transactions (status, count) VALUES ('denied', 1)");
    m.run("SELECT run_monitor()");
    m.run("ALTER SYSTEM SET cloudwalk_monitor.future_tolerance = '2 hours'");
    m.run("SELECT pg_reload_conf()");
    m.until("SHOW cloudwalk_monitor.future_tolerance", "2 hours");
    m.reconnect();
    m.run("SELECT run_monitor()");
    m.run("INSERT INTO transactions (time, status, count) VALUES (now() + interval '1 hour', 'denied', 1)");
    assert_eq!(m.number("SELECT rejected FROM read_stats()"), 0);
}
