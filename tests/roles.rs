//! Who may do what.

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

#[test]
fn an_inserter_inserts_is_judged_and_reads_nothing() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "inserter");
    m.run("CREATE ROLE till LOGIN; GRANT INSERT ON transactions TO till");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let mut till = cluster.connect_as("till", "inserter");
    till.batch_execute(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 120)",
        minute(240)
    ))
    .unwrap();
    m.until("SELECT state FROM incidents", "open");
    assert_eq!(
        m.rows("SELECT status, verdict FROM transactions ORDER BY id DESC LIMIT 2"),
        [["approved", "normal"], ["denied", "critical"]].map(|r| r.map(String::from))
    );
    let relations = m.rows(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass \
            AND d.objid = c.oid AND d.deptype = 'e' WHERE c.relkind IN ('r', 'v')",
    );
    assert!(relations.len() >= 9, "{relations:?}");
    for r in &relations {
        let e = till
            .batch_execute(&format!("SELECT * FROM {}", r[0]))
            .expect_err(&r[0]);
        assert_eq!(e.code().unwrap().code(), "42501", "{}", r[0]);
    }
    let functions = m.rows(
        "SELECT p.oid::regprocedure::text, p.proname, \
                (SELECT coalesce(string_agg('(SELECT NULL::' || format_type(t, NULL) || ')', ', ' ORDER BY i), '') \
                   FROM unnest(p.proargtypes) WITH ORDINALITY AS u(t, i)) \
           FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
           JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'cloudwalk_monitor' \
          WHERE p.prorettype <> 'trigger'::regtype",
    );
    assert!(functions.len() >= 15, "{functions:?}");
    // These read the catalog, as anybody may, or nothing, and are what views and functions of the caller's rights are
    // made of.
    let (open, functions): (Vec<_>, Vec<_>) = functions
        .into_iter()
        .partition(|f| ["unfit_columns", "checked_limit"].contains(&f[1].as_str()));
    assert_eq!(open.len(), 2, "{open:?}");
    till.batch_execute("SELECT unfit_columns('pg_class', 'relname', NULL, NULL)")
        .expect("may be called");
    for f in &functions {
        let e = till
            .batch_execute(&format!("SELECT {}({})", f[1], f[2]))
            .expect_err(&f[0]);
        assert_eq!(e.code().unwrap().code(), "42501", "{}", f[0]);
    }
    m.assert_models();
}

