//! `monitor_stats`, `monitor_health` and `blind_spots`.

use std::sync::atomic::{AtomicI64, Ordering};

use detector::{Family, Model};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use super::segment;
use crate::round::Place;
use crate::shared::{self, NEVER};
use crate::{key, store, worker};

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
        name!(round_began, Option<TimestampWithTimeZone>),
        name!(due_at, Option<TimestampWithTimeZone>),
        name!(waits_for, Option<String>),
        name!(withheld, i64),
        name!(last_heartbeat, Option<TimestampWithTimeZone>),
        name!(last_error, Option<TimestampWithTimeZone>),
    ),
> {
    let Some(s) = segment() else {
        return TableIterator::once((
            0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, None, None, 0, 0, 0, false, false, 0, 0, None,
            None, None, 0, None, None,
        ));
    };
    let h = s.header();
    let n = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed) as i64;
    let count = |f: &dyn Fn(&shared::Cell) -> bool| s.cells().filter(|(_, c)| f(c)).count() as i32;
    let pid = h.worker_pid.load(Ordering::Acquire);
    let time = |a: &AtomicI64| {
        let us = a.load(Ordering::Acquire);
        (us != 0).then(|| store::timestamp(us))
    };
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
        time(&h.last_round),
        count(&|c| {
            c.state.load(Ordering::Acquire) != shared::LIVE
                || c.loading.load(Ordering::Acquire) != 0
        }),
        count(&|c| c.dirty_from.load(Ordering::Acquire) != NEVER || c.is_behind()),
        count(&|_| true),
        h.worker_refused.load(Ordering::Acquire) != 0,
        true,
        h.unplaced.load(Ordering::Acquire) as i32,
        shared::MONITORS as i32,
        time(&h.round_began),
        time(&h.due_at),
        worker::waits_for(s),
        n(&h.unannounced) + n(&h.withheld),
        time(&h.heartbeat_at),
        time(&h.stats.erred_at),
    ))
}

/// What is known of each monitor that is watched live.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn read_cells() -> TableIterator<
    'static,
    (
        name!(monitor, i32),
        name!(newest, Option<TimestampWithTimeZone>),
        name!(learning, bool),
        name!(follows_clock, bool),
        name!(overflowed, bool),
    ),
> {
    let mut rows = Vec::new();
    let Some(s) = segment() else {
        return TableIterator::new(rows);
    };
    for (_, cell) in s.cells() {
        let newest = cell.newest.load(Ordering::Acquire);
        let width = cell.width.load(Ordering::Acquire);
        let learning = s.read(cell).model().ground.total.is_learning();
        rows.push((
            cell.id.load(Ordering::Acquire),
            (newest != i64::MIN && width > 0).then(|| store::timestamp(newest * width)),
            learning,
            cell.follows_clock.load(Ordering::Acquire) != 0,
            s.slots_of(cell)
                .any(|(_, slot)| slot.key() == key::OTHER_KEY),
        ));
    }
    TableIterator::new(rows)
}

/// The family that each series of a monitor has chosen.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn series_models(
    monitor: &str,
) -> TableIterator<
    'static,
    (
        name!(series, String),
        name!(family, String),
        name!(readings, i64),
        name!(learning, bool),
    ),
> {
    let m = store::monitor_by_name(monitor);
    let Some(place) = segment().and_then(|s| Place::of(s, &m)) else {
        return TableIterator::new(Vec::new());
    };
    let held = place.segment.read(place.cell);
    let row = |series: String, model: &Model| {
        let family = match model.family() {
            Family::Counts => "counts".to_string(),
            Family::Values => "values".to_string(),
        };
        let readings = model.readings() as i64;
        (series, family, readings, model.is_learning())
    };
    let total = row(key::TOTAL.to_string(), &held.model().ground.total);
    let born = |(n, _): &(u32, _)| held.slot(*n).born != NEVER;
    let of_series = place.segment.slots_of(place.cell).filter(born);
    let rows: Vec<_> = std::iter::once(total)
        .chain(of_series.map(|(n, slot)| row(m.label(slot.key()), &held.slot(n).series)))
        .collect();
    drop(held);
    TableIterator::new(rows)
}
