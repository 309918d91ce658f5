//! Corners of exactness, one by one: what `property` found, and what it is too rare to find.

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

fn storm(at: i64) -> String {
    format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 60), ({0}, 'approved', 120)",
        minute(at)
    )
}

/// Who waits for the lock of `alerts` has to see what was recorded meanwhile.
#[test]
fn two_that_record_at_once_tell_it_once() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "two_record");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let worker = m.number("SELECT worker_pid FROM monitor_health") as i32;
    cluster.freeze(worker);
    m.run(&storm(240));
    m.run("BEGIN");
    let found = format!("SELECT count(*) FROM detect_anomalies('1 hour', {})", minute(241));
    assert_eq!(m.text(&found), "1");
    assert_eq!(m.events("opened"), 1);
    cluster.thaw(worker);
    m.until(
        &format!("SELECT count(*) FROM pg_locks WHERE pid = {worker} AND NOT granted"),
        "1",
    );
    m.run("COMMIT");
    m.assert_models();
    assert_eq!(m.events("opened"), 1);
}
