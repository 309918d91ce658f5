//! What a client sees: verdicts, alerts, and what leaves no trace.

use std::time::Duration;

use testbed::monitored::{calm_sql, minute, storms, Monitored, EPOCH, SOON};
use testbed::{Cluster, SharedCluster};

fn database(name: &str) -> (SharedCluster, String) {
    (Cluster::shared(), name.to_string())
}

/// A minute with a storm of denials and nothing else unusual, as a statement.
fn storm(m: i64) -> String {
    format!(
        "INSERT INTO transactions (time, status, count) \
         VALUES ({0}, 'denied', 40), ({0}, 'approved', 120), ({0}, 'failed', 0)",
        minute(m)
    )
}

#[test]
fn what_is_rolled_back_leaves_nothing() {
    let (cluster, name) = database("rolled_back");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    let ask = format!(
        "SELECT recommendation, score, expected FROM recommend_alert('denied', 6, {})",
        minute(240)
    );
    let before = m.rows(&ask);
    assert_eq!(before[0][0], "ok");

    m.run(&format!("BEGIN; {}; ROLLBACK", storm(240)));
    m.run(&format!(
        "BEGIN; SAVEPOINT s; {}; ROLLBACK TO s; RELEASE s; COMMIT",
        storm(240)
    ));
    m.run(&format!(
        "DO $$ BEGIN BEGIN {}; RAISE EXCEPTION 'no'; EXCEPTION WHEN raise_exception THEN NULL; END; END $$",
        storm(240)
    ));
    // A COPY that fails in its last row.
    let copied = {
        use std::io::Write;
        let mut w = m
            .client
            .copy_in("COPY transactions (time, status, count) FROM STDIN")
            .unwrap();
        for i in 240..260 {
            writeln!(w, "2025-07-14 12:{:02}:00+00\tdenied\t40", i - 240).unwrap();
        }
        writeln!(w, "2025-07-14 12:20:00+00\tdenied\t-1").unwrap();
        w.finish()
    };
    assert!(copied.is_err(), "the CHECK refuses the COPY");

    m.assert_models();
    assert_eq!(m.number("SELECT count(*) FROM alerts"), 0);
    assert_eq!(m.rows(&ask), before, "the models are what they were");
    assert_eq!(
        m.number("SELECT count(*) FROM transactions"),
        240 * 3,
        "and so is the table"
    );
}

#[test]
fn twenty_anomalous_minutes_open_once() {
    let (cluster, name) = database("opens_once");
    let mut m = Monitored::create(&cluster, &name);
    let listener = m.listen();
    m.calm(240);
    for i in 240..260 {
        m.run(&storm(i));
    }
    m.run(&calm_sql(EPOCH, 260, 280));
    m.until(
        "SELECT count(*) FROM incidents WHERE state = 'resolved'",
        "1",
    );
    m.assert_models();
    let row = m.rows(
        "SELECT series, severity, direction, opened_at = '2025-07-14 12:00+00', state, buckets >= 20 FROM incidents",
    );
    assert_eq!(
        row,
        [["denied", "critical", "1", "t", "resolved", "t"].map(String::from)]
    );
    let heard = listener.wait_for(2, SOON);
    let events: Vec<bool> = heard
        .iter()
        .map(|n| n.payload.contains("\"event\":\"opened\""))
        .collect();
    assert_eq!(events, [true, false], "{heard:?}");
    assert!(heard[0].payload.contains("\"series\":\"denied\""));
    assert!(heard[0]
        .payload
        .contains("\"time\":\"2025-07-14T12:00:00Z\""));
    assert_eq!(m.events("opened"), 1);
    // Every announced alert is read once, in order.
    let ids = m.rows("SELECT id, event FROM alerts_since(0)");
    assert_eq!(ids.len(), 2);
    assert_eq!(
        m.number(&format!("SELECT count(*) FROM alerts_since({})", ids[1][0])),
        0
    );
}

