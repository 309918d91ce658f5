//! Killed, stopped, dropped: nothing lost, nothing told twice as new, models equal to a refold.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testbed::monitored::{calm_sql, minute, storms, Monitored, EPOCH, SOON};
use testbed::{eventually, Choices, Cluster};

/// Clients that insert a stream, minute after minute with a storm now and then, whatever happens to them.
struct Stream {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicI64>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

/// Counts and amounts of four hours, before the stream: the amounts are judged as values.
fn furnish(m: &mut Monitored) {
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(
        "CREATE TABLE sales (at timestamptz, shop text, amount numeric(12,3)); \
         SELECT watch_table('sales', 'at', 'amount', '{shop}')",
    );
    let rows: String = (0..240).map(|at| sale(at, 1) + "; ").collect();
    m.run(&rows);
    m.quiesce();
    assert_eq!(
        m.rows("SELECT DISTINCT family FROM series_models('sales')"),
        [["values"]]
    );
}

/// A row of an amount with decimals.
fn sale(at: i64, factor: i64) -> String {
    format!(
        "INSERT INTO sales VALUES ({}, 'north', {factor} * (80.25 + {} * 0.137))",
        minute(at),
        at * 37 % 97
    )
}

/// A transaction of a minute: three rows, and now and then something that is undone or corrected.
fn mixed(at: i64, denied: i64) -> String {
    let row = |at: i64, status: &str, count: i64| {
        format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, '{status}', {count})",
            minute(at)
        )
    };
    let rows = format!(
        "{}; {}; {}",
        row(at, "denied", denied),
        row(at, "approved", 118 + at % 5),
        sale(at, if denied > 9 { 12 } else { 1 })
    );
    match at % 8 {
        0 => format!(
            "BEGIN; {rows}; SAVEPOINT a; {}; ROLLBACK TO a; COMMIT",
            row(at, "denied", 90)
        ),
        2 => format!(
            "{rows}; UPDATE transactions SET count = count + 1 WHERE status = 'approved' AND time = {}",
            minute(at - 20)
        ),
        4 => format!("{rows}; {}", row(at, "failed", 1)),
        6 => format!(
            "{rows}; DELETE FROM transactions WHERE status = 'failed' AND time = {}; \
             UPDATE sales SET amount = amount * 0.9 + 0.001 WHERE at = {}",
            minute(at - 34),
            minute(at - 21)
        ),
        _ => rows,
    }
}

/// How many accidents there are; `TESTBED_ROUNDS=100` for the long form.
fn rounds() -> usize {
    let rounds = std::env::var("TESTBED_ROUNDS").ok();
    rounds.map_or(5, |text| text.parse().expect("TESTBED_ROUNDS is a number"))
}

impl Stream {
    fn start(cluster: &'static Cluster, database: &'static str, clock: Arc<AtomicI64>) -> Stream {
        Self::paced(cluster, database, clock, Duration::ZERO)
    }

    /// With a pause after each transaction: a minute of data takes a third of it, and must not catch up with now.
    fn paced(
        cluster: &'static Cluster,
        database: &'static str,
        clock: Arc<AtomicI64>,
        pause: Duration,
    ) -> Stream {
        let stop = Arc::new(AtomicBool::new(false));
        let committed = Arc::new(AtomicI64::new(0));
        let clients = (0..3)
            .map(|n| {
                let (stop, committed, clock) = (stop.clone(), committed.clone(), clock.clone());
                std::thread::spawn(move || {
                    let mut client = None;
                    while !stop.load(Ordering::Relaxed) {
                        if client.is_none() {
                            client = cluster.try_connect_as("postgres", database).ok();
                            std::thread::sleep(Duration::from_millis(20));
                        }
                        let Some(c) = &mut client else { continue };
                        let at = clock.fetch_add(1, Ordering::Relaxed);
                        let denied = if at % 97 < 12 { 40 } else { 5 + n };
                        let sql = mixed(at, denied);
                        match c.batch_execute(&sql) {
                            Ok(()) => {
                                committed.fetch_add(2, Ordering::Relaxed);
                                std::thread::sleep(pause);
                            }
                            Err(_) => client = None,
                        }
                    }
                })
            })
            .collect();
        Stream {
            stop,
            committed,
            clients,
        }
    }

