//! Which stored states are kept: one a day and those of the last hours, and fewer the older they are where there are many
//! series.

use crate::calendar::{DAY_US, HOUR_US};
use crate::monitor::Monitor;
use crate::settings;
use crate::store::{self, Snapshot};

/// States of series that a monitor may have stored, of all times together: at 1.9 KB each 380 MB. Two thousand series
/// have one for each of ninety days.
const STATES: usize = 200_000;
/// So many times are kept however many series there are: today, and back by ever larger steps.
const LEAST: usize = 8;

/// For so long one state an hour is kept, of monitors of which many times may be: the last hour is what is asked for again and
/// again, and would else be folded from midnight on.
const RECENT_US: i64 = 3 * HOUR_US;
const MANY: usize = 1_000;

/// From when on one state an hour is kept of a monitor with so many series, the newest being of `newest`.
pub fn hourly_from(newest: i64, series: usize) -> i64 {
    recent(newest, most(series))
}

fn recent(newest: i64, most: usize) -> i64 {
    if most >= MANY {
        newest.saturating_sub(RECENT_US)
    } else {
        newest
    }
}

/// How many times may be kept of a monitor with so many series.
pub fn most(series: usize) -> usize {
    (STATES / (series + 1)).max(LEAST)
}

/// Which of these times, in ascending order, are not worth keeping: all but the last of each day and those of the last
/// hours; and where there are
/// too many, those that leave the smallest gap for their age. The first and the last always stay.
pub fn surplus(times: &[i64], most: usize) -> Vec<i64> {
    let day = |t: i64| t.div_euclid(DAY_US);
    let hour = |t: i64| t.div_euclid(HOUR_US);
    let mut gone = Vec::new();
    let mut kept: Vec<i64> = Vec::new();
    let newest = times.last().copied().unwrap_or(0);
    let recent = recent(newest, most);
    for t in times {
        match kept.last_mut() {
            Some(last) if day(*last) == day(*t) && (*last <= recent || hour(*last) == hour(*t)) => {
                gone.push(std::mem::replace(last, *t));
            }
            _ => kept.push(*t),
        }
    }
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