#[test]
fn rows_of_a_statement_know_those_before_them() {
    let (cluster, name) = database("own_rows");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    let rows = m.rows(&format!(
        "INSERT INTO transactions (time, status, count) \
         SELECT {}, 'denied', 8 FROM generate_series(1, 5) RETURNING verdict, expected > 4 AND expected < 8, score",
        minute(240)
    ));
    let verdicts: Vec<&str> = rows.iter().map(|r| r[0].as_str()).collect();
    assert_eq!(verdicts[0], "normal", "8 of 6 is nothing: {rows:?}");
    assert_eq!(verdicts[4], "critical", "40 of 6 is a storm: {rows:?}");
    assert!(rows.iter().all(|r| r[1] == "t"), "{rows:?}");
    let scores: Vec<f64> = rows.iter().map(|r| r[2].parse().unwrap()).collect();
    assert!(scores.windows(2).all(|w| w[0] <= w[1]), "{scores:?}");
    // In the same transaction, by statements of their own.
    m.run("BEGIN");
    let mut last = String::new();
    for _ in 0..5 {
        last = m.text(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 8) RETURNING verdict",
            minute(241)
        ));
    }
    assert_eq!(last, "critical");
    m.run("ROLLBACK");
    m.assert_models();
}

#[test]
fn conflicts_updates_and_deletes_move_the_models() {
    let (cluster, name) = database("corrections");
    let mut m = Monitored::create(&cluster, &name);
    m.run("CREATE UNIQUE INDEX ON transactions (time, status)");
    m.calm(240);
    m.run(&format!("{} ON CONFLICT DO NOTHING", storm(100)));
    m.run(&format!("{} ON CONFLICT DO NOTHING", storm(239)));
    m.assert_models();
    assert_eq!(m.events("opened"), 0, "nothing was inserted");
    m.run(&format!(
        "{} ON CONFLICT (time, status) DO UPDATE SET count = excluded.count",
        storm(239)
    ));
    m.until("SELECT state FROM incidents", "open");
    m.assert_models();
    m.run(&format!(
        "UPDATE transactions SET count = 6 WHERE time = {} AND status = 'denied'",
        minute(239)
    ));
    m.until("SELECT state FROM incidents", "retracted");
    m.assert_models();
    // What is sealed long ago is refolded.
    m.run(&format!(
        "UPDATE transactions SET count = 60 WHERE time = {} AND status = 'denied'",
        minute(120)
    ));
    m.until(
        "SELECT count(*) FROM incidents WHERE opened_at = '2025-07-14 10:00+00'",
        "1",
    );
    m.assert_models();
    m.run(&format!(
        "DELETE FROM transactions WHERE time = {} AND status = 'denied'",
        minute(120)
    ));
    m.until(
        "SELECT state FROM incidents WHERE opened_at = '2025-07-14 10:00+00'",
        "retracted",
    );
    m.run("UPDATE transactions SET status = 'other' WHERE status = 'denied' AND time < '2025-07-14 09:00+00'");
    m.assert_models();
    m.run("TRUNCATE transactions");
    m.assert_models();
    m.run(&calm_sql(EPOCH, 0, 60));
    m.assert_models();
    assert_eq!(
        m.text("SELECT count(*) FROM verify_models() WHERE detail LIKE '%readings%'"),
        "4"
    );
}

#[test]
fn a_refold_does_not_touch_incidents_of_unsealed_minutes() {
    let (cluster, name) = database("refold_open");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    m.run(&storm(240));
    m.until("SELECT state FROM incidents", "open");
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 1)",
        minute(50)
    ));
    m.assert_models();
    assert_eq!(
        m.rows("SELECT event FROM alerts WHERE event <> 'progress'"),
        [["opened"]]
    );
}

#[test]
fn a_late_commit_is_repaired() {
    let (cluster, name) = database("late_commit");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    let mut late = m.connect();
    late.batch_execute(&format!("BEGIN; {}", storm(241)))
        .unwrap();
    for i in 240..260 {
        m.run(&calm_sql(EPOCH, i, i + 1));
    }
    m.until(
        "SELECT min(sealed_at) >= '2025-07-14 12:10+00' FROM verify_models()",
        "t",
    );
    assert_eq!(m.events("opened"), 0);
    let refolds = m.number("SELECT refolds FROM monitor_stats");
    late.batch_execute("COMMIT").unwrap();
    m.until("SELECT count(*) FROM incidents", "1");
    m.assert_models();
    assert!(m.number("SELECT refolds FROM monitor_stats") > refolds);
    assert!(m.number("SELECT late FROM monitor_stats") > 0);
    assert_eq!(
        m.text("SELECT opened_at = '2025-07-14 12:01+00' FROM incidents"),
        "t"
    );
}