    /// Ends the stream; gives how many rows were acknowledged.
    fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        for c in self.clients {
            c.join().expect("a client thread ends");
        }
        self.committed.load(Ordering::Relaxed)
    }
}

/// What must hold after every accident.
fn assert_sound(m: &mut Monitored, acknowledged: i64) {
    m.assert_models();
    m.assert_models_of("sales");
    assert!(
        m.number("SELECT count(*) FROM transactions WHERE status IN ('denied', 'approved')")
            >= acknowledged,
        "an acknowledged row is lost"
    );
    assert_eq!(
        m.number("SELECT count(*) FROM (SELECT incident FROM alerts WHERE event = 'opened' GROUP BY 1 HAVING count(*) > 1) x"),
        0,
        "an incident was opened twice"
    );
    assert_eq!(
        m.rows(
            "SELECT monitor, series, direction, opened_at, count(*) FROM incidents WHERE state <> 'retracted' GROUP BY 1, 2, 3, 4 HAVING count(*) > 1"
        ),
        Vec::<Vec<String>>::new(),
        "the same incident was told twice as new"
    );
    assert_eq!(
        m.rows("SELECT monitor, series, direction FROM incidents WHERE state = 'open' GROUP BY 1, 2, 3 HAVING count(*) > 1"),
        Vec::<Vec<String>>::new()
    );
    // The incidents recorded are those of the table. The clients are not in step: a minute may fill after the
    // one behind it has alerted already, so that the table has the incident open a little earlier.
    // A backtest takes the last minutes for complete; live they are not sealed yet.
    let sealed = m.text("SELECT min(sealed_at) FROM verify_models('transactions')");
    let backtest = format!(
        "(SELECT series, direction, opened_at FROM backtest_monitor('transactions', '2025-01-01', '2026-01-01') \
           WHERE opened_at <= '{sealed}')"
    );
    let live = format!(
        "(SELECT series, direction, opened_at FROM incidents \
          WHERE monitor = 'transactions' AND state <> 'retracted' AND opened_at <= '{sealed}')"
    );
    for (these, those) in [(&backtest, &live), (&live, &backtest)] {
        assert_eq!(
            m.rows(&format!(
                "SELECT * FROM {these} a WHERE NOT EXISTS (SELECT FROM {those} b WHERE a.series = b.series \
                   AND a.direction = b.direction AND a.opened_at BETWEEN b.opened_at - interval '5 minutes' \
                   AND b.opened_at + interval '5 minutes')"
            )),
            Vec::<Vec<String>>::new(),
            "in {these}, not in {those}; recorded:\n{:#?}",
            m.rows("SELECT id, incident, at, event, series, time, last_seen_at, reason FROM alerts ORDER BY id DESC LIMIT 60")
                .iter()
                .map(|r| r.join(" | "))
                .collect::<Vec<_>>()
        );
    }
}

/// Nothing was told twice, and nothing that is not recorded: a notification goes out with its row or not at all.
fn assert_told_once(m: &mut Monitored, payloads: &[String]) {
    let sql = "SELECT p FROM unnest($1::text[]) AS p GROUP BY p \
               HAVING count(*) > 1 OR NOT EXISTS (SELECT FROM alerts a WHERE a.payload = p::jsonb)";
    let untrue = m.client.query(sql, &[&payloads]).expect("alerts are read");
    let untrue: Vec<String> = untrue.iter().map(|r| r.get(0)).collect();
    assert!(
        untrue.is_empty(),
        "told twice, or not recorded: {untrue:#?}"
    );
}

