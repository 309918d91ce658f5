//! What a committed transaction adds. Runs in the COMMIT callback, after the commit record: nothing here
//! allocates, raises an error, or waits for anything but a short LWLock.

use std::sync::atomic::Ordering;

use super::layout::*;
use super::segment::{hold, Segment};

/// What a transaction adds to one bucket of one series.
#[derive(Clone, Copy, Debug)]
pub struct Delta {
    pub seat: Seat,
    pub slot: u32,
    pub bucket: i64,
    pub sum: i64,
    pub rows: i32,
}

/// A prepared transaction that has ended.
#[derive(Clone, Copy, Debug)]
pub struct PreparedWork {
    pub xid: u32,
    pub cell: u32,
    pub bucket: i64,
}

impl LoadSnapshot {
    /// Whether a transaction was visible to the load, so that the models hold its rows already.
    pub(super) fn saw(&self, xid: u32) -> bool {
        // Transaction ids are a circle: "before" is a signed difference.
        let before = (xid.wrapping_sub(self.xmax) as i32) < 0;
        self.xmax != 0
            && before
            && !self.in_progress[..(self.len as usize).min(IN_PROGRESS)].contains(&xid)
    }
}

impl Segment {
    /// Adds the deltas of one monitor; true when the worker should look at once. All deltas must be of that
    /// seat. None: it is lost, and nothing was added.
    pub fn merge(
        &self,
        seat: Seat,
        deltas: &[Delta],
        dirty_from: i64,
        xid: u32,
        now: i64,
    ) -> Option<bool> {
        let c = &self.header().cells[seat.cell as usize];
        let mut wake = false;
        let held = self.read(c);
        if !self.holds(seat) {
            return None;
        }
        let loading = c.loading.load(Ordering::Acquire) != 0;
        let live = c.state.load(Ordering::Acquire) == LIVE;
        if dirty_from != NEVER {
            c.mark_dirty(dirty_from);
            wake = true;
        }
        if !live && !loading {
            // The load to come sees the rows: this transaction is visible already. It must only begin early
            // enough.
            for d in deltas {
                c.mark_dirty(d.bucket);
            }
            wake = true;
        } else if live && held.model().seen.saw(xid) {
            // Its rows came with the last load, and a load under way sees them too; but not those of buckets
            // that were not read.
            let from = held.model().seen.from;
            for d in deltas.iter().filter(|d| d.bucket < from) {
                self.header().stats.late.fetch_add(1, Ordering::Relaxed);
                c.mark_dirty(d.bucket);
                wake = true;
            }
        } else {
            if loading {
                self.queue(c, deltas, xid);
            }
            if live {
                let sealed = held.model().sealed;
                for d in deltas {
                    wake |= self.add(c, sealed, d);
                }
            }
        }
        for d in deltas.iter().filter(|d| d.rows > 0) {
            // Looked at first: it moves once a bucket, and many write to what lies beside it.
            if c.newest.load(Ordering::Acquire) < d.bucket
                && c.newest.fetch_max(d.bucket, Ordering::AcqRel) < d.bucket
            {
                wake = true;
                c.note_delay(d.bucket, now);
            }
        }
        c.touched_at.fetch_max(now, Ordering::AcqRel);
        c.version.fetch_add(1, Ordering::AcqRel);
        Some(wake)
    }