#[test]
fn history_pages_nobody() {
    let (cluster, name) = database("history");
    let mut m = Monitored::create_with_default_horizon(&cluster, &name);
    let listener = m.listen();
    m.calm(240);
    m.run(&storm(240));
    m.run(&calm_sql(EPOCH, 241, 260));
    m.assert_models();
    assert_eq!(m.number("SELECT count(*) FROM alerts"), 0);
    assert_eq!(
        m.number(
            "SELECT count(*) FROM backtest_monitor('transactions', '2025-07-14', '2025-07-15')"
        ),
        1,
        "it was seen all the same"
    );
    assert!(listener.heard().is_empty());
}

#[test]
fn rows_from_the_future_move_nothing() {
    let (cluster, name) = database("future");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    m.run("INSERT INTO transactions (time, status, count) VALUES ('2099-01-01', 'denied', 500), ('infinity', 'denied', 500), ('-infinity', 'denied', 500)");
    assert_eq!(m.number("SELECT rejected FROM monitor_stats"), 3);
    assert_eq!(
        m.number(
            "SELECT count(*) FROM transactions WHERE NOT isfinite(time) OR time > '2098-01-01'"
        ),
        3
    );
    let verdict = m.text(&format!("{} RETURNING verdict", storm(240)));
    assert_eq!(verdict, "critical", "the model goes on");
    m.assert_models();
    assert_eq!(m.events("opened"), 1);
}

#[test]
fn rules_apply_from_their_commit_on() {
    let (cluster, name) = database("ruled");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    let high = |m: &mut Monitored, at: i64| {
        m.text(&format!(
            "SELECT verdict FROM recommend_alert('approved', 400, {})",
            minute(at)
        ))
    };
    assert_eq!(high(&mut m, 240), "normal", "approved alerts when it falls");
    m.run("SELECT set_rule('transactions', 'approved', 'both')");
    m.until(
        &format!(
            "SELECT verdict FROM recommend_alert('approved', 400, {})",
            minute(240)
        ),
        "critical",
    );
    m.run("SELECT drop_rule('transactions', 'approved')");
    m.until(
        &format!(
            "SELECT verdict FROM recommend_alert('approved', 400, {})",
            minute(240)
        ),
        "normal",
    );
    // A fixed limit speaks where the statistics do not.
    m.run("SELECT set_rule('transactions', 'denied', warn_above => 8, critical_above => 9)");
    m.until(
        &format!(
            "SELECT verdict FROM recommend_alert('denied', 8, {})",
            minute(240)
        ),
        "warning",
    );
    let row = m.rows(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 9) RETURNING verdict, score < 75",
        minute(240)
    ));
    assert_eq!(row, [["critical", "t"]]);
    m.until(
        "SELECT state FROM incidents WHERE series = 'denied'",
        "open",
    );
    assert_eq!(
        m.text("SELECT reason LIKE 'denied 9 in the minute, at the limit 9 %' FROM incidents"),
        "t",
        "{:?}",
        m.rows("SELECT reason FROM incidents")
    );
    for i in 241..260 {
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 5)",
            minute(i)
        ));
    }
    m.until(
        "SELECT state FROM incidents WHERE series = 'denied'",
        "resolved",
    );
    for (bad, state) in [
        ("SELECT set_rule('nowhere', 'denied', 'high')", "42704"),
        ("SELECT set_rule('transactions', '', 'high')", "22023"),
        ("SELECT set_rule('transactions', 'denied', 'up')", "22023"),
        (
            "SELECT set_rule('transactions', 'denied', warn_above => 9, critical_above => 8)",
            "22023",
        ),
        (
            "SELECT set_rule('transactions', 'denied', warn_above => 'NaN')",
            "22023",
        ),
        ("SELECT * FROM alerts_since(0, -1)", "22023"),
        ("SELECT remove_maintenance(7)", "42704"),
    ] {
        let e = m.refused(bad);
        assert_eq!(e.code().code(), state, "{bad}");
        assert!(e.hint().is_some() && e.detail().is_some(), "{bad}: {e:?}");
    }
}