/// Kills one process, or all, without warning. The death of one makes the server end all others, this client's
/// included, and start anew.
fn kill(m: &mut Monitored, victim: &str) {
    let cluster = m.cluster;
    let pid = match victim {
        "cluster" => {
            cluster.kill9_postmaster_tree();
            return cluster.start_again();
        }
        "worker" => "SELECT worker_pid FROM monitor_health",
        _ => {
            "SELECT pid FROM pg_stat_activity \
              WHERE query LIKE 'INSERT INTO transactions%' AND pid <> pg_backend_pid() LIMIT 1"
        }
    };
    let pid = eventually(SOON, || m.text(pid).parse().ok());
    cluster.kill9(pid);
    eventually(SOON, || m.client.batch_execute("SELECT 1").err());
}

#[test]
fn killed_in_mid_load() {
    let mut choices = Choices::of_environment(1);
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    let mut m = Monitored::create(cluster, "killed");
    furnish(&mut m);
    let clock = Arc::new(AtomicI64::new(240));
    let pass = |minutes: i64| {
        let goal = clock.load(Ordering::Relaxed) + minutes;
        eventually(SOON, || {
            (clock.load(Ordering::Relaxed) > goal).then_some(())
        });
    };
    // By all listeners, over the lives of the server.
    let mut told = Vec::new();
    let mut acknowledged = 240 * 2;
    const VICTIMS: [&str; 3] = ["backend", "worker", "cluster"];
    let first = choices.below(3) as usize;
    for round in 0..rounds() {
        // Each of them also in the short form.
        let victim = VICTIMS[(first + round) % 3];
        let stream = Stream::start(cluster, "killed", clock.clone());
        let listener = m.listen();
        let minutes = 20 + choices.below(380);
        pass(minutes);
        kill(&mut m, victim);
        m.reconnect();
        told.extend(listener.payloads());
        let listener = m.listen();
        pass(300);
        acknowledged += stream.stop();
        println!(
            "{round}: killed after {minutes} minutes: {victim}; {acknowledged} rows acknowledged"
        );
        assert_sound(&mut m, acknowledged);
        told.extend(m.announced(&listener));
        assert_told_once(&mut m, &told);
    }
    assert!(m.events("opened") > 5);
    assert!(told.len() > 5, "{told:?}");
    cluster.stop();
}

