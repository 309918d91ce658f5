//! Replacing the models of a monitor by refolded ones, without a gap and without a double count.
//!
//! From `begin` on, commits leave their deltas in the queue. The caller then takes a snapshot, folds what
//! it sees, and calls `finish`, which adds the queued deltas of transactions that the snapshot did not see.
//! The snapshot is kept: a transaction that it saw may call the merge a moment later.

use std::sync::atomic::Ordering;

use detector::{Ground, Lifecycle};
use pgrx::pg_sys;

use super::layout::*;
use super::merge::Delta;
use super::segment::{hold, Segment};
use crate::calendar::HOUR_US;
use crate::maintenance::Stretch;

/// The snapshot of a load.
pub struct Seen {
    pub xmax: u32,
    pub in_progress: Vec<u32>,
}

/// One refolded series.
pub struct LoadedSeries {
    pub slot: u32,
    pub series: detector::Model,
    pub life: Lifecycle,
    pub born: i64,
    /// Sums and rows of unsealed buckets.
    pub open: Vec<(i64, i64, i64)>,
}

/// A refolded monitor.
pub struct LoadedModel {
    /// First bucket that was read.
    pub from: i64,
    pub sealed: i64,
    pub newest: i64,
    pub ground: Ground,
    pub ratios: [RatioModel; RATIOS],
    pub ratios_version: u64,
    pub life: Lifecycle,
    /// Maintenance that ends after `sealed`.
    pub windows: Vec<Stretch>,
    pub series: Vec<LoadedSeries>,
}

impl Seen {
    /// The transactions that the active snapshot takes for unfinished.
    pub fn of_active_snapshot() -> Option<Seen> {
        // SAFETY: the active snapshot is valid until it is popped; xip has xcnt entries.
        unsafe {
            let s = pg_sys::GetActiveSnapshot();
            if s.is_null() || (*s).takenDuringRecovery {
                return None;
            }
            let in_progress = if (*s).xcnt == 0 {
                Vec::new()
            } else {
                std::slice::from_raw_parts((*s).xip, (*s).xcnt as usize)
                    .iter()
                    .map(|x| xid(*x))
                    .collect()
            };
            Some(Seen {
                xmax: xid((*s).xmax),
                in_progress,
            })
        }
    }

    /// Whether it can be kept in shared memory.
    pub fn fits(&self) -> bool {
        self.in_progress.len() <= IN_PROGRESS
    }
}

/// A transaction id as a number, whatever type the server version's bindings give it.
pub fn xid(x: pg_sys::TransactionId) -> u32 {
    x.into_inner()
}

impl Segment {
    /// Starts a load: gives the earliest dirty bucket, which is taken as handled from here on, and the
    /// sealed bucket of the models as they are.
    pub fn begin_load(&self, cell: &Cell) -> (i64, i64) {
        let mut w = self.write(cell);
        let abandoned = cell.loading.swap(1, Ordering::AcqRel) != 0;
        let h = self.header();
        {
            let _held = hold(&h.queue_lock, true);
            // SAFETY: the queue lock is held exclusively.
            unsafe { (*h.waiting.get()).pending_len = 0 };
        }
        let mut dirty = cell.dirty_from.swap(NEVER, Ordering::AcqRel);
        if abandoned {
            dirty = dirty.min(cell.load_from.load(Ordering::Acquire));
        }
        cell.load_from.store(dirty, Ordering::Release);
        (dirty, w.model().sealed)
    }

    /// Gives up a load.
    pub fn abandon_load(&self, cell: &Cell, dirty: i64) {
        let _w = self.write(cell);
        // What waited in the queue is in the ring too if the models are live; else the next load reads it.
        cell.loading.store(0, Ordering::Release);
        cell.mark_dirty(dirty);
    }