#[test]
fn switched_off_and_on_again() {
    let (cluster, name) = database("switched");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    m.run("SET cloudwalk_monitor.enabled = off");
    let verdict = m.text(&format!("{} RETURNING verdict", storm(240)));
    assert_eq!(verdict, "", "nothing is said of it");
    m.run("SET cloudwalk_monitor.enabled = on");
    m.until("SELECT count(*) FROM incidents", "1");
    m.assert_models();
}

/// A session that is switched off costs no refold a commit: what it did is read from the table once a tick.
#[test]
fn many_commits_of_a_session_switched_off_are_folded_in_at_once() {
    let (cluster, name) = database("many_off");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    let refolds = m.number("SELECT refolds FROM monitor_stats");
    let began = std::time::Instant::now();
    m.run("SET cloudwalk_monitor.enabled = off");
    for i in 0..300 {
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 1)",
            minute(240 + i / 60)
        ));
    }
    m.run("BEGIN; SAVEPOINT a");
    m.run(&storm(245));
    m.run("RELEASE a; COMMIT; SET cloudwalk_monitor.enabled = on");
    let ticks = began.elapsed().as_secs() as i64 / 10;
    assert!(m.number("SELECT dirty FROM monitor_health") > 0);
    m.assert_models();
    let more = m.number("SELECT refolds FROM monitor_stats") - refolds;
    assert!((1..=ticks + 2).contains(&more), "{more} refolds");
    m.until(
        "SELECT count(*) > 0 FROM incidents WHERE series = 'denied'",
        "t",
    );
}

#[test]
fn detect_anomalies_returns_the_same_twice() {
    let (cluster, name) = database("detects");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    // approved collapses in minutes that are not sealed yet.
    for i in 240..243 {
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({0}, 'approved', 20), ({0}, 'denied', 6)",
            minute(i)
        ));
    }
    m.quiesce();
    let call = "SELECT series, time, observed, direction, verdict, reason FROM detect_anomalies('2 hours', '2025-07-14 12:10+00') ORDER BY time";
    m.run("BEGIN READ ONLY");
    let read_only = m.rows(call);
    m.run("COMMIT");
    let first = m.rows(call);
    let alerts = m.number("SELECT count(*) FROM alerts");
    let second = m.rows(call);
    assert_eq!(first, second);
    assert_eq!(first, read_only);
    assert_eq!(first.len(), 3, "{first:?}");
    assert!(first.iter().all(|r| r[0] == "approved" && r[3] == "-1"));
    assert_eq!(alerts, m.number("SELECT count(*) FROM alerts"));
    assert_eq!(m.events("opened"), 1);
    m.assert_models();
    m.run(&calm_sql(EPOCH, 243, 270));
    m.until("SELECT state FROM incidents", "resolved");
    assert_eq!(m.events("opened"), 1, "the worker found the same one");
}

#[test]
fn scored_series_is_complete_and_agrees_with_itself() {
    let (cluster, name) = database("scored");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 3)",
        minute(240)
    ));
    m.run(&calm_sql(EPOCH, 242, 250));
    m.quiesce();
    let s = "scored_series('3 hours', '2025-07-14 12:10+00')";
    // Minute 241 has no row at all.
    assert_eq!(
        m.rows(&format!(
            "SELECT series, count(*), count(DISTINCT time) FROM {s} GROUP BY 1 ORDER BY 1"
        )),
        [
            ["(total)", "180", "180"],
            ["approved", "179", "179"],
            ["denied", "179", "179"],
            ["failed", "179", "179"]
        ]
        .map(|r| r.map(String::from))
    );
    assert_eq!(
        m.number(&format!(
            "SELECT count(*) FROM {s} WHERE NOT (lower <= expected AND expected <= upper)"
        )),
        0
    );
    assert_eq!(
        m.rows(&format!(
            "SELECT * FROM {s} WHERE (observed < lower OR observed > upper) <> (verdict IN ('warning', 'critical'))"
        )),
        Vec::<Vec<String>>::new()
    );
    assert_eq!(
        m.number(&format!(
            "SELECT count(*) FROM {s} WHERE (reason IS NULL) <> (verdict = 'normal')"
        )),
        0
    );
    assert!(
        m.number(&format!(
            "SELECT count(*) FROM {s} WHERE verdict = 'critical'"
        )) >= 2
    );
    assert_eq!(
        m.text(&format!(
            "SELECT labels->>'status' FROM {s} WHERE series = 'denied' LIMIT 1"
        )),
        "denied"
    );
    assert_eq!(
        m.refused("SELECT * FROM scored_series('1 hour', now(), 'nowhere')")
            .code()
            .code(),
        "42704"
    );
    assert_eq!(
        m.refused("SELECT * FROM scored_series('-1 hour')")
            .code()
            .code(),
        "22023"
    );
}