/// Killed at random, or the server stopped as an administrator does, for `TESTBED_SECONDS` of load.
#[test]
fn the_worker_killed_again_and_again() {
    let seconds = std::env::var("TESTBED_SECONDS").map_or(8, |s| s.parse().expect("a number"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut choices = Choices::of_environment(3);
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    let mut m = Monitored::create(cluster, "again");
    furnish(&mut m);
    let clock = Arc::new(AtomicI64::new(240));
    let stream = Stream::paced(cluster, "again", clock.clone(), Duration::from_millis(5));
    // Over all lives of the server: a client with a cursor, and all that was notified.
    let (mut cursor, mut told) = (Cursor::default(), Vec::new());
    let (mut kills, mut stops) = (0, 0);
    while Instant::now() < end || kills < 2 || stops < 1 {
        let listener = m.listen();
        let until = Instant::now() + Duration::from_millis(choices.below(1500) as u64);
        while Instant::now() < until {
            cursor.follow(&mut m);
            std::thread::sleep(Duration::from_millis(10));
        }
        if choices.below(4) == 0 || stops == 0 {
            let began = Instant::now();
            cluster.restart();
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "a fast stop is prompt"
            );
            stops += 1;
        } else {
            kill(&mut m, "worker");
            kills += 1;
        }
        m.reconnect();
        told.extend(listener.payloads());
        // The next insert starts it, or the server has done so.
        let alive = "SELECT worker_alive AND last_round > clock_timestamp() - interval '5 s' FROM monitor_health";
        eventually(SOON, || (m.text(alive) == "t").then_some(()));
    }
    let listener = m.listen();
    let acknowledged = 240 * 2 + stream.stop();
    assert_sound(&mut m, acknowledged);
    told.extend(m.announced(&listener));
    assert_told_once(&mut m, &told);
    cursor.follow(&mut m);
    let all: Vec<i64> = m
        .rows("SELECT id FROM alerts_since(0, NULL)")
        .iter()
        .map(|r| r[0].parse().expect("a number"))
        .collect();
    assert_eq!(cursor.read, all, "each was read once, in order");
    println!(
        "worker killed {kills} times, server stopped {stops} times in {seconds} s: {acknowledged} rows, {} alerts, {} heard",
        all.len(),
        told.len()
    );
    cluster.stop();
}

/// A client that reads on from the last alert it has seen.
#[derive(Default)]
struct Cursor {
    last: i64,
    read: Vec<i64>,
}

impl Cursor {
    fn follow(&mut self, m: &mut Monitored) {
        let sql = "SELECT id FROM alerts_since($1, NULL)";
        // The server may be on its way down.
        for r in m.client.query(sql, &[&self.last]).unwrap_or_default() {
            self.last = r.get(0);
            self.read.push(self.last);
        }
    }
}

/// A synchronous standby takes over in the middle of an incident.
#[test]
fn a_standby_is_promoted() {
    for preload in ["", "cloudwalk_monitor"] {
        let cluster = Cluster::start_with(&[("shared_preload_libraries", preload)]);
        let mut m = Monitored::create(&cluster, "promoted");
        m.run(&calm_sql(EPOCH, 0, 240));
        m.quiesce();
        let standby = cluster.start_standby(&[("primary_slot_name", "")]);
        m.run("ALTER SYSTEM SET synchronous_standby_names = '*'; ");
        m.run("ALTER SYSTEM SET synchronous_commit = 'remote_apply'");
        m.run("SELECT pg_reload_conf()");
        m.until("SELECT sync_state FROM pg_stat_replication", "sync");
        m.reconnect();
        // One incident is over, one goes on, one is acknowledged.
        m.run(&storms(240, 1));
        m.until("SELECT state FROM incidents", "resolved");
        m.run(&storms(265, 1).replace(
            "make_interval(mins => m)",
            "make_interval(mins => least(m, 269))",
        ));
        m.until("SELECT count(*) FROM incidents WHERE state = 'open'", "1");
        m.run("SELECT acknowledge_incident(id, 'mine') FROM incidents WHERE state = 'open'");
        m.quiesce();
        let incidents =
            "SELECT id, series, state, opened_at, acknowledged_by FROM incidents ORDER BY id";
        let before = m.rows(incidents);
        let alerts = m.rows("SELECT id, event FROM alerts ORDER BY id");

        // On the standby the reading functions work.
        let mut s = Monitored::of(&standby, "promoted");
        assert_eq!(s.rows(incidents), before);
        for (sql, wanted) in [
            ("SELECT count(*) FROM alerts_since()", "4"),
            ("SELECT count(*) > 100 FROM scored_series('1 hour', '2025-07-14 12:30+00')", "t"),
            ("SELECT count(*) > 0 FROM detect_anomalies('1 hour', '2025-07-14 12:30+00')", "t"),
            ("SELECT count(*) FROM backtest_monitor('transactions', '2025-07-14', '2025-07-15')", "2"),
            ("SELECT recommendation || verdict FROM recommend_alert('denied', 60, '2025-07-14 12:30+00')", "oklearning"),
            ("SELECT count(*) > 10 FROM chart_series('denied', '1 hour', '2025-07-14 12:30+00')", "t"),
            ("SELECT count(*) FROM blind_spots WHERE what <> 'silence'", "0"),
            ("SELECT scored FROM monitor_stats", "0"),
        ] {
            assert_eq!(s.text(sql), wanted, "{sql}");
        }
        assert!(s
            .refused("SELECT run_monitor()")
            .message()
            .contains("read-only"));

        cluster.stop();
        s.run("SELECT pg_promote()");
        s.run("ALTER SYSTEM SET synchronous_standby_names = ''");
        s.run("SELECT pg_reload_conf()");
        s.until("SELECT pg_is_in_recovery()", "f");
        if preload.is_empty() {
            s.until(
                "SELECT split_part(status, ':', 1) FROM monitor_health",
                "no worker yet",
            );
            s.run(&format!(
                "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 60), ({0}, 'approved', 120)",
                minute(270)
            ));
        }
        s.until("SELECT worker_alive FROM monitor_health", "t");
        s.assert_models();
        // Nothing is told again, and the incident goes on.
        assert_eq!(s.rows(incidents), before);
        assert_eq!(
            s.rows("SELECT id, event FROM alerts WHERE event <> 'progress' ORDER BY id"),
            alerts
                .into_iter()
                .filter(|a| a[1] != "progress")
                .collect::<Vec<_>>()
        );
        let listener = s.listen();
        // No minute is left out: that would be a silence.
        let from = if preload.is_empty() { 271 } else { 270 };
        s.run(&calm_sql(EPOCH, from, 300));
        s.until(
            "SELECT count(*) FROM incidents WHERE state = 'resolved'",
            "2",
        );
        assert_eq!(s.announced(&listener).len(), 1);
        assert!(s.number("SELECT max(id) FROM alerts") > 4);
        s.assert_models();
    }
}

/// A version that exists in the tests alone: rounds go on, and inserts too.
#[test]
fn updated_under_load() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    let mut m = Monitored::create(cluster, "updated");
    let directory = m.text("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'");
    let script =
        std::path::Path::new(&directory).join("extension/cloudwalk_monitor--0.1.0--0.1.0.test.sql");
    std::fs::write(
        &script,
        "ALTER TABLE alerts ADD COLUMN shift text;\n\
         COMMENT ON COLUMN alerts.shift IS 'For a test.';\n\
         CREATE FUNCTION of_the_test() RETURNS integer LANGUAGE sql AS 'SELECT 1';\n",
    )
    .expect("the test's server has files of its own");
    furnish(&mut m);
    let clock = Arc::new(AtomicI64::new(240));
    let stream = Stream::start(cluster, "updated", clock.clone());
    let goes_on = |m: &mut Monitored| {
        let minutes = clock.load(Ordering::Relaxed) + 200;
        let opened = m.events("opened");
        eventually(SOON, || {
            (clock.load(Ordering::Relaxed) > minutes && m.events("opened") > opened).then_some(())
        });
    };
    goes_on(&mut m);
    let pid = m.text("SELECT worker_pid FROM monitor_health");
    m.run("ALTER EXTENSION cloudwalk_monitor UPDATE TO '0.1.0.test'");
    goes_on(&mut m);
    assert_eq!(m.text("SELECT of_the_test()"), "1");
    assert_eq!(m.text("SELECT worker_pid FROM monitor_health"), pid);
    assert_eq!(m.number("SELECT errors FROM monitor_stats"), 0);
    let acknowledged = 240 * 2 + stream.stop();
    assert_sound(&mut m, acknowledged);
    let _ = std::fs::remove_file(script);
    cluster.stop();
}

