//! What monitor_health and blind_spots say.

use testbed::monitored::{calm_sql, Monitored, EPOCH};
use testbed::Cluster;

#[test]
fn blind_spots_are_told_with_their_reason() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.shared_memory", "1MB")]);
    let mut m = Monitored::create(&cluster, "blind");
    m.run(&calm_sql(EPOCH, 0, 60));
    m.quiesce();
    m.run(
        "CREATE TABLE payments (at timestamptz, kind text) PARTITION BY RANGE (at); \
         CREATE TABLE payments_1 PARTITION OF payments FOR VALUES FROM ('2020-01-01') TO ('2090-01-01'); \
         SELECT watch_table('payments', 'at', NULL, '{kind}')",
    );
    m.run("CREATE TABLE payments_2 PARTITION OF payments FOR VALUES FROM ('2090-01-01') TO ('2095-01-01')");
    m.run("INSERT INTO payments SELECT now() - make_interval(mins => m), 'a' FROM generate_series(0, 40) m");
    m.assert_models_of("payments");
    let spots = "SELECT string_agg(monitor || ' ' || what || ' ' || reason, '; ' ORDER BY monitor, what, reason) \
                   FROM blind_spots WHERE what <> 'silence'";
    assert_eq!(m.text(spots), "");
    assert_eq!(m.text("SELECT status FROM monitor_health"), "ok");
    // An old file is no stream: its end is no silence.
    assert_eq!(
        m.rows("SELECT monitor, what, reason FROM blind_spots"),
        [[
            "transactions",
            "silence",
            "its newest row is of 2025-07-14 08:59:00+00: the clock counts once rows come in time"
        ]
        .map(String::from)]
    );
    assert_eq!(
        m.text("SELECT blind_spots || ' ' || learning FROM monitor_health"),
        "1 0"
    );

    for (state, said) in [
        ("DISABLE", "is disabled"),
        ("ENABLE REPLICA", "fires for replicated rows only"),
        (
            "ENABLE",
            "is not ENABLE ALWAYS: rows that replication applies are passed over",
        ),
    ] {
        m.run(&format!(
            "ALTER TABLE payments_1 {state} TRIGGER cloudwalk_monitor_record_1"
        ));
        assert_eq!(
            m.text(spots),
            format!("payments rows trigger cloudwalk_monitor_record_1 of payments_1 {said}")
        );
        assert_eq!(
            m.text("SELECT status FROM monitor_health"),
            "not everything is seen: see blind_spots"
        );
    }
    m.run("ALTER TABLE payments ENABLE ALWAYS TRIGGER cloudwalk_monitor_record_1");
    assert_eq!(m.text(spots), "");
    m.run("ALTER TABLE transactions DISABLE TRIGGER cloudwalk_monitor_judge");
    assert_eq!(
        m.text(spots),
        "transactions verdicts trigger cloudwalk_monitor_judge of transactions is disabled"
    );
    m.run("ALTER TABLE transactions ENABLE ALWAYS TRIGGER cloudwalk_monitor_judge");
    m.run("SET cloudwalk_monitor.enabled = off");
    assert_eq!(
        m.text(spots),
        "(all) rows cloudwalk_monitor.enabled is off in this session"
    );
    m.run("RESET cloudwalk_monitor.enabled");

    m.run("CREATE TABLE parent (at timestamptz); SELECT watch_table('parent', 'at'); CREATE TABLE child () INHERITS (parent)");
    assert_eq!(
        m.text(spots),
        "parent rows rows written to its child table child itself are passed over"
    );
    m.run("INSERT INTO child SELECT '2025-07-14 08:00+00' FROM generate_series(1, 3); INSERT INTO parent VALUES ('2025-07-14 08:00+00')");
    m.assert_models_of("parent");
    assert_eq!(
        m.text("SELECT observed FROM scored_series('1 minute', '2025-07-14 08:01+00', 'parent')"),
        "1"
    );
    m.run("DROP TABLE parent CASCADE");
    assert_eq!(m.text(spots), "parent rows its table was dropped");
    m.run("SELECT unwatch_table('parent')");
    m.run("CREATE TABLE plain (at timestamptz); SELECT watch_table('plain', 'at'); DROP TRIGGER cloudwalk_monitor_record_3 ON plain");
    assert_eq!(
        m.text(spots),
        "plain rows plain has no trigger cloudwalk_monitor_record_3"
    );
    m.run("SELECT unwatch_table('plain')");

    // 1 MB holds some sixty series.
    m.run("INSERT INTO payments SELECT now(), 'k' || k FROM generate_series(1, 1000) k");
    m.quiesce();
    m.until(
        spots,
        "payments series some series found no room, or have labels of more than 250 bytes: they are counted together as (other)",
    );
}

#[test]
fn a_standby_says_what_it_is() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "standing");
    m.run(&calm_sql(EPOCH, 0, 60));
    m.quiesce();
    let standby = cluster.start_standby(&[]);
    let mut s = standby.connect_to("standing");
    let row = s
        .query_one(
            "SELECT status, worker_alive, blind_spots FROM monitor_health",
            &[],
        )
        .unwrap();
    assert_eq!(
        row.get::<_, &str>(0),
        "standby: nothing is judged or recorded until it is promoted"
    );
    assert!(!row.get::<_, bool>(1));
}