#[test]
fn a_recommendation_is_what_the_insert_then_says() {
    let (cluster, name) = database("recommends");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    for (status, count) in [
        ("denied", 40),
        ("denied", 7),
        ("approved", 10),
        ("failed", 2),
        ("new", 5),
    ] {
        let asked = m.rows(&format!(
            "SELECT verdict, round(score::numeric, 2), round(expected::numeric, 3) FROM recommend_alert('{status}', {count}, {})",
            minute(240)
        ));
        m.run("BEGIN");
        let said = m.rows(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, '{status}', {count}) \
             RETURNING verdict, round(score::numeric, 2), round(expected::numeric, 3)",
            minute(240)
        ));
        m.run("ROLLBACK");
        assert_eq!(asked, said, "{status} {count}");
    }
    assert_eq!(
        m.text(&format!(
            "SELECT recommendation FROM recommend_alert('denied', 40, {})",
            minute(240)
        )),
        "alert"
    );
    assert_eq!(
        m.refused("SELECT * FROM recommend_alert('denied', -1)")
            .code()
            .code(),
        "22023"
    );
    assert_eq!(
        m.refused("SELECT * FROM recommend_alert(NULL, 1)")
            .code()
            .code(),
        "22004"
    );
}

#[test]
fn an_incident_is_acknowledged() {
    let (cluster, name) = database("acknowledged");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    m.run(&storm(240));
    m.until("SELECT state FROM incidents", "open");
    let listener = m.listen();
    m.run("SELECT acknowledge_incident((SELECT id FROM incidents), 'mine')");
    assert_eq!(
        m.rows("SELECT state, acknowledged_by, note FROM incidents"),
        [["acknowledged", "postgres", "mine"]]
    );
    let heard = listener.wait_for(1, SOON);
    assert!(
        heard[0].payload.contains("\"event\":\"acknowledged\""),
        "{heard:?}"
    );
    let e = m.refused("SELECT acknowledge_incident(999)");
    assert_eq!(e.code().code(), "42704");
    assert!(e.hint().is_some());
    m.run(&calm_sql(EPOCH, 241, 270));
    m.until("SELECT state FROM incidents", "resolved");
    let e = m.refused("SELECT acknowledge_incident((SELECT id FROM incidents))");
    assert_eq!(e.code().code(), "55000");
}

#[test]
fn silence_alerts_by_the_clock_and_once() {
    let cluster = Cluster::start_with(&[
        ("cloudwalk_monitor.lateness", "1 second"),
        ("cloudwalk_monitor.tick_interval", "500"),
    ]);
    let mut m = Monitored::create_with_default_horizon(&cluster, "silent");
    m.run("CREATE TABLE busy (at timestamptz, kind text); CREATE TABLE slow (at timestamptz, kind text)");
    m.run("SELECT watch_table('busy', 'at', NULL, '{kind}', '1 second'), watch_table('slow', 'at', NULL, '{kind}', '1 second')");
    let listener = m.listen();
    m.run(
        "INSERT INTO busy SELECT now() - make_interval(secs => s), k \
           FROM generate_series(0, 299) s, unnest('{a,b,c}'::text[]) k, generate_series(1, 10)",
    );
    m.run("INSERT INTO slow SELECT now() - make_interval(secs => s * 20), 'a' FROM generate_series(0, 30) s");
    m.until(
        "SELECT string_agg(monitor || ' ' || series || ' ' || direction, ',') FROM incidents",
        "busy (total) -1",
    );
    // It stays one.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(m.events("opened"), 1);
    assert_eq!(listener.wait_for(1, SOON).len(), 1);
    // Every second of it is shown, and counts.
    let silent = "FROM scored_series('10 seconds', clock_timestamp(), 'busy') WHERE observed = 0";
    m.until(
        &format!("SELECT count(DISTINCT time) || ' ' || string_agg(DISTINCT series, ',') {silent}"),
        "10 (total)",
    );
    m.until(
        "SELECT count(*) >= 8 FROM detect_anomalies('10 seconds', clock_timestamp(), 'busy')",
        "t",
    );
    m.until(
        "SELECT buckets >= 8 AND last_seen_at - opened_at >= interval '7 seconds' FROM incidents",
        "t",
    );
    assert_eq!(m.events("opened"), 1);
    m.run(
        "INSERT INTO busy SELECT clock_timestamp(), k FROM unnest('{a,b,c}'::text[]) k, generate_series(1, 10)",
    );
    m.assert_models_of("busy");
    m.assert_models_of("slow");
}