#[test]
fn worker_ends_and_comes_back() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "worker");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let pid = m.number("SELECT worker_pid FROM monitor_health");
    m.run(&format!("SELECT pg_terminate_backend({pid})"));
    m.until("SELECT worker_alive FROM monitor_health", "f");
    eventually(SOON, || {
        m.run("INSERT INTO transactions (time, status, count) VALUES ('2025-07-14 12:00+00', 'approved', 1)");
        (m.text("SELECT worker_alive FROM monitor_health") == "t").then_some(())
    });
    m.assert_models();
    m.run("ALTER SYSTEM SET cloudwalk_monitor.lateness = '1 minute'");
    m.run("SELECT pg_reload_conf()");
    m.run(&calm_sql(EPOCH, 241, 260));
    m.assert_models();

    let began = Instant::now();
    m.run("DROP EXTENSION cloudwalk_monitor");
    assert!(began.elapsed() < Duration::from_secs(5));
    m.until(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'cloudwalk_monitor'",
        "0",
    );
    m.run("CREATE EXTENSION cloudwalk_monitor");
    m.quiesce();
    m.run(&calm_sql(EPOCH, 0, 60));
    m.assert_models();
    assert_eq!(
        m.text("SELECT count(*) FROM verify_models()"),
        "4",
        "nothing of the former life is left"
    );

    m.run(&calm_sql(EPOCH, 60, 20_000));
    m.quiesce();
    // A row of six days ago, within sealed_horizon: the worker begins to fold all that came later again.
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'approved', 1)",
        minute(20_000 - 6 * 1440)
    ));
    let began = Instant::now();
    cluster.stop();
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "a fast stop is prompt: {took:?}"
    );
    cluster.start_again();
    m.reconnect();
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'approved', 120)",
        minute(20_000)
    ));
    m.assert_models();
    assert!(m.number("SELECT count(DISTINCT time) FROM snapshots") > 5);
}

