//! Sealing: folding unsealed buckets into the models, in order, one bucket at a time.

use std::sync::atomic::Ordering;

use detector::Part;

use super::layout::*;
use super::segment::{Segment, Writing};
use crate::calendar::Calendar;
use crate::fault::{self, Boundary};
use crate::fold::{read_bucket, Hearing};
use crate::{maintenance, ratio};

impl Segment {
    /// Seals buckets up to `target`, at most `most` of them. Gives how many were sealed.
    /// Stops where the models are not exact: then the worker refolds first.
    pub fn seal(&self, seat: Seat, calendar: &Calendar, target: i64, most: usize) -> usize {
        let mut done = 0;
        while done < most {
            match fault::pure(|| self.seal_one(seat, calendar, target)) {
                Ok(true) => done += 1,
                Ok(false) => break,
                Err(_) => {
                    // Half of a bucket may be folded.
                    let h = self.header();
                    h.stats.erred();
                    h.cells[seat.cell as usize].mark_dirty(i64::MIN);
                    fault::later("sealing");
                    break;
                }
            }
        }
        done
    }

    fn seal_one(&self, seat: Seat, calendar: &Calendar, target: i64) -> bool {
        let cell = &self.header().cells[seat.cell as usize];
        let mut w = self.write(cell);
        let exact = self.holds(seat)
            && cell.state.load(Ordering::Acquire) == LIVE
            && cell.loading.load(Ordering::Acquire) == 0
            && !cell.is_behind()
            && cell.dirty_from.load(Ordering::Acquire) == NEVER;
        let sealed = w.model().sealed;
        if !exact || sealed >= target {
            return false;
        }
        if sealed == i64::MIN {
            // Nothing was ever loaded: start just below the target.
            w.model().sealed = target;
            cell.sealed_hint.store(target, Ordering::Release);
            return true;
        }
        let bucket = sealed + 1;
        if bucket >= w.model().windows_end {
            // A load brings the maintenance that there was no room for.
            cell.mark_dirty(bucket);
            return false;
        }
        if let Some(end) = maintenance::end_of(w.model().windows(), bucket) {
            let through = if self.ring_is_empty(cell) {
                end.min(target)
            } else {
                bucket
            };
            self.leave_out(cell, &mut w, bucket, through);
            return true;
        }
        if w.model().ground.idle() && self.ring_is_empty(cell) {
            // Nothing can be learned before the next row.
            let through = maintenance::clear_through(w.model().windows(), bucket).min(target);
            let model = w.model();
            let (silent, last) = model.ground.pass_over(through);
            if silent > 0 {
                model.life.stay_silent(silent, last, &model.total_terms);
            }
            model.sealed = through;
            cell.sealed_hint.store(through, Ordering::Release);
            return true;
        }
        if !self.ratios_are_known(cell, &mut w) {
            return false;
        }
        fault::at(Boundary::Seal);
        let i = place(bucket);
        let pace = calendar.pace();
        let at = calendar.moment(bucket);
        let present = cell.rows[i].load(Ordering::Acquire) > 0;
        let sum = cell.sums[i].load(Ordering::Acquire);
        let total = calendar.measure.reading(sum);
        let m = w.model();
        let sensitivity = m.total_terms.sensitivity;
        let sealing = m.ground.seal_under(at, present, total, pace, &sensitivity);
        {
            let m = w.model();
            let direction = Direction::from_u8(m.total_direction);
            m.life.step_total(
                &m.ground,
                &sealing,
                total,
                direction.sides(),
                &m.total_terms,
            );
        }
        let mut shares = ratio::Sums::default();
        for (n, slot) in self.slots_of(cell) {
            let rows = slot.rows[i].swap(0, Ordering::AcqRel);
            let x = slot.sums[i].swap(0, Ordering::AcqRel);
            let (model, s) = w.parts(n);
            shares.add(s.member, x);
            read_bucket(
                &mut s.series,
                &mut s.born,
                calendar.measure.blank(&model.ground.blank),
                &sealing,
                rows > 0,
                calendar.measure.reading(x),
                at,
                pace,
                &mut Hearing {
                    life: &mut s.life,
                    direction: Direction::from_u8(s.direction),
                    limits: &s.limits,
                    terms: &s.terms,
                },
            );
            slot.changed.store(1, Ordering::Release);
        }
        w.model().ground.close(at, &sealing, pace);
        if sealing.counted {
            for (place, model) in w.model().ratios.iter_mut().enumerate() {
                if model.id != 0 {
                    shares.read(place, model, bucket);
                }
            }
            let mut parts = Part::default();
            for (n, _) in self.slots_of(cell) {
                let s = w.slot(n);
                if s.born != NEVER {
                    parts += s.series.part();
                }
            }
            let volume = w.model().ground.carry(parts);
            for (n, _) in self.slots_of(cell) {
                let s = w.slot(n);
                if s.born != NEVER {
                    s.series.note_volume(&volume);
                }
            }
        }
        w.model().sealed = bucket;
        cell.sealed_hint.store(bucket, Ordering::Release);
        cell.rows[i].store(0, Ordering::Release);
        cell.sums[i].store(0, Ordering::Release);
        cell.version.fetch_add(1, Ordering::AcqRel);
        self.header().stats.sealed.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Whether every series knows which ratios it is part of: one that came since is told by the worker.
    fn ratios_are_known(&self, cell: &Cell, w: &mut Writing) -> bool {
        let model = w.model();
        let version = model.ratios_version;
        model.ratios.iter().all(|r| r.id == 0)
            || self
                .slots_of(cell)
                .all(|(n, _)| w.slot(n).rules_version >= version)
    }

    /// Leaves buckets out, from the next one through another; where that is later, nothing has come for them.
    fn leave_out(&self, cell: &Cell, w: &mut Writing, bucket: i64, through: i64) {
        let i = place(bucket);
        for (_, slot) in self.slots_of(cell) {
            slot.rows[i].store(0, Ordering::Release);
            slot.sums[i].store(0, Ordering::Release);
        }
        cell.rows[i].store(0, Ordering::Release);
        cell.sums[i].store(0, Ordering::Release);
        w.model().ground.leave_out(through);
        w.model().sealed = through;
        cell.sealed_hint.store(through, Ordering::Release);
        cell.version.fetch_add(1, Ordering::AcqRel);
    }

    fn ring_is_empty(&self, cell: &Cell) -> bool {
        cell.rows.iter().all(|r| r.load(Ordering::Acquire) == 0)
            && cell.sums.iter().all(|s| s.load(Ordering::Acquire) == 0)
    }
}