#[test]
fn silence_in_the_past_is_shown_and_counted() {
    let (cluster, name) = database("silent_hour");
    let mut m = Monitored::create(&cluster, &name);
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(&calm_sql(EPOCH, 300, 360));
    m.assert_models();
    assert_eq!(
        m.rows("SELECT series, buckets, (last_seen_at = '2025-07-14 12:59+00') FROM incidents"),
        [["(total)", "60", "t"]]
    );
    let s = "scored_series('4 hours', '2025-07-14 14:00+00')";
    assert_eq!(
        m.rows(&format!(
            "SELECT series, count(*), count(*) FILTER (WHERE observed = 0 AND verdict = 'critical') FROM {s} \
              WHERE series IN ('(total)', 'denied') GROUP BY 1 ORDER BY 1"
        )),
        [["(total)", "240", "60"], ["denied", "180", "0"]].map(|r| r.map(String::from))
    );
    assert_eq!(
        m.number("SELECT count(*) FROM backtest_monitor('transactions', '2025-07-14', '2025-07-15') WHERE buckets = 60"),
        1
    );
    // Minute by minute, as it was, it comes to the same.
    m.run("TRUNCATE transactions");
    m.calm(240);
    for i in 300..360 {
        m.run(&calm_sql(EPOCH, i, i + 1));
    }
    m.assert_models();
}

#[test]
fn the_peak_is_the_furthest_reading_and_follows_corrections() {
    let (cluster, name) = database("peak");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    for i in 240..250 {
        m.run(&storm(i));
    }
    // In two halves, the highest of all.
    for _ in 0..2 {
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({}, 'denied', 40)",
            minute(244)
        ));
    }
    m.run(&calm_sql(EPOCH, 250, 251));
    m.until("SELECT peak_observed FROM incidents", "120");
    assert_eq!(
        m.text(
            "SELECT peak_expected = (SELECT expected FROM scored_series('1 hour', '2025-07-14 13:00+00', 'transactions', 'denied') \
                                      WHERE time = '2025-07-14 12:04+00') FROM incidents"
        ),
        "t"
    );
    let delete = |id: &str| {
        format!(
            "DELETE FROM transactions WHERE id = (SELECT {id}(id) FROM transactions WHERE status = 'denied' AND time = {})",
            minute(244)
        )
    };
    m.run(&delete("max"));
    m.until("SELECT peak_observed FROM incidents", "80");
    // The same once it is over.
    m.run(&calm_sql(EPOCH, 251, 300));
    m.until("SELECT state FROM incidents", "resolved");
    m.assert_models();
    m.run(&delete("max"));
    m.until(
        "SELECT peak_observed || ' ' || state FROM incidents",
        "40 resolved",
    );
    assert_eq!(
        m.rows("SELECT event FROM alerts WHERE event <> 'progress' ORDER BY id"),
        [["opened"], ["resolved"]]
    );
    let alerts = m.number("SELECT count(*) FROM alerts");
    m.run("SELECT count(*) FROM detect_anomalies('2 hours', '2025-07-14 13:00+00'); SELECT run_monitor()");
    m.assert_models();
    assert_eq!(m.number("SELECT count(*) FROM alerts"), alerts);
}

#[test]
fn a_round_of_the_past_starts_no_clock() {
    let (cluster, name) = database("past_round");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    m.run("SELECT run_monitor('2025-07-14 12:01+00')");
    m.run(&calm_sql(EPOCH, 240, 241));
    m.quiesce();
    m.run("SELECT run_monitor()");
    m.quiesce();
    assert_eq!(
        m.text("SELECT max(sealed_at) <= '2025-07-14 12:00+00' FROM verify_models()"),
        "t"
    );
    assert_eq!(m.number("SELECT count(*) FROM alerts"), 0);
    m.assert_models();
}