#[test]
fn preloaded_it_starts_at_boot() {
    let cluster = Cluster::start_with(&[("shared_preload_libraries", "cloudwalk_monitor")]);
    let mut m = Monitored::create(&cluster, "boot");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    cluster.restart();
    m.reconnect();
    m.assert_models();
    assert_eq!(
        m.text("SELECT split_part(detail, ' ', 1)::int > 230 FROM verify_models() WHERE series = 'denied'"),
        "t"
    );
}

/// What is older than `sealed_horizon` is behind every stored state that a restart begins with, so that it has to be
/// remembered on disk until the refold is recorded.
#[test]
fn old_rows_survive_a_crash_before_their_refold() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.sealed_horizon", "1 day")]);
    let mut m = Monitored::create(&cluster, "old");
    m.run(&calm_sql(EPOCH, 0, 5 * 1440));
    m.assert_models();
    assert!(m.number("SELECT count(DISTINCT time) FROM snapshots") > 3);
    let old_rows = [
        format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 40)",
            minute(300)
        ),
        format!(
            "BEGIN; SAVEPOINT a; INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 50); \
             ROLLBACK TO a; INSERT INTO transactions (time, status, count) VALUES ({}, 'failed', 9); COMMIT",
            minute(200),
            minute(400)
        ),
        format!(
            "BEGIN; INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 60); \
             PREPARE TRANSACTION 'old'; COMMIT PREPARED 'old'",
            minute(500)
        ),
        "TRUNCATE transactions".to_string(),
    ];
    for sql in old_rows {
        let worker = m.number("SELECT worker_pid FROM monitor_health");
        cluster.freeze(worker as i32);
        for statement in sql.split("; ") {
            m.run(statement);
        }
        cluster.kill9_postmaster_tree();
        cluster.start_again();
        m.reconnect();
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, 'approved', 120)",
            minute(5 * 1440 + 1)
        ));
        m.assert_models();
        println!("survived: {sql}");
    }
    assert_eq!(m.number("SELECT count(*) FROM unfolded"), 0);
}

/// A worker that is ended with its database cannot free the shared memory of the models; those of other databases do.
#[test]
fn the_memory_of_a_dropped_database_is_freed() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "stays");
    let traces = |cluster: &Cluster| -> Vec<String> {
        let directory = cluster.data_dir().join("pg_stat_tmp");
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .expect("the data directory can be read")
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .filter(|n| n.starts_with("cloudwalk_monitor."))
            .collect();
        names.sort();
        names
    };
    let one = traces(&cluster);
    assert_eq!(one.len(), 1, "{one:?}");
    let goes = Monitored::create(&cluster, "goes");
    let both = traces(&cluster);
    assert_eq!(both.len(), 2, "{both:?}");
    let new = both.iter().find(|n| !one.contains(n)).expect("one is new");
    let text = std::fs::read_to_string(cluster.data_dir().join("pg_stat_tmp").join(new));
    let text = text.expect("the handle can be read");
    let handle = text.split_whitespace().last().expect("a handle");
    let memory = format!("/dev/shm/PostgreSQL.{handle}");
    assert!(std::path::Path::new(&memory).exists(), "{memory}");
    drop(goes);
    m.run("DROP DATABASE goes WITH (FORCE)");
    eventually(SOON, || (traces(&cluster) == one).then_some(()));
    eventually(SOON, || {
        (!std::path::Path::new(&memory).exists()).then_some(())
    });
    m.run(&calm_sql(EPOCH, 0, 60));
    m.assert_models();
}

