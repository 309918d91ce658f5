//! The extension is dropped, created and updated under load: no insert is the victim of a deadlock.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use testbed::monitored::Monitored;
use testbed::Cluster;

/// SQLSTATEs that an insert may hear while the table is dropped under it.
const GONE: [&str; 3] = ["42P01", "XX000", "42704"];

#[test]
fn dropped_under_load() {
    let cluster = Cluster::start_with(&[("deadlock_timeout", "100ms")]);
    let mut m = Monitored::create(&cluster, "dropped");
    m.run("CREATE TABLE payments (at timestamptz, kind text)");
    let stop = AtomicBool::new(false);
    let inserted = AtomicI64::new(0);
    let (cluster, stop, inserted) = (&cluster, &stop, &inserted);
    std::thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || {
                let mut c = cluster.connect_to("dropped");
                let mut at = 0;
                while !stop.load(Ordering::Acquire) {
                    at += 1;
                    // Rows of last week are noted in unfolded.
                    let old = if at % 5 == 0 { "- interval '30 days'" } else { "" };
                    let sql = format!(
                        "INSERT INTO transactions (time, status, count) VALUES (now() {old}, 'denied', {}), (now(), 'approved', 100)",
                        if at % 50 < 10 { 90 } else { n }
                    );
                    match c.batch_execute(&sql) {
                        Ok(()) => {
                            inserted.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(e) => {
                            let e = e.as_db_error().expect("the connection holds").clone();
                            assert_ne!(e.code().code(), "40P01", "{e:?}");
                            assert!(GONE.contains(&e.code().code()), "{e:?}");
                        }
                    }
                }
            });
        }
        for round in 0..12 {
            let before = inserted.load(Ordering::Relaxed);
            testbed::eventually(Duration::from_secs(20), || {
                (inserted.load(Ordering::Relaxed) > before + 100).then_some(())
            });
            // The worker, with locks of its own, may be the one that gives way, or the DROP itself.
            for attempt in 0.. {
                match m
                    .client
                    .batch_execute("DROP EXTENSION cloudwalk_monitor CASCADE")
                {
                    Ok(()) => break,
                    Err(e) => {
                        println!("round {round}: {e:?}");
                        assert!(attempt < 5, "{e:?}");
                    }
                }
            }
            m.run("CREATE EXTENSION cloudwalk_monitor");
        }
        stop.store(true, Ordering::Release);
    });
    m.quiesce();
    let log = cluster.log();
    println!("{} deadlocks", log.matches("deadlock detected").count());
    m.assert_models();
}
