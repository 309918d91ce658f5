//! pg_dump carries everything, and restoring it pages nobody.

use std::io::Write;

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

/// Everything that has to be the same on the other side.
const CONTENT: [&str; 10] = [
    "SELECT id, time, status, count, expected, score, verdict FROM transactions ORDER BY id",
    "SELECT id, incident, at, event, monitor, series, severity, time, reason, actor, note, payload FROM alerts ORDER BY id",
    "SELECT * FROM incidents ORDER BY id",
    "SELECT * FROM incident_groups ORDER BY id",
    "SELECT * FROM open_incidents ORDER BY incident",
    "SELECT * FROM silences ORDER BY id",
    "SELECT * FROM maintenance ORDER BY id",
    "SELECT * FROM rules ORDER BY 1, 2",
    "SELECT * FROM monitors ORDER BY id",
    "SELECT * FROM payments ORDER BY 1, 2",
];

#[test]
fn a_dump_restores_everything_and_pages_nobody() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "original");
    // Fresh enough to page: the last minute is this one.
    let start = m.text("SELECT date_trunc('minute', now()) - interval '240 minutes'");
    m.run(&calm_sql(&start, 0, 238));
    m.quiesce();
    let now = |i: i64| format!("timestamptz '{start}' + interval '{i} minutes'");
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 121)",
        now(238)
    ));
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'failed', 20), ({0}, 'approved', 121)",
        now(239)
    ));
    m.until("SELECT count(*) FROM incidents WHERE state = 'open'", "2");
    m.run(
        "SELECT acknowledge_incident((SELECT id FROM incidents WHERE series = 'denied'), 'known')",
    );
    m.run("SELECT set_rule('transactions', 'refunded', 'both', critical_above => 1000)");
    m.run("CREATE TABLE payments (at timestamptz NOT NULL, kind text); SELECT watch_table('payments', 'at', NULL, '{kind}')");
    m.run(&format!(
        "SELECT silence_alerts('payments', NULL, now() + interval '1 day', 'new'), \
                add_maintenance('payments', tstzrange({}, {}), 'moved'), \
                add_maintenance('transactions', tstzrange({}, {}))",
        now(190),
        now(195),
        now(20),
        now(25)
    ));
    m.run(&format!(
        "INSERT INTO payments SELECT {}, 'card' FROM generate_series(1, 5)",
        now(200)
    ));
    m.quiesce();
    m.assert_models();
    let before: Vec<_> = CONTENT.iter().map(|q| m.rows(q)).collect();

    let dump = cluster.pg_dump(&["--dbname", "original"]).ok();
    cluster.create_database("copy");
    let listener = cluster.listen("copy", "cloudwalk_alerts");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(dump.as_bytes()).unwrap();
    // The server's user is not the one who reads the file: psql is.
    cluster
        .psql(&[
            "--dbname",
            "copy",
            "--quiet",
            "--set",
            "ON_ERROR_STOP=1",
            "--file",
            file.path().to_str().unwrap(),
        ])
        .ok();
    let mut c = Monitored::of(&cluster, "copy");
    c.assert_models();
    c.assert_models_of("payments");
    for (query, wanted) in CONTENT.iter().zip(&before) {
        let mut found = c.rows(query);
        if query.contains("FROM alerts") {
            // The minute may have gone by meanwhile, and the figures of what is open with it.
            found.truncate(wanted.len());
        }
        assert_eq!(&found, wanted, "{query}");
    }
    assert!(listener.heard().is_empty(), "{:?}", listener.heard());

    // It goes on: ids after the old ones, and the same incident is not told again.
    c.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 44)",
        now(240)
    ));
    c.assert_models();
    assert_eq!(
        c.text("SELECT id > (SELECT count(*) FROM transactions) - 1 FROM transactions ORDER BY id DESC LIMIT 1"),
        "t"
    );
    assert_eq!(
        c.number("SELECT count(*) FROM incidents WHERE series = 'denied'"),
        1
    );
    c.run("INSERT INTO payments VALUES (now(), 'card')");
    c.assert_models_of("payments");
}

/// pg_restore --jobs and lists of one's own bring tables in another order: rows before the alerts they caused.
#[test]
fn rows_that_are_restored_before_their_alerts_page_nobody() {
    // Data of the monitor's own tables last, alerts last of all.
    restore_in_parts(|line| match line {
        l if l.contains("TABLE DATA") && l.contains(" alerts ") => 3,
        l if l.contains("TABLE DATA") && l.contains(" snapshots ") => 2,
        l if l.contains("SEQUENCE SET") => 4,
        _ => 1,
    });
}

/// What is known of an empty table says nothing against the alerts that are there before its rows.
#[test]
fn alerts_that_are_restored_long_before_their_rows_stay() {
    restore_in_parts(|line| match line {
        l if l.contains("TABLE DATA") && l.contains(" transactions ") => 2,
        l if l.contains("SEQUENCE SET") => 3,
        _ => 1,
    });
}

