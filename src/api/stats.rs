//! `monitor_stats` and `monitor_health`.

use std::sync::atomic::Ordering;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use super::segment;
use crate::shared::{self, NEVER};
use crate::store;

/// Counters and the state of the worker.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn read_stats() -> TableIterator<
    'static,
    (
        name!(scored, i64),
        name!(late, i64),
        name!(rejected, i64),
        name!(errors, i64),
        name!(refolds, i64),
        name!(overflows, i64),
        name!(sealed, i64),
        name!(rounds, i64),
        name!(round_ms, f64),
        name!(alerts, i64),
        name!(series, i32),
        name!(series_capacity, i32),
        name!(worker_pid, Option<i32>),
        name!(last_round, Option<TimestampWithTimeZone>),
        name!(loading, i32),
        name!(dirty, i32),
        name!(monitors, i32),
        name!(worker_refused, bool),
        name!(attached, bool),
        name!(unplaced, i32),
        name!(most_monitors, i32),
    ),
> {
    let Some(s) = segment() else {
        return TableIterator::once((
            0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, None, None, 0, 0, 0, false, false, 0, 0,
        ));
    };
    let h = s.header();
    let n = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed) as i64;
    let count = |f: &dyn Fn(&shared::Cell) -> bool| s.cells().filter(|(_, c)| f(c)).count() as i32;
    let pid = h.worker_pid.load(Ordering::Acquire);
    let last = h.last_round.load(Ordering::Acquire);
    TableIterator::once((
        n(&h.stats.scored),
        n(&h.stats.late),
        n(&h.stats.rejected),
        n(&h.stats.errors),
        n(&h.stats.refolds),
        n(&h.stats.overflows),
        n(&h.stats.sealed),
        n(&h.stats.rounds),
        h.stats.round_us.load(Ordering::Relaxed) as f64 / 1000.0,
        n(&h.stats.alerts),
        (h.used.load(Ordering::Acquire) - h.free_slots.load(Ordering::Acquire)) as i32,
        h.slots as i32,
        (pid != 0).then_some(pid),
        (last != 0).then(|| store::timestamp(last)),
        count(&|c| {
            c.state.load(Ordering::Acquire) != shared::LIVE
                || c.loading.load(Ordering::Acquire) != 0
        }),
        count(&|c| c.dirty_from.load(Ordering::Acquire) != NEVER),
        count(&|_| true),
        h.worker_refused.load(Ordering::Acquire) != 0,
        true,
        h.unplaced.load(Ordering::Acquire) as i32,
        shared::MONITORS as i32,
    ))
}
