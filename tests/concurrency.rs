//! Many clients at once: no error that the same load without triggers does not have, and exact models.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::Client;
use testbed::monitored::{calm_sql, minute, Monitored, EPOCH, SOON};
use testbed::{Choices, Cluster};

/// How long a load lasts; `TESTBED_SECONDS=60` for the long form.
fn load_time() -> Duration {
    let seconds = std::env::var("TESTBED_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(6);
    Duration::from_secs(seconds)
}

/// What a load came to: commits, and failures by SQLSTATE.
#[derive(Debug, Default)]
struct Outcome {
    commits: u64,
    failures: BTreeMap<String, u64>,
}

/// Runs a statement again and again in transactions of an isolation level, from several clients.
fn load(m: &Monitored, clients: usize, isolation: &'static str, sql: &'static str) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..clients)
        .map(|_| {
            let mut client = m.connect();
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut outcome = Outcome::default();
                while !stop.load(Ordering::Relaxed) {
                    match transact(&mut client, isolation, sql) {
                        Ok(()) => outcome.commits += 1,
                        Err(e) => {
                            let code = e.code().map_or("client".into(), |c| c.code().to_string());
                            *outcome.failures.entry(code).or_default() += 1;
                        }
                    }
                }
                outcome
            })
        })
        .collect();
    std::thread::sleep(load_time());
    stop.store(true, Ordering::Relaxed);
    let mut all = Outcome::default();
    for w in workers {
        let o = w.join().expect("a client thread ends");
        all.commits += o.commits;
        for (k, n) in o.failures {
            *all.failures.entry(k).or_default() += n;
        }
    }
    all
}

fn transact(client: &mut Client, isolation: &str, sql: &str) -> Result<(), postgres::Error> {
    let done = client.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}; {sql}; COMMIT"));
    if done.is_err() {
        client.batch_execute("ROLLBACK")?;
    }
    done
}

/// History that ends with the minute before this one, so that the model knows the series.
const HISTORY: &str = "INSERT INTO transactions (time, status, count) \
    SELECT date_trunc('minute', now()) - make_interval(mins => m), 'denied', 5 + m % 3 \
      FROM generate_series(1, 240) m ORDER BY 1";

const STORM: &str = "INSERT INTO transactions (status, count) VALUES ('denied', 2), ('denied', 1)";

fn writers_are_not_disturbed(name: &str, clients: usize, isolation: &'static str) {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, name);
    m.run(HISTORY);
    m.quiesce();
    let listener = m.listen();
    let ours = load(&m, clients, isolation, STORM);

    let plain = Monitored::create(&cluster, &format!("{name}_plain"));
    let mut p = plain;
    p.run("ALTER TABLE transactions DISABLE TRIGGER ALL");
    p.run(HISTORY);
    let theirs = load(&p, clients, isolation, STORM);
    println!("{clients} {isolation} writers: {ours:?}, without triggers {theirs:?}");
    for code in ours.failures.keys() {
        assert!(
            theirs.failures.contains_key(code),
            "{code} does not occur without triggers: {ours:?}"
        );
    }
    assert!(ours.commits > 100, "{ours:?}");

    m.until(
        "SELECT count(*) FROM incidents WHERE series = 'denied'",
        "1",
    );
    m.assert_models();
    assert_eq!(
        m.number("SELECT sum(count) FROM transactions WHERE time >= date_trunc('minute', now()) - interval '5 minutes' AND id > 240"),
        ours.commits as i64 * 3
    );
    assert_eq!(m.events("opened"), 1);
    let mut opened = m.announced(&listener);
    opened.retain(|p| p.contains("\"event\":\"opened\""));
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert!(opened[0].contains("\"series\":\"denied\""), "{opened:?}");
}

#[test]
fn serializable_writers_meet_no_conflict() {
    writers_are_not_disturbed("eight_serializable", 8, "SERIALIZABLE");
}

#[test]
fn repeatable_read_writers_meet_no_conflict() {
    writers_are_not_disturbed("many_repeatable", 32, "REPEATABLE READ");
}

#[test]
fn interleaved_clients_add_up() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "interleaved");
    m.run(&calm_sql(EPOCH, 0, 120));
    m.quiesce();
    let before = m.number("SELECT sum(count) FROM transactions");
    let until = Instant::now() + load_time();
    let clients: Vec<_> = (1..=16u64)
        .map(|n| {
            let client = m.connect();
            std::thread::spawn(move || interleave(client, Choices::new(n), until))
        })
        .collect();
    let (mut rounds, mut added) = (0, 0);
    for c in clients {
        let (r, a) = c.join().expect("a client thread ends");
        (rounds, added) = (rounds + r, added + a);
    }
    println!("16 clients, seeds 1 to 16: {rounds} rounds, {added} transactions added");
    m.assert_models();
    assert_eq!(
        m.number("SELECT sum(count) FROM transactions"),
        before + added
    );
    assert_eq!(m.number("SELECT errors FROM monitor_stats"), 0);
}

