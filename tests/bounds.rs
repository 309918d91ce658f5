//! Each bound, and what happens beyond it: it is counted, the payment goes through, and the models come right.

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH, SOON};
use testbed::{eventually, Cluster};

/// Status changes of rows whose minute is not sealed yet are additions like others: no refold, however many.
#[test]
fn corrections_of_unsealed_minutes_cost_no_refold() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "in_place");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.assert_models();
    let refolds = m.number("SELECT refolds FROM monitor_stats");
    for at in 240..400 {
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) SELECT {}, 'processing', 1 FROM generate_series(1, 10)",
            minute(at)
        ));
        m.run(&format!(
            "UPDATE transactions SET status = 'approved' WHERE time = {} AND status = 'processing'",
            minute(at - 1)
        ));
        m.run(&format!(
            "INSERT INTO transactions (id, time, status, count) VALUES (1000000000 + {at}, {0}, 'denied', 3) \
               ON CONFLICT (id) DO NOTHING; \
             INSERT INTO transactions (id, time, status, count) VALUES (1000000000 + {at}, {0}, 'denied', 4) \
               ON CONFLICT (id) DO UPDATE SET count = transactions.count + excluded.count; \
             DELETE FROM transactions WHERE id = 1000000000 + {at} - 1",
            minute(at)
        ));
    }
    m.assert_models();
    assert_eq!(m.number("SELECT refolds FROM monitor_stats"), refolds);
    assert_eq!(m.number("SELECT late FROM monitor_stats"), 0);
}

#[test]
fn more_series_than_slots_are_counted_together() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.shared_memory", "1MB")]);
    let mut m = Monitored::create(&cluster, "slots");
    let room = m.number("SELECT series_capacity FROM monitor_stats");
    assert!(room < 400, "{room}");
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) SELECT {}, 'status ' || g, 2 FROM generate_series(1, 600) g",
        minute(0)
    ));
    assert_eq!(m.number("SELECT count(*) FROM transactions"), 600);
    m.quiesce();
    m.until("SELECT overflows > 0 FROM monitor_stats", "t");
    assert!(m.number("SELECT series FROM monitor_stats") <= room);
    m.until(
        "SELECT count(*) FROM blind_spots WHERE monitor = 'transactions' AND what = 'series'",
        "1",
    );
    // Those that have a place are judged as ever.
    for at in 1..90 {
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({0}, 'status 1', 5), ({0}, 'status 599', 2)",
            minute(at)
        ));
    }
    m.quiesce();
    assert_eq!(
        m.text(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, 'status 1', 90) RETURNING verdict",
            minute(90)
        )),
        "critical"
    );
}

/// Those without a place are one series, `(other)`: their sums are added, live, in a refold, after a restart, and
/// in what reading functions show.
#[test]
fn series_without_a_place_are_folded_as_one() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.shared_memory", "1MB")]);
    let mut m = Monitored::create(&cluster, "together");
    let minutes = |from: i64, to: i64| {
        format!(
            "INSERT INTO transactions (time, status, count) \
             SELECT {} + make_interval(mins => at), 'status ' || g, 2 + (g + at) % 5 \
               FROM generate_series({from}, {to} - 1) at, generate_series(1, 600) g ORDER BY at",
            minute(0)
        )
    };
    for at in 0..40 {
        m.run(&minutes(at, at + 1));
    }
    m.assert_models();
    assert_eq!(
        m.number("SELECT count(*) FROM verify_models() WHERE series = '(other)'"),
        1
    );
    let refolds = m.number("SELECT refolds FROM monitor_stats");
    m.run(&format!(
        "UPDATE transactions SET count = count + 1 WHERE time = {} AND status >= 'status 5'",
        minute(5)
    ));
    m.assert_models();
    assert!(m.number("SELECT refolds FROM monitor_stats") > refolds);
    let shown = |m: &mut Monitored, until: i64| {
        m.rows(&format!(
            "SELECT sum(observed) FILTER (WHERE series = '(other)') > 500, \
                    sum(observed) FILTER (WHERE series <> '(total)') = sum(observed) FILTER (WHERE series = '(total)'), \
                    count(*) FILTER (WHERE series <> '(total)') = (SELECT count(*) - 1 FROM verify_models()) \
               FROM scored_series('1 minute', {})",
            minute(until)
        ))
    };
    assert_eq!(shown(&mut m, 31), [["t", "t", "t"]]);
    // A row of one of them is judged as what it is added to.
    let expected = m.number(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'status new', 1) RETURNING expected::int",
        minute(40)
    ));
    assert!(expected > 300, "{expected}");
    m.assert_models();
    for (memory, fewer) in [("1MB", false), ("8MB", true)] {
        m.run("LOAD 'cloudwalk_monitor'");
        m.run(&format!(
            "ALTER SYSTEM SET cloudwalk_monitor.shared_memory = '{memory}'"
        ));
        cluster.restart();
        m.reconnect();
        m.run(&minutes(
            if fewer { 42 } else { 41 },
            if fewer { 43 } else { 42 },
        ));
        m.assert_models();
        // With more memory each has a place again.
        let others = "SELECT count(*) FROM verify_models() WHERE series = '(other)'";
        assert_eq!(m.number(others), i64::from(!fewer), "{memory}");
        assert_eq!(shown(&mut m, 42)[0][1..], ["t", "t"], "{memory}");
    }
}