    /// The cell of a monitor, where it has one: takes none into use.
    pub fn cell_of(&self, monitor: i32) -> Option<&'static Cell> {
        let mut cells = self.cells();
        cells
            .find(|(_, c)| c.id.load(Ordering::Acquire) == monitor)
            .map(|(_, c)| c)
    }

    /// Has a monitor folded again from a bucket on, wherever its cell is by now. One that has none will be
    /// loaded from its table.
    pub fn mark_dirty(&self, monitor: i32, from: i64) {
        if let Some(c) = self.cell_of(monitor) {
            c.mark_dirty(from);
        }
    }

    /// Notes that a session that is switched off changed a monitor: the worker has it folded again at its next tick.
    pub fn pass_over(&self, monitor: i32, from: i64, now: i64) {
        if let Some(c) = self.cell_of(monitor) {
            if !c.is_behind() {
                c.passed_over_at.store(now, Ordering::Release);
            }
            c.passed_over_from.fetch_min(from, Ordering::AcqRel);
            c.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Notes that a monitor has a row that is dated too far ahead to be judged.
    pub fn note_future(&self, monitor: i32, bucket: i64) {
        if let Some(c) = self.cell_of(monitor) {
            c.future_from.fetch_min(bucket, Ordering::AcqRel);
        }
    }

    /// Drops what waits for a monitor's load or for a prepared transaction of it.
    pub(super) fn forget_waiting(&self, cell: u32) {
        let h = self.header();
        let _held = hold(&h.queue_lock, true);
        // SAFETY: the queue lock is held exclusively.
        let w = unsafe { &mut *h.waiting.get() };
        let mut kept = 0;
        for i in 0..w.pending_len as usize {
            if w.pending[i].cell != cell {
                w.pending[kept] = w.pending[i];
                kept += 1;
            }
        }
        w.pending_len = kept as u32;
        kept = 0;
        for i in 0..w.prepared_len as usize {
            if w.prepared[i].cell != cell {
                w.prepared[kept] = w.prepared[i];
                kept += 1;
            }
        }
        w.prepared_len = kept as u32;
    }

    /// Adds to the ring; true when the worker should look at once. The monitor's lock is held.
    pub(super) fn add(&self, c: &Cell, sealed: i64, d: &Delta) -> bool {
        if d.bucket <= sealed {
            self.header().stats.late.fetch_add(1, Ordering::Relaxed);
            c.mark_dirty(d.bucket);
            return true;
        }
        if d.bucket > sealed.saturating_add(RING as i64) {
            c.mark_dirty(d.bucket);
            return true;
        }
        let i = place(d.bucket);
        let slot = self.slot(d.slot);
        let sum = slot.sums[i]
            .fetch_add(d.sum, Ordering::AcqRel)
            .wrapping_add(d.sum);
        slot.rows[i].fetch_add(d.rows, Ordering::AcqRel);
        c.sums[i].fetch_add(d.sum, Ordering::AcqRel);
        c.rows[i].fetch_add(i64::from(d.rows), Ordering::AcqRel);
        slot.changed.store(1, Ordering::Release);
        let alarm = f64::from_bits(slot.alarm_above.load(Ordering::Acquire));
        slot.alarm_bucket.load(Ordering::Acquire) != d.bucket || sum as f64 > alarm || d.sum < 0
    }

    /// Lets deltas wait for the end of the load; what finds no room is left to the next one.
    fn queue(&self, c: &Cell, deltas: &[Delta], xid: u32) {
        let h = self.header();
        let _held = hold(&h.queue_lock, true);
        // SAFETY: the queue lock is held exclusively.
        let w = unsafe { &mut *h.waiting.get() };
        for d in deltas {
            let n = w.pending_len as usize;
            if n >= QUEUE {
                h.stats.overflows.fetch_add(1, Ordering::Relaxed);
                c.mark_dirty(d.bucket);
                continue;
            }
            w.pending[n] = Pending {
                cell: d.seat.cell,
                slot: d.slot,
                bucket: d.bucket,
                sum: d.sum,
                rows: d.rows,
                xid,
            };
            w.pending_len += 1;
        }
    }

    /// Remembers a prepared transaction. Where there is no room, the worker is told to ask the server for all
    /// of them.
    pub fn prepared(&self, work: PreparedWork) {
        let h = self.header();
        let _held = hold(&h.queue_lock, true);
        // SAFETY: the queue lock is held exclusively.
        let w = unsafe { &mut *h.waiting.get() };
        let n = w.prepared_len as usize;
        let known = w.prepared[..n]
            .iter_mut()
            .find(|p| p.xid == work.xid && p.cell == work.cell);
        if let Some(p) = known {
            p.bucket = p.bucket.min(work.bucket);
        } else if n < PREPARED {
            w.prepared[n] = Prepared {
                xid: work.xid,
                cell: work.cell,
                bucket: work.bucket,
            };
            w.prepared_len += 1;
        } else {
            h.stats.overflows.fetch_add(1, Ordering::Relaxed);
            w.prepared_lost = 1;
        }
    }

    /// Has the worker ask the server for all prepared transactions, since one could not be noted.
    pub fn lose_prepared(&self) {
        let h = self.header();
        let _held = hold(&h.queue_lock, true);
        // SAFETY: the queue lock is held exclusively.
        unsafe { (*h.waiting.get()).prepared_lost = 1 };
    }

    /// Whether a prepared transaction found no room; asking clears it.
    pub fn take_prepared_lost(&self) -> bool {
        let h = self.header();
        let _held = hold(&h.queue_lock, true);
        // SAFETY: the queue lock is held exclusively.
        let w = unsafe { &mut *h.waiting.get() };
        std::mem::take(&mut w.prepared_lost) != 0
    }

    /// Whether some prepared transaction is waited for, one that found no room included.
    pub fn waits_for_prepared(&self) -> bool {
        let h = self.header();
        let _held = hold(&h.queue_lock, false);
        // SAFETY: the queue lock is held.
        let w = unsafe { &*h.waiting.get() };
        w.prepared_len > 0 || w.prepared_lost != 0
    }

    /// Prepared transactions that are waited for.
    pub fn prepared_list(&self) -> Vec<PreparedWork> {
        let h = self.header();
        let _held = hold(&h.queue_lock, false);
        // SAFETY: the queue lock is held.
        let w = unsafe { &*h.waiting.get() };
        w.prepared[..w.prepared_len as usize]
            .iter()
            .map(|p| PreparedWork {
                xid: p.xid,
                cell: p.cell,
                bucket: p.bucket,
            })
            .collect()
    }

    /// Forgets prepared transactions that have ended.
    pub fn prepared_done(&self, xids: &[u32]) {
        let h = self.header();
        let _held = hold(&h.queue_lock, true);
        // SAFETY: the queue lock is held exclusively.
        let w = unsafe { &mut *h.waiting.get() };
        let mut kept = 0;
        for i in 0..w.prepared_len as usize {
            let p = w.prepared[i];
            if !xids.contains(&p.xid) {
                w.prepared[kept] = p;
                kept += 1;
            }
        }
        w.prepared_len = kept as u32;
    }
}