#[test]
fn without_a_worker_rounds_are_run_by_hand() {
    let cluster = Cluster::start_with(&[("max_worker_processes", "0")]);
    cluster.create_database("by_hand");
    let mut m = Monitored::of(&cluster, "by_hand");
    m.run("CREATE EXTENSION cloudwalk_monitor");
    m.run("ALTER DATABASE by_hand SET cloudwalk_monitor.alert_horizon = '100 years'");
    m.run(&calm_sql(EPOCH, 0, 240));
    assert!(m
        .text("SELECT status FROM monitor_health")
        .contains("pg_cron"));
    m.run("SELECT run_monitor()");
    m.run(&storm(240));
    assert_eq!(m.number("SELECT run_monitor()"), 1);
    assert_eq!(m.number("SELECT run_monitor()"), 0);
    assert_eq!(m.events("opened"), 1);
    assert_eq!(
        m.number("SELECT count(*) FROM verify_models() WHERE NOT same"),
        0
    );
    m.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(m.refused("SELECT run_monitor()").code().code(), "55000");
    m.run("ROLLBACK");
}

#[test]
fn a_standby_reads() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "primary_side");
    m.calm(240);
    m.run(&storm(240));
    m.until("SELECT state FROM incidents", "open");
    let standby = cluster.start_standby(&[]);
    let mut s = standby.connect_to("primary_side");
    let n: i64 = s
        .query_one(
            "SELECT count(*) FROM detect_anomalies('1 hour', '2025-07-14 12:10+00')",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(n, 1);
    let n: i64 = s
        .query_one(
            "SELECT count(*) FROM scored_series('1 hour', '2025-07-14 12:00+00')",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(n, 240);
    let e = s.batch_execute("SELECT run_monitor()").unwrap_err();
    assert_eq!(e.as_db_error().unwrap().code().code(), "55000");
}

/// A count that is rare, but not rare enough by itself.
#[test]
fn sensitivity_and_minimum_effect_decide_what_is_said() {
    let (cluster, name) = database("sensitivity");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    let ask = format!(
        "SELECT verdict, score BETWEEN 55 AND 80, lower <= expected AND expected <= upper, observed > upper \
           FROM recommend_alert('denied', 17, {}), (SELECT 17 AS observed) o",
        minute(240)
    );
    let mut says = |rule: &str, wanted: [&str; 4]| {
        m.run(&format!("SELECT set_rule('transactions', 'denied'{rule})"));
        let mut last = Vec::new();
        let reached = testbed::poll_until(SOON, || {
            last = m.rows(&ask);
            (last == [wanted.map(String::from)]).then_some(())
        });
        assert!(reached.is_some(), "{rule}: {last:?}");
    };
    says("", ["normal", "t", "t", "f"]);
    says(", sensitivity => 90", ["warning", "t", "t", "t"]);
    says(
        ", sensitivity => 90, min_abs => 30",
        ["normal", "t", "t", "f"],
    );
    says(
        ", sensitivity => 90, min_percent => 50",
        ["warning", "t", "t", "t"],
    );
    says(
        ", sensitivity => 90, min_percent => 900",
        ["normal", "t", "t", "f"],
    );
    m.run("SELECT drop_rule('transactions', 'denied')");
    // A backtest may try another one; nothing is written, and more finds no less.
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) SELECT {} + make_interval(mins => m), s, c \
           FROM generate_series(0, 3) m, (VALUES ('denied', 16), ('approved', 120), ('failed', 0)) v(s, c)",
        minute(240)
    ));
    m.run(&calm_sql(EPOCH, 244, 300));
    m.quiesce();
    let found = |m: &mut Monitored, s: &str| {
        m.number(&format!(
            "SELECT count(*) FROM backtest_monitor('transactions', {}, {}, {s}) WHERE series = 'denied'",
            minute(0),
            minute(300)
        ))
    };
    let counts: Vec<i64> = ["0", "25", "50", "75", "100"]
        .iter()
        .map(|s| found(&mut m, s))
        .collect();
    assert!(counts.windows(2).all(|w| w[0] <= w[1]), "{counts:?}");
    assert_eq!((counts[0], counts[4] > 0), (0, true), "{counts:?}");
    assert_eq!(found(&mut m, "NULL"), counts[2]);
    for (sql, code) in [
        (
            "SELECT set_rule('transactions', 'denied', sensitivity => 101)",
            "22023",
        ),
        (
            "SELECT set_rule('transactions', 'denied', min_abs => -1)",
            "22023",
        ),
        (
            "SELECT set_rule('transactions', 'denied', min_percent => 'NaN')",
            "22023",
        ),
        (
            "SELECT * FROM backtest_monitor('transactions', 'epoch', now(), 100.5)",
            "22023",
        ),
    ] {
        let e = m.refused(sql);
        assert_eq!(e.code().code(), code, "{sql}");
        assert!(e.detail().is_some() && e.hint().is_some(), "{sql}");
    }
}

