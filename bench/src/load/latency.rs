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
const LOST: Duration = Duration::from_secs(20);

/// From the answer to a COMMIT to the notification at a client that LISTENs.
pub fn notification(cluster: &Cluster, ours: &mut Client, size: &Size, report: &mut Report) {
    let series = size.storms;
    let history = Rows::of(series * 180, series).query();
    ours.batch_execute(&format!(
        "TRUNCATE transactions; INSERT INTO transactions (time, status, count) {history}"
    ))
    .expect("three hours are filled");
    settle(ours);
    let listener: Listener = cluster.listen(Side::Ours.database(), "cloudwalk_alerts");
    let storm = ours
        .prepare("INSERT INTO transactions (time, status, count) VALUES (now(), $1, 4000)")
        .expect("prepared");
    let (mut after, mut whole, mut lost) = (Vec::new(), Vec::new(), 0);
    for s in 1..=series {
        // Not from the first to the last of one burst: each is an incident by itself.
        thread::sleep(Duration::from_millis(30));
        let name = format!("merchant-{s}");
        let heard_before = listener.heard().len();
        let sent = Instant::now();
        ours.execute(&storm, &[&name])
            .expect("the storm is inserted");
        let answered = Instant::now();
        let quoted = format!("\"{name}\"");
        let arrived = wait(&listener, heard_before, &quoted);
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

/// When a notification arrived that names a series.
fn wait(listener: &Listener, before: usize, name: &str) -> Option<Instant> {
    let began = Instant::now();
    while began.elapsed() < LOST {
        let heard = listener.heard();
        let found = heard[before..].iter().find(|n| n.payload.contains(name));
        if let Some(notice) = found {
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
