//! How soon an alert is heard, and what a fresh connection pays.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use testbed::{Cluster, Listener};

use crate::figures::{median, percentile, rounded, Report, Target};
use crate::rows::Rows;
use crate::sides::{settle, Side};
use crate::Size;

/// A notification that did not come by then is lost.
const LOST: Duration = Duration::from_secs(3);

/// From the answer to a COMMIT to the notification at a client that LISTENs.
pub fn notification(cluster: &Cluster, ours: &mut Client, size: &Size, report: &mut Report) {
    // A table each: what begins soon after another incident of the same monitor joins its group, and is told later.
    for n in 1..=size.storms {
        let history = Rows::of(180 * 7, 7).query();
        ours.batch_execute(&format!(
            "CREATE TABLE source_{n} (time timestamptz, status text, count integer); \
             INSERT INTO source_{n} {history}; \
             SELECT watch_table('source_{n}', 'time', 'count', '{{status}}')"
        ))
        .expect("a table with three hours is watched");
    }
    settle(ours);
    let listener: Listener = cluster.listen(Side::Ours.database(), "cloudwalk_alerts");
    let (mut after, mut whole, mut lost) = (Vec::new(), Vec::new(), 0);
    for n in 1..=size.storms {
        // Not from the first to the last of one burst: each is an incident by itself.
        thread::sleep(Duration::from_millis(30));
        let storm = format!("INSERT INTO source_{n} VALUES (now(), 'denied', 4000)");
        let storm = ours.prepare(&storm).expect("prepared");
        let heard_before = listener.heard().len();
        let sent = Instant::now();
        ours.execute(&storm, &[]).expect("the storm is inserted");
        let answered = Instant::now();
        let arrived = wait(&listener, heard_before);
        match arrived {
            Some(at) => {
                after.push(at.saturating_duration_since(answered).as_secs_f64() * 1e3);
                whole.push(at.saturating_duration_since(sent).as_secs_f64() * 1e3);
            }
            None => lost += 1,
        }
    }
    let what = "commit to notification received";
    report.figure(
        &format!("{what}: p50"),
        median(&after),
        " ms",
        Target::AtMost(1.0),
        format!(
            "{} incidents, {lost} not announced one by one; from sending the INSERT {} ms",
            after.len(),
            rounded(median(&whole))
        ),
    );
    report.figure(
        &format!("{what}: p99"),
        percentile(&after, 0.99),
        " ms",
        Target::AtMost(10.0),
        format!(
            "from sending the INSERT {} ms",
            rounded(percentile(&whole, 0.99))
        ),
    );
}

/// When the next notification arrived: nothing else goes on.
fn wait(listener: &Listener, before: usize) -> Option<Instant> {
    let began = Instant::now();
    while began.elapsed() < LOST {
        if let Some(notice) = listener.heard().get(before) {
            return Some(notice.at);
        }
        thread::sleep(Duration::from_micros(500));
    }
    None
}

/// The first INSERT of a connection beside its second; the library is loaded before.
pub fn first_insert(cluster: &Cluster, size: &Size, report: &mut Report) {
    let mut over = [Vec::new(), Vec::new()];
    for _ in 0..size.connections {
        for (side, over) in [Side::Plain, Side::Ours].into_iter().zip(&mut over) {
            let mut client = cluster.connect_to(side.database());
            client
                .batch_execute("LOAD 'cloudwalk_monitor'")
                .expect("the library is loaded");
            let mut insert = || {
                let began = Instant::now();
                client
                    .batch_execute("INSERT INTO transactions (status, count) VALUES ('denied', 1)")
                    .expect("inserted");
                began.elapsed().as_secs_f64() * 1e3
            };
            let (first, second) = (insert(), insert());
            over.push(first - second);
        }
    }
    let [plain, ours] = over;
    report.figure(
        "first INSERT of a connection, over its second",
        median(&ours),
        " ms",
        Target::AtMost(2.0),
        format!(
            "without trigger {} ms: the server's own caches; {} connections",
            rounded(median(&plain)),
            size.connections
        ),
    );
}