#[test]
fn a_storm_that_nobody_is_told_of_does_not_wake_the_worker_row_by_row() {
    let (cluster, name) = database("storm_unheard");
    let mut m = Monitored::create(&cluster, &name);
    m.calm(240);
    // Much more than is usual of a status that is never too high.
    let insert = format!(
        "INSERT INTO transactions (time, status, count) VALUES ({}, 'approved', 200)",
        minute(240)
    );
    m.run(&insert);
    m.quiesce();
    let before = m.number("SELECT rounds FROM monitor_stats");
    for _ in 0..200 {
        m.run(&insert);
        // Time enough for a round of its own.
        std::thread::sleep(Duration::from_millis(5));
    }
    let rounds = m.number("SELECT rounds FROM monitor_stats") - before;
    assert!(rounds < 40, "{rounds} rounds for 200 rows");
    m.assert_models();
}

/// What somebody took for a trifle and resolved comes back when it is none.
#[test]
fn what_is_resolved_by_hand_comes_back_when_it_turns_critical() {
    let (cluster, name) = database("trifle");
    let mut m = Monitored::create(&cluster, &name);
    m.run("SELECT set_rule('transactions', 'denied', warn_above => 12, critical_above => 30)");
    m.calm(240);
    let denied = |at: i64, count: i64| {
        format!(
            "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', {count}), ({0}, 'approved', 120), ({0}, 'failed', 0)",
            minute(at)
        )
    };
    m.run(&denied(240, 12));
    m.until(
        "SELECT string_agg(series || severity || state, ',') FROM incidents",
        "deniedwarningopen",
    );
    m.run("SELECT resolve_incident(id, 'false alarm') FROM incidents");
    m.run(&denied(241, 12));
    m.quiesce();
    assert_eq!(m.text("SELECT state FROM incidents"), "resolved");
    for at in 242..246 {
        m.run(&denied(at, 400));
    }
    m.until(
        "SELECT string_agg(severity || state || peak_observed, ',') FROM incidents",
        "criticalopen400",
    );
    assert_eq!((m.events("opened"), m.events("reopened")), (1, 1));
    m.assert_models();
}

/// TRUNCATE takes back what was recorded within `sealed_horizon`, with one notice a group. What is older is history that
/// somebody cleared away: it stays recorded.
#[test]
fn truncate_retracts_what_is_young() {
    let (cluster, name) = database("truncated");
    let mut m = Monitored::create(&cluster, &name);
    let days = 9 * 1440;
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(&storms(240, 1));
    m.run(&calm_sql(EPOCH, 265, days));
    m.run(&storms(days, 1));
    m.run(&calm_sql(EPOCH, days + 25, days + 60));
    m.assert_models();
    let states = "SELECT string_agg(state::text, ' ' ORDER BY opened_at) FROM incidents WHERE series = 'denied'";
    m.until(states, "resolved resolved");
    let told = m.number("SELECT count(*) FROM alerts WHERE payload IS NOT NULL");
    m.run("TRUNCATE transactions");
    m.until(states, "resolved retracted");
    m.quiesce();
    assert_eq!(
        m.number("SELECT count(*) FROM alerts WHERE payload IS NOT NULL"),
        told + 1,
        "{:?}",
        m.rows("SELECT id, incident, event, notice, series, time, reason FROM alerts ORDER BY id")
    );
    assert_eq!(
        m.number("SELECT count(*) FROM alerts WHERE event = 'retracted' AND time > '2025-07-01'"),
        1
    );
}