#[test]
fn reading_operating_and_configuring_are_granted_apart() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "granted");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 120)",
        minute(240)
    ));
    m.until("SELECT state FROM incidents", "open");
    m.run(
        "CREATE ROLE analyst LOGIN; CREATE ROLE operator LOGIN; \
         GRANT SELECT ON transactions, incidents, incident_groups, alerts, monitors, silences, silenced_alerts, maintenance TO analyst; \
         GRANT EXECUTE ON FUNCTION scored_series, alerts_since, recommend_alert, backtest_monitor, \
                                   explain_incident, incident_rows, shift_report TO analyst; \
         GRANT EXECUTE ON FUNCTION acknowledge_incident, resolve_incident, silence_alerts, end_silence, add_maintenance, \
                                   remove_maintenance, \
                                   detect_anomalies, run_monitor TO operator",
    );
    let mut analyst = cluster.connect_as("analyst", "granted");
    for q in [
        "SELECT * FROM incidents",
        "SELECT * FROM scored_series('1 hour', '2025-07-14 12:01+00')",
        "SELECT * FROM alerts_since()",
        "SELECT * FROM recommend_alert('denied', 7, '2025-07-14 12:02+00')",
        "SELECT * FROM backtest_monitor('transactions', '2025-07-14', '2025-07-15')",
        "SELECT * FROM incident_groups",
        "SELECT topic, words FROM incidents i, explain_incident(i.id)",
        "SELECT * FROM incidents i, incident_rows(i.id)",
        "SELECT * FROM shift_report('2025-07-14', '2025-07-15')",
    ] {
        assert!(!analyst.query(q, &[]).expect(q).is_empty(), "{q}");
    }
    for q in [
        "SELECT acknowledge_incident(1)",
        "SELECT resolve_incident(1)",
        "SELECT silence_alerts('transactions', 'denied', now() + interval '1 hour')",
        "SELECT end_silence(1)",
        "SELECT add_maintenance('transactions', tstzrange(now(), now() + interval '1 hour'))",
        "SELECT remove_maintenance(1)",
    ] {
        let refused = analyst.batch_execute(q).expect_err(q);
        assert_eq!(refused.code().unwrap().code(), "42501", "{q}");
    }
    let mut operator = cluster.connect_as("operator", "granted");
    operator
        .batch_execute(
            "SELECT * FROM detect_anomalies('1 hour', '2025-07-14 12:01+00'); SELECT run_monitor()",
        )
        .unwrap();
    let id = m.number("SELECT id FROM incidents");
    operator
        .batch_execute(&format!("SELECT acknowledge_incident({id}, 'on it')"))
        .unwrap();
    assert_eq!(m.text("SELECT acknowledged_by FROM incidents"), "operator");
    operator
        .batch_execute(&format!(
            "SELECT end_silence(silence_alerts('transactions', 'denied', now() + interval '1 hour')); \
             SELECT resolve_incident({id}, 'done'); \
             SELECT remove_maintenance(add_maintenance('transactions', tstzrange('2025-07-14 15:00+00', '2025-07-14 16:00+00'))); \
             SELECT add_maintenance('transactions', tstzrange('2025-07-14 13:00+00', '2025-07-14 14:00+00'))"
        ))
        .unwrap();
    assert_eq!(
        m.rows("SELECT resolved_by, (SELECT created_by FROM silences), (SELECT created_by FROM maintenance) FROM incidents"),
        [["operator"; 3]]
    );
    for q in [
        "UPDATE silences SET until = now()",
        "DELETE FROM maintenance",
        "DELETE FROM alerts",
    ] {
        let refused = operator.batch_execute(q).expect_err(q);
        assert_eq!(refused.code().unwrap().code(), "42501", "{q}");
    }
    let refused = operator.batch_execute("SELECT * FROM transactions");
    assert_eq!(refused.unwrap_err().code().unwrap().code(), "42501");
}

/// pg_dump's setting is anybody's, and so are the columns of a verdict, to whom INSERT is granted: that is no restore.
#[test]
fn who_may_only_insert_silences_nobody() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create_with_default_horizon(&cluster, "forged");
    m.run("CREATE ROLE forger LOGIN; GRANT INSERT ON transactions TO forger");
    m.run(
        "INSERT INTO transactions (time, status, count) \
         SELECT t, 'denied', 5 + extract(minute FROM t)::int % 3 \
           FROM generate_series(date_trunc('minute', now()) - interval '5 hours', \
                                date_trunc('minute', now()) - interval '1 minute', '1 minute') AS t",
    );
    m.quiesce();
    let mut forger = cluster.connect_as("forger", "forged");
    forger
        .batch_execute(
            "SET check_function_bodies = off; \
             INSERT INTO transactions (time, status, count, verdict) \
             VALUES (now() + interval '4 minutes', 'denied', 0, 'normal'), (now(), 'denied', 0, 'normal'); \
             RESET check_function_bodies; \
             INSERT INTO transactions (status, count) VALUES ('denied', 500)",
        )
        .unwrap();
    m.until("SELECT event FROM alerts", "opened");
    assert_eq!(
        m.text("SELECT payload IS NOT NULL FROM alerts WHERE event = 'opened'"),
        "t"
    );
    // Nor does a row of a time to come, to whom the table belongs.
    m.run(
        "SET check_function_bodies = off; \
         INSERT INTO transactions (time, status, count, verdict) VALUES (now() + interval '4 minutes', 'denied', 0, 'normal')",
    );
    m.quiesce();
    assert_eq!(
        m.text("SELECT coalesce(bool_and(quiet_until <= clock_timestamp()), true) FROM adopted"),
        "t"
    );
}
