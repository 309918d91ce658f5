//! Which stored states are kept: one a day, and fewer the older they are where there are many series.

use crate::calendar::DAY_US;
use crate::monitor::Monitor;
use crate::settings;
use crate::store::{self, Snapshot};

/// States of series that a monitor may have stored, of all times together: at 1.9 KB each 380 MB. Two thousand series
/// have one for each of ninety days.
const STATES: usize = 200_000;
/// So many times are kept however many series there are: today, and back by ever larger steps.
const LEAST: usize = 8;

/// How many times may be kept of a monitor with so many series.
pub fn most(series: usize) -> usize {
    (STATES / (series + 1)).max(LEAST)
}

/// Which of these times, in ascending order, are not worth keeping: all but the last of each day; and where there are
/// too many, those that leave the smallest gap for their age. The first and the last always stay.
pub fn surplus(times: &[i64], most: usize) -> Vec<i64> {
    let day = |t: i64| t.div_euclid(DAY_US);
    let mut gone = Vec::new();
    let mut kept: Vec<i64> = Vec::new();
    for t in times {
        match kept.last_mut() {
            Some(last) if day(*last) == day(*t) => gone.push(std::mem::replace(last, *t)),
            _ => kept.push(*t),
        }
    }
    let newest = kept.last().copied().unwrap_or(0);
    while kept.len() > most.max(2) {
        let worth = |i: usize| {
            let gap = (kept[i + 1] - kept[i - 1]) as f64;
            gap / (newest - kept[i] + DAY_US) as f64
        };
        let least = (1..kept.len() - 1)
            .min_by(|a, b| worth(*a).total_cmp(&worth(*b)))
            .expect("more than two are left");
        gone.push(kept.remove(least));
    }
    gone
}

/// Stores states, and drops what is not worth keeping beside them.
pub fn store(m: &Monitor, snapshots: &[Snapshot]) {
    let Some(last) = snapshots.last() else { return };
    for s in snapshots {
        store::store_snapshot(m, s);
    }
    // A restart begins with one that is `sealed_horizon` older than the newest.
    let least = settings::sealed_horizon().saturating_add(2 * DAY_US);
    let keep = settings::snapshot_retention().max(least);
    store::prune_snapshots(m, m.calendar.start(last.bucket).saturating_sub(keep));
    let gone = surplus(&store::snapshot_times(m), most(last.states.len()));
    store::drop_snapshots_of(m, &gone);
}