#[test]
fn a_worker_that_cannot_start_is_told_of() {
    // The launcher takes one, each database in turn another.
    let cluster = Cluster::start_with(&[
        ("shared_preload_libraries", "cloudwalk_monitor"),
        ("max_worker_processes", "2"),
        ("max_logical_replication_workers", "0"),
        ("max_parallel_workers", "0"),
    ]);
    let databases = ["one", "two", "three"];
    for name in databases {
        cluster.create_database(name);
        cluster
            .connect_to(name)
            .batch_execute("CREATE EXTENSION cloudwalk_monitor")
            .unwrap();
    }
    cluster.restart();
    let warned = |c: &Cluster| {
        c.log()
            .lines()
            .filter(|l| {
                l.contains("WARNING") && l.contains("worker") && l.contains("could not be started")
            })
            .count()
    };
    assert!(
        testbed::poll_until(SOON, || (warned(&cluster) > 0).then_some(())).is_some(),
        "{}",
        cluster.log_tail()
    );
    assert_eq!(warned(&cluster), 1, "it is said once");
    // The launcher has made room for one more; whoever comes last is told.
    let told = testbed::poll_until(SOON, || {
        let mut told = 0;
        for name in databases {
            let status: String = cluster
                .connect_to(name)
                .query_one("SELECT status FROM monitor_health", &[])
                .unwrap()
                .get(0);
            told += usize::from(status.contains("max_worker_processes"));
        }
        (told == 1).then_some(())
    });
    assert!(told.is_some(), "{}", cluster.log_tail());
}

/// After a restart the monitors are loaded in the order of their newest stored states, and of those of the same hour the
/// largest first. Cells are taken in that order.
#[test]
fn the_newest_and_busiest_monitors_are_loaded_first() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "load_order");
    m.run(&calm_sql("2025-07-01 08:00+00", 0, 30));
    // Name, last day, rows a minute.
    let tables = [("small", 16, 1), ("big", 16, 9), ("stale", 10, 9)];
    for (table, day, rows) in tables {
        m.run(&format!(
            "CREATE TABLE {table} (at timestamptz, kind text); SELECT watch_table('{table}', 'at', series_columns => '{{kind}}'); \
             INSERT INTO {table} SELECT t, 'a' FROM generate_series('2025-07-{} 12:00+00', '2025-07-{day} 12:00+00', interval '1 minute') t, \
                                                generate_series(1, {rows})",
            day - 1
        ));
    }
    for (table, ..) in tables {
        m.assert_models_of(table);
    }
    m.until("SELECT count(DISTINCT monitor) FROM snapshots", "3");
    cluster.restart();
    m.reconnect();
    m.run("INSERT INTO stale VALUES ('2025-07-10 12:01+00', 'a')");
    m.quiesce();
    let order = "SELECT string_agg(w.name, ' ' ORDER BY c.n) FROM read_cells() WITH ORDINALITY c(id, a, b, d, e, n) JOIN monitors w ON w.relation = \
                   coalesce((SELECT x.relation FROM watched x WHERE x.id = c.id), 'transactions'::regclass)";
    assert_eq!(m.text(order), "stale big small transactions");
    for (table, ..) in tables {
        m.assert_models_of(table);
    }
}