#[test]
fn a_transaction_with_more_entries_than_a_journal_is_folded_in() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "journal");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.assert_models();
    let refolds = m.number("SELECT refolds FROM monitor_stats");
    m.run(&format!(
        "BEGIN; SAVEPOINT a; INSERT INTO transactions (time, status, count) \
           SELECT {} + make_interval(mins => g % 20), 'status ' || g / 20, 3 FROM generate_series(0, 5999) g; \
         ROLLBACK TO a; INSERT INTO transactions (time, status, count) \
           SELECT {} + make_interval(mins => g % 20), 'status ' || g / 20, 1 FROM generate_series(0, 4999) g; COMMIT",
        minute(240),
        minute(240)
    ));
    m.assert_models();
    assert!(m.number("SELECT refolds FROM monitor_stats") > refolds);
    assert_eq!(
        m.number("SELECT count(*) FROM verify_models() WHERE series LIKE 'status %' AND same"),
        250
    );
}

#[test]
fn more_deltas_than_wait_for_a_load_are_read_by_the_next() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "queue");
    m.run(&calm_sql(EPOCH, 0, 120 * 1440));
    m.assert_models();
    let last = 120 * 1440;
    let mut clients: Vec<_> = (0..4)
        .map(|n| {
            let mut c = m.connect();
            c.batch_execute(&format!(
                "BEGIN; INSERT INTO transactions (time, status, count) \
                   SELECT {} + make_interval(mins => g % 10), 'client {n} ' || g / 10, 1 FROM generate_series(0, 3999) g",
                minute(last)
            ))
            .expect("rows");
            c
        })
        .collect();
    let overflows = m.number("SELECT overflows FROM monitor_stats");
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'approved', 1)",
        minute(10)
    ));
    eventually(SOON, || {
        (m.text("SELECT loading FROM monitor_health") == "1").then_some(())
    });
    for c in &mut clients {
        c.batch_execute("COMMIT").expect("a commit");
    }
    m.assert_models();
    assert!(m.number("SELECT overflows FROM monitor_stats") > overflows);
    assert_eq!(
        m.number("SELECT count(*) FROM verify_models() WHERE series LIKE 'client %' AND same"),
        1600
    );
}

#[test]
fn more_prepared_transactions_than_the_list_takes_are_found() {
    let cluster = Cluster::start_with(&[("max_prepared_transactions", "200")]);
    let mut m = Monitored::create(&cluster, "list");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.assert_models();
    for n in 0..150 {
        m.run(&format!(
            "BEGIN; INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 1); PREPARE TRANSACTION 'p{n}'",
            minute(200 + n / 4)
        ));
    }
    m.assert_models();
    assert!(m.number("SELECT overflows FROM monitor_stats") > 0);
    for n in 0..150 {
        m.run(&format!("COMMIT PREPARED 'p{n}'"));
    }
    m.assert_models();
    assert_eq!(
        m.number("SELECT sum(count) FROM transactions WHERE status = 'denied' AND count = 1 AND time >= '2025-07-14 11:20+00'"),
        m.number("SELECT count(*) FROM transactions WHERE status = 'denied' AND count = 1 AND time >= '2025-07-14 11:20+00'")
    );
}