/// Restores a dump in parts, the number of each line of its list, with a restart after each.
fn restore_in_parts(part_of: fn(&str) -> u8) {
    /// The minute that goes on, counted from two days ago: its rows are fresh enough to page.
    const NOW: i64 = 2 * 1440 - 1;
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "original");
    let start = m.text("SELECT date_trunc('minute', now()) - interval '2 days'");
    let now = |i: i64| format!("timestamptz '{start}' + interval '{i} minutes'");
    // Stored at the end of each day of the data; within a day, when an hour ends while the worker lives.
    let ended_days =
        format!("SELECT monitor, time, series, state FROM snapshots WHERE time < date_trunc('day', {} - interval '1 hour') ORDER BY 1, 2, 3", now(NOW));
    m.run("CREATE TABLE payments (at timestamptz NOT NULL, kind text, n integer); SELECT watch_table('payments', 'at', 'n', '{kind}')");
    // Without a gap before it: a minute that is over tells of one, and the test may be run as one ends.
    m.run(&calm_sql(&start, 0, NOW));
    m.run(&format!(
        "INSERT INTO payments SELECT timestamptz '{start}' + make_interval(mins => m), 'card', 50 + m % 7 \
           FROM generate_series(0, {NOW} - 1) m"
    ));
    m.quiesce();
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 121); \
         INSERT INTO payments VALUES ({0}, 'card', 400)",
        now(NOW)
    ));
    m.until("SELECT count(*) FROM incidents WHERE state = 'open'", "2");
    m.run(
        "SELECT acknowledge_incident((SELECT id FROM incidents WHERE series = 'denied'), 'known')",
    );
    m.quiesce();
    let before: Vec<_> = CONTENT.iter().map(|q| m.rows(q)).collect();
    let snapshots = m.rows(&ended_days);
    assert!(snapshots.len() >= 4, "{snapshots:?}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump");
    let file = file.to_str().unwrap();
    cluster
        .pg_dump(&["--dbname", "original", "--format", "custom", "--file", file])
        .ok();
    let list = cluster.run("pg_restore", &["--list", file]).ok();
    let order = directory.path().join("order");
    cluster.create_database("copy");
    let mut c = Monitored::of(&cluster, "copy");
    for part in 1..=list.lines().map(part_of).max().unwrap() {
        let lines: Vec<&str> = list.lines().filter(|l| part_of(l) == part).collect();
        std::fs::write(&order, lines.join("\n")).unwrap();
        let order = order.to_str().unwrap();
        cluster
            .run(
                "pg_restore",
                &[
                    "--dbname",
                    "copy",
                    "--exit-on-error",
                    "--use-list",
                    order,
                    file,
                ],
            )
            .ok();
        // A restore takes hours: the worker has all the time it wants between the parts, and may be another.
        c.assert_models();
        c.assert_models_of("payments");
        cluster.restart();
        c.reconnect();
        c.run("SELECT run_monitor()");
    }
    for (query, wanted) in CONTENT.iter().zip(&before) {
        assert_eq!(&c.rows(query), wanted, "{query}");
    }
    assert_eq!(c.rows(&ended_days), snapshots);

    // A restart reads it all again, and still tells nothing.
    cluster.restart();
    c.reconnect();
    let listener = cluster.listen("copy", "cloudwalk_alerts");
    c.run("SELECT run_monitor()");
    c.assert_models();
    assert_eq!(c.rows(CONTENT[1]), before[1]);
    // It joins a group that was told of a moment ago, which is told of again when a minute has passed.
    c.run("UPDATE alerts SET at = at - interval '2 minutes'");
    // It goes on: what is new is told, and the old incident is still the old one.
    c.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 44), ({0}, 'failed', 30), ({0}, 'approved', 121)",
        now(NOW + 1)
    ));
    c.until(
        "SELECT count(*) FROM incidents WHERE series = 'failed'",
        "1",
    );
    assert_eq!(
        c.number("SELECT count(*) FROM incidents WHERE series = 'denied'"),
        1
    );
    listener.wait_for(1, testbed::monitored::SOON);
}

#[test]
fn a_verdict_that_comes_along_hides_nothing() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "forged");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let said = m.rows(&format!(
        "INSERT INTO transactions (time, status, count, expected, score, verdict) \
         VALUES ({0}, 'denied', 40, 40, 0, 'normal'), ({0}, 'approved', 120, NULL, NULL, NULL) RETURNING verdict",
        minute(240)
    ));
    assert_eq!(said, [["normal"], ["normal"]]);
    m.until("SELECT severity FROM incidents", "critical");
    m.assert_models();
}