    /// Puts the refolded models in place.
    pub fn finish_load(&self, seat: Seat, cell: &Cell, seen: &Seen, loaded: LoadedModel, now: i64) {
        let h = self.header();
        let mut w = self.write(cell);
        for r in cell.rows.iter().chain(&cell.sums) {
            r.store(0, Ordering::Release);
        }
        for (n, slot) in self.slots_of(cell) {
            for i in 0..RING {
                slot.sums[i].store(0, Ordering::Release);
                slot.rows[i].store(0, Ordering::Release);
            }
            slot.changed.store(1, Ordering::Release);
            let s = w.slot(n);
            s.series = detector::Model::new();
            s.life = Lifecycle::new();
            s.born = NEVER;
        }
        {
            let m = w.model();
            m.sealed = loaded.sealed;
            cell.sealed_hint.store(loaded.sealed, Ordering::Release);
            m.ground = loaded.ground;
            m.ratios = loaded.ratios;
            m.ratios_version = loaded.ratios_version;
            m.life = loaded.life;
            cell.settled_total.reaches(m.life.incidents, m.sealed);
            for (r, settled) in m.ratios.iter().zip(&cell.settled_ratios) {
                settled.reaches(r.life.incidents, m.sealed);
            }
            m.keep_windows(&loaded.windows);
            m.seen.xmax = seen.xmax;
            m.seen.len = seen.in_progress.len() as u32;
            m.seen.in_progress[..seen.in_progress.len()].copy_from_slice(&seen.in_progress);
            m.seen.taken_at = now;
            m.seen.from = loaded.from;
        }
        cell.newest.store(loaded.newest, Ordering::Release);
        // Rows of the newest bucket may still be coming, whatever the clock says.
        cell.touched_at.fetch_max(now, Ordering::AcqRel);
        for l in &loaded.series {
            let s = w.slot(l.slot);
            s.series = l.series;
            s.life = l.life;
            s.born = l.born;
            let slot = self.slot(l.slot);
            slot.settled.reaches(l.life.incidents, loaded.sealed);
            for (bucket, sum, rows) in &l.open {
                if *bucket > loaded.sealed.saturating_add(RING as i64) {
                    // Dated so far ahead that the ring does not reach: read again when its time comes.
                    cell.beyond_from.fetch_min(*bucket, Ordering::AcqRel);
                    continue;
                }
                let i = place(*bucket);
                slot.sums[i].fetch_add(*sum, Ordering::AcqRel);
                slot.rows[i].fetch_add(*rows as i32, Ordering::AcqRel);
                cell.sums[i].fetch_add(*sum, Ordering::AcqRel);
                cell.rows[i].fetch_add(*rows, Ordering::AcqRel);
            }
        }
        cell.state.store(LIVE, Ordering::Release);
        let _held = hold(&h.queue_lock, true);
        // SAFETY: the queue lock is held exclusively.
        let waiting = unsafe { &mut *h.waiting.get() };
        for i in 0..waiting.pending_len as usize {
            let p = waiting.pending[i];
            if p.cell == seat.cell && !w.model().seen.saw(p.xid) {
                let d = Delta {
                    seat,
                    slot: p.slot,
                    bucket: p.bucket,
                    sum: p.sum,
                    rows: p.rows,
                };
                self.add(cell, loaded.sealed, &d);
                if d.rows > 0 {
                    cell.newest.fetch_max(d.bucket, Ordering::AcqRel);
                }
            } else if p.cell == seat.cell && p.bucket < loaded.from {
                // The snapshot saw it, but its bucket was not read.
                cell.mark_dirty(p.bucket);
            }
        }
        waiting.pending_len = 0;
        cell.loading.store(0, Ordering::Release);
        cell.version.fetch_add(1, Ordering::AcqRel);
        h.stats.refolds.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets the snapshot of a load that is long past: transaction ids come round again.
    pub fn forget_snapshot(&self, cell: &Cell, now: i64) {
        let old = {
            let r = self.read(cell);
            let seen = &r.model().seen;
            seen.xmax != 0 && now - seen.taken_at > HOUR_US
        };
        if old {
            self.write(cell).model().seen.xmax = 0;
        }
    }
}