/// Small transactions of one client on a series that all share, some of them undone wholly or in part. Gives how
/// many there were, and by how much the client has changed the sum of the table.
fn interleave(mut client: Client, mut choices: Choices, until: Instant) -> (i64, i64) {
    let (mut rounds, mut added) = (0, 0);
    while Instant::now() < until {
        rounds += 1;
        let at = minute(120 + rounds / 8 - choices.below(3));
        let count = choices.below(4);
        let insert = format!(
            "INSERT INTO transactions (time, status, count) VALUES ({at}, 'denied', {count})"
        );
        let (sql, kept) = match choices.below(6) {
            0 => (format!("BEGIN; {insert}; ROLLBACK"), 0),
            1 => (
                format!("BEGIN; {insert}; SAVEPOINT s; {insert}; ROLLBACK TO s; {insert}; COMMIT"),
                2,
            ),
            2 => (
                format!("BEGIN; SAVEPOINT s; {insert}; RELEASE s; {insert}; COMMIT"),
                2,
            ),
            3 => {
                added -= delete_one(&mut client, &at);
                continue;
            }
            _ => (insert, 1),
        };
        client.batch_execute(&sql).expect("a transaction");
        added += kept * count;
    }
    (rounds, added)
}

/// Deletes a row of a minute that nobody else has locked; gives its count.
fn delete_one(client: &mut Client, at: &str) -> i64 {
    let sql = format!(
        "DELETE FROM transactions WHERE ctid = (SELECT ctid FROM transactions WHERE time = {at} \
           LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING count"
    );
    let rows = client.query(&sql, &[]).expect("a row is deleted");
    rows.iter().map(|r| i64::from(r.get::<_, i32>(0))).sum()
}

#[test]
fn prepared_transactions_count_when_they_commit() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "two_phase");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let storm = |at: i64| {
        format!(
            "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 120)",
            minute(at)
        )
    };
    m.run(&format!("BEGIN; {}; PREPARE TRANSACTION 'no'", storm(239)));
    m.run(&format!("BEGIN; {}; PREPARE TRANSACTION 'yes'", storm(240)));
    m.assert_models();
    assert_eq!(m.events("opened"), 0);
    m.run("ROLLBACK PREPARED 'no'");
    m.run("COMMIT PREPARED 'yes'");
    m.until("SELECT count(*) FROM incidents WHERE state = 'open'", "1");
    m.assert_models();
    assert_eq!(
        m.text("SELECT opened_at = '2025-07-14 12:00+00' FROM incidents"),
        "t"
    );
    // One that is prepared across a restart of the server is found again.
    let own = Cluster::start();
    let mut m = Monitored::create(&own, "two_phase");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(&format!(
        "BEGIN; {}; PREPARE TRANSACTION 'later'",
        storm(240)
    ));
    own.restart();
    m.reconnect();
    m.run("INSERT INTO transactions (time, status, count) VALUES ('2025-07-14 08:00+00', 'approved', 0)");
    m.assert_models();
    m.run("COMMIT PREPARED 'later'");
    m.until("SELECT count(*) FROM incidents WHERE state = 'open'", "1");
    m.assert_models();
}

#[test]
fn from_commit_to_notification() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "latency");
    // A monitor each: series of one that turn bad together are told of together.
    for k in 1..=20 {
        m.run(&format!(
            "CREATE TABLE payments{k} (at timestamptz); SELECT watch_table('payments{k}', 'at'); \
             INSERT INTO payments{k} SELECT timestamptz '2025-07-14 08:00+00' + make_interval(mins => m) \
               FROM generate_series(0, 179) m, generate_series(1, 5)"
        ));
    }
    m.quiesce();
    let listener = m.listen();
    let mut waits = Vec::new();
    for k in 1..=20 {
        let began = Instant::now();
        m.run(&format!(
            "INSERT INTO payments{k} SELECT '2025-07-14 11:00+00' FROM generate_series(1, 60)"
        ));
        let heard = listener.wait_for(k, SOON);
        assert!(heard[k - 1].payload.contains(&format!("\"payments{k}\"")));
        waits.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    waits.sort_by(f64::total_cmp);
    println!(
        "INSERT sent to notification received, ms: median {:.2}, worst of 20 {:.2}",
        waits[10], waits[19]
    );
    m.assert_models_of("payments20");
}
