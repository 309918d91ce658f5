//! What a transaction added but has not committed yet, and the models as it sees them.
//!
//! Each (sub)transaction keeps a journal: what it adds per series and bucket. Private copies of the touched
//! series are folded forward row by row, so that row 3 of a COPY is judged knowing rows 1 and 2. Rolled
//! back, journal and copies are dropped. At COMMIT the journal is added to the shared rings; what does not
//! fit there is left to a refold of the table. Copies are never merged: additions commute, states do not.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use detector::{Foretelling, Judgement, Limits, Sensitivity, Verdict};
use pgrx::{pg_guard, pg_sys};

use crate::calendar::{self, Calendar};
use crate::fault::{self, Boundary};
use crate::hash::QuickMap;
use crate::kept::Kept;
use crate::key;
use crate::maintenance::{self, Stretch};
use crate::monitor::Monitor;
use crate::plan::Plan;
use crate::shared::{self, Delta, Direction, PreparedWork, Seat, Segment, LIVE, NEVER, RING};
use crate::unfolded::Noted;
use crate::{unguarded, worker};

/// Journal entries of one transaction; past that it only remembers from where the table must be folded.
const MAX_JOURNAL: usize = 4096;
/// So many series are found by going through them.
const GONE_THROUGH: usize = 8;
/// Entries for which a backend keeps the room from one transaction to the next.
const FEW: usize = 64;
/// Buckets for which a transaction remembers that it has rows in them.
const PRESENCE: usize = 4096;

/// What is said of a row.
#[derive(Clone, Copy, Debug)]
pub struct Opinion {
    pub verdict: Verdict,
    pub expected: Option<f64>,
    pub score: Option<f64>,
}

impl Opinion {
    /// Nothing can be said.
    pub const LEARNING: Opinion = Opinion {
        verdict: Verdict::Learning,
        expected: None,
        score: None,
    };
}

/// Where a series is in the overlay.
#[derive(Clone, Copy)]
pub struct Place {
    monitor: u32,
    series: u32,
}

/// A row to be judged.
#[derive(Clone, Copy)]
pub struct Reading {
    pub bucket: i64,
    pub count: i64,
    /// The row is the whole reading of a bucket that is over, so that it can be too low as well.
    pub complete: bool,
}

/// A half of a copy.
#[derive(Clone, Copy)]
enum Half {
    Front,
    Back,
}

/// Which of the last buckets a transaction has rows in.
struct Presence {
    top: i64,
    bits: [u64; PRESENCE / 64],
}

impl Presence {
    fn new() -> Presence {
        Presence {
            top: i64::MIN,
            bits: [0; PRESENCE / 64],
        }
    }
    fn bit(bucket: i64) -> (usize, u64) {
        let i = bucket.rem_euclid(PRESENCE as i64) as usize;
        (i / 64, 1 << (i % 64))
    }
    fn set(&mut self, bucket: i64) {
        if self.top == i64::MIN || bucket.saturating_sub(self.top) >= PRESENCE as i64 {
            self.bits = [0; PRESENCE / 64];
            self.top = bucket;
        }
        while self.top < bucket {
            self.top += 1;
            let (w, b) = Self::bit(self.top);
            self.bits[w] &= !b;
        }
        if self.top - bucket < PRESENCE as i64 {
            let (w, b) = Self::bit(bucket);
            self.bits[w] |= b;
        }
    }
    fn get(&self, bucket: i64) -> bool {
        let (w, b) = Self::bit(bucket);
        bucket <= self.top
            && self.top.saturating_sub(bucket) < PRESENCE as i64
            && self.bits[w] & b != 0
    }
}

/// Which series is asked for.
struct Who<'a> {
    /// Places in the overlay, where the transaction has touched it.
    monitor: Option<u32>,
    series: Option<u32>,
    key: &'a [u8],
    id: i32,
    calendar: &'a Calendar,
}

/// A reading that is not inserted, and what its series says of it.
pub struct Peek {
    pub state: detector::Model,
    pub judgement: Judgement,
    pub observed: f64,
    pub complete: bool,
    pub limits: Limits,
    pub direction: Direction,
    pub sensitivity: Sensitivity,
}

/// A series as the transaction sees it.
struct Private {
    command: u32,
    /// Where the series is in the shared store.
    slot: Option<u32>,
    /// The models it was made of.
    epoch: u64,
    /// Made of the shared store alone: nothing of the transaction is in the state, only in `own`.
    shared: bool,
    /// The bucket the state has been advanced to and not yet learned.
    bucket: i64,
    state: detector::Model,
    committed: i64,
    own: i64,
    /// What is foretold of the bucket, once a row of it was judged.
    foretold: Option<Foretelling>,
    last: Option<(f64, Judgement)>,
    limits: Limits,
    direction: Direction,
    sensitivity: Sensitivity,
    sealed: i64,
    ring: [i64; RING],
    ring_present: u32,
    /// What all series of the monitor held.
    totals: [i64; RING],
    /// Maintenance that is known.
    windows: Vec<Stretch>,
    /// Lies past the ring: nothing shared can be read for it any more.
    beyond: bool,
}

struct TouchedSeries {
    monitor: u32,
    key: Vec<u8>,
    /// Its slot, as long as the monitor has this seat.
    slot: Option<(Seat, u32)>,
    private: Option<Box<Private>>,
    /// A row of it was judged already.
    seen: bool,
    /// Another of the same hash.
    same_hash: Option<u32>,
    /// The one that was judged after it, when it was last.
    next: Option<u32>,
}

struct TouchedMonitor {
    plan: Rc<Plan>,
    seat: Option<Seat>,
    presence: Box<Presence>,
    /// Some of its rows could not be followed: what comes after them cannot be judged either.
    blind: bool,
}

#[derive(Default)]
struct Level {
    nest: i32,
    deltas: QuickMap<(u32, i64), (i64, i32)>,
    dirty: QuickMap<u32, i64>,
    /// Earliest bucket per monitor that was changed while the session was switched off.
    passed_over: QuickMap<u32, i64>,
    spilled: bool,
    rules: bool,
    /// Earliest bucket per monitor of rows that are not judged yet, since they are dated ahead.
    future: QuickMap<u32, i64>,
    /// What was written to `unfolded`.
    noted: Noted,
    /// Newest bucket per monitor whose rows come from a dump.
    quiet: QuickMap<u32, i64>,
    /// Monitors by their ids that were loaded here, and from where: what the load found is recorded with this.
    loaded: Vec<(i32, i64)>,
}

impl Level {
    /// Itself without what it holds, where its room is worth keeping.
    fn emptied(mut self) -> Option<Level> {
        let maps = [
            &mut self.dirty,
            &mut self.passed_over,
            &mut self.future,
            &mut self.quiet,
        ];
        let mut small = self.deltas.capacity() <= FEW && self.loaded.capacity() <= FEW;
        for map in maps {
            small &= map.capacity() <= FEW;
            map.clear();
        }
        self.deltas.clear();
        self.loaded.clear();
        self.noted.clear();
        (self.spilled, self.rules) = (false, false);
        small.then_some(self)
    }

    fn add(&mut self, series: u32, bucket: i64, sum: i64, rows: i32) {
        let e = self.deltas.entry((series, bucket)).or_default();
        e.0 = e.0.wrapping_add(sum);
        e.1 = e.1.wrapping_add(rows);
    }
    fn dirty(&mut self, monitor: u32, from: i64) {
        let d = self.dirty.entry(monitor).or_insert(NEVER);
        *d = (*d).min(from);
    }
    fn pass_over(&mut self, monitor: u32, from: i64) {
        let p = self.passed_over.entry(monitor).or_insert(NEVER);
        *p = (*p).min(from);
    }
    fn future(&mut self, monitor: u32, from: i64) {
        let f = self.future.entry(monitor).or_insert(NEVER);
        *f = (*f).min(from);
    }
    fn quiet(&mut self, monitor: u32, until: i64) {
        let q = self.quiet.entry(monitor).or_insert(i64::MIN);
        *q = (*q).max(until);
    }
}

/// A transaction's additions.
#[derive(Default)]
pub struct Overlay {
    monitors: Vec<TouchedMonitor>,
    series: Vec<TouchedSeries>,
    /// Series by the hash of monitor and key, once they are more than can be gone through: the latest of those that share
    /// it.
    index: QuickMap<u64, u32>,
    /// The series judged last.
    judged: Option<u32>,
    /// It came after the same one as before.
    in_turns: bool,
    levels: Vec<Level>,
    /// Rows that the statement at hand has judged, not yet recorded: sums and rows.
    pending: QuickMap<(u32, i64), (i64, i32)>,
    pending_command: u32,
    entries: usize,
    ready: Vec<Delta>,
    /// Monitors by their place in `monitors`, and from where they must be folded again.
    ready_dirty: Vec<(u32, i64)>,
    ready_quiet: Vec<(Seat, i64)>,
    ready_future: Vec<(u32, i64)>,
    ready_passed_over: Vec<(u32, i64)>,
    xid: u32,
    /// The transaction restores rows of a dump.
    restores: bool,
    /// Something of it was lost in a fault: once it commits, every monitor is folded again.
    broken: bool,
    /// Room of former transactions.
    spare_level: Option<Level>,
    spare_presence: Option<Box<Presence>>,
    /// Copies of former transactions.
    kept: Kept<Private>,
}

thread_local! {
    static OVERLAY: RefCell<Overlay> = RefCell::new(Overlay::default());
}

/// Runs with the overlay of the transaction. Nothing inside may raise a PostgreSQL error.
pub fn with<T>(f: impl FnOnce(&mut Overlay) -> T) -> T {
    OVERLAY.with_borrow_mut(f)
}

impl Overlay {
    fn monitor(&mut self, segment: Option<Segment>, plan: &Rc<Plan>) -> u32 {
        let found = self
            .monitors
            .iter()
            .position(|m| m.plan.monitor == plan.monitor);
        let i = found.unwrap_or_else(|| {
            self.monitors.push(TouchedMonitor {
                plan: plan.clone(),
                seat: None,
                presence: match self.spare_presence.take() {
                    Some(mut room) => {
                        *room = Presence::new();
                        room
                    }
                    None => Box::new(Presence::new()),
                },
                blind: false,
            });
            self.monitors.len() - 1
        });
        let m = &mut self.monitors[i];
        if let Some(s) = segment {
            m.seat = m
                .seat
                .filter(|seat| s.holds(*seat))
                .or_else(|| s.seat(plan.monitor));
        }
        i as u32
    }

    fn find_series(&self, monitor: u32, key: &[u8]) -> Option<u32> {
        let is_it = |s: &TouchedSeries| s.monitor == monitor && s.key == key;
        if self.series.len() <= GONE_THROUGH {
            return self.series.iter().position(is_it).map(|i| i as u32);
        }
        // Series often take turns in the same order.
        if let Some(i) = self.next().filter(|i| is_it(&self.series[*i as usize])) {
            return Some(i);
        }
        let mut next = self.index.get(&key::hash(monitor as i32, key)).copied();
        while let Some(i) = next {
            let s = &self.series[i as usize];
            if is_it(s) {
                return Some(i);
            }
            next = s.same_hash;
        }
        None
    }

    /// The series that was judged after the one judged last, when that was judged before.
    fn next(&self) -> Option<u32> {
        self.series[self.judged? as usize].next
    }

    /// The same, as long as they come in turns.
    fn next_in_turn(&self) -> Option<u32> {
        self.in_turns.then(|| self.next()).flatten()
    }

    /// Has the processor fetch a half of a series' copy, where there are so many that it is not in its caches. Of a COPY into
    /// 10,000 series in turns, that saves half a microsecond a row.
    fn fetch(&self, series: Option<u32>, half: Half) {
        if self.series.len() > GONE_THROUGH {
            if let Some(p) = series.and_then(|s| self.series[s as usize].private.as_ref()) {
                fetch(p, half);
            }
        }
    }

    fn series(&mut self, monitor: u32, key: &[u8]) -> u32 {
        if let Some(i) = self.find_series(monitor, key) {
            return i;
        }
        let i = self.series.len() as u32;
        self.series.push(TouchedSeries {
            monitor,
            key: key.to_vec(),
            slot: None,
            private: None,
            seen: false,
            same_hash: None,
            next: None,
        });
        if self.series.len() > GONE_THROUGH {
            let first = if self.index.is_empty() { 0 } else { i };
            for n in first..=i {
                let s = &mut self.series[n as usize];
                s.same_hash = self.index.insert(key::hash(s.monitor as i32, &s.key), n);
            }
        }
        i
    }

    fn level(&mut self) -> &mut Level {
        let nest = unguarded::nest_level();
        if self.levels.last().is_none_or(|l| l.nest < nest) {
            let room = self.spare_level.take().unwrap_or_default();
            self.levels.push(Level { nest, ..room });
        }
        self.levels.last_mut().expect("pushed above")
    }

    /// What the transaction has added to a bucket of a series: sum and rows.
    fn own(&self, series: u32, bucket: i64) -> (i64, i32) {
        self.levels
            .iter()
            .filter_map(|l| l.deltas.get(&(series, bucket)))
            .chain(self.pending.get(&(series, bucket)))
            .fold((0, 0), |a, d| (a.0.wrapping_add(d.0), a.1 + d.1))
    }

    fn own_of_monitor(&self, monitor: u32, bucket: i64) -> (i64, i32) {
        self.levels
            .iter()
            .flat_map(|l| &l.deltas)
            .chain(&self.pending)
            .filter(|((s, b), _)| *b == bucket && self.series[*s as usize].monitor == monitor)
            .fold((0, 0), |a, (_, d)| (a.0.wrapping_add(d.0), a.1 + d.1))
    }

    /// Judges a row before it is inserted. Gives where its series is, to record the row there: unless that `follows` at
    /// once, the row only counts for those judged after it in the same statement.
    pub fn judge(
        &mut self,
        segment: Segment,
        plan: &Rc<Plan>,
        key: &[u8],
        r: Reading,
        follows: bool,
    ) -> (Opinion, Option<Place>) {
        let m = self.monitor(Some(segment), plan);
        let Some(seat) = self.monitors[m as usize].seat else {
            return (Opinion::LEARNING, None);
        };
        let key = segment.counted_as(seat.cell, key);
        let s = self.series(m, key);
        self.in_turns = self.next() == Some(s);
        if !self.in_turns {
            self.fetch(Some(s), Half::Front);
            self.fetch(Some(s), Half::Back);
        }
        if let Some(before) = self.judged.replace(s) {
            self.series[before as usize].next = Some(s);
        }
        let command = unguarded::command();
        if self.pending_command != command {
            self.pending.clear();
            self.pending_command = command;
        }
        let kept = self.series[s as usize]
            .private
            .take()
            .filter(|p| (p.command == command || p.beyond) && p.bucket <= r.bucket);
        let private = match kept {
            Some(p) if maintenance::end_of(&p.windows, r.bucket).is_some() => {
                // Nothing is said of maintenance, and nothing learned.
                self.series[s as usize].private = Some(p);
                return (Opinion::LEARNING, None);
            }
            Some(p) => Some(self.forward(m, p, r.bucket)),
            None => {
                let who = Who {
                    monitor: Some(m),
                    series: Some(s),
                    key,
                    id: plan.monitor,
                    calendar: &plan.calendar,
                };
                self.rebuild(segment, seat, &who, r.bucket)
            }
        };
        self.monitors[m as usize].presence.set(r.bucket);
        self.series[s as usize].seen = true;
        let Some(mut p) = private else {
            let cell = &segment.header().cells[seat.cell as usize];
            self.monitors[m as usize].blind |= cell.state.load(Ordering::Acquire) != LIVE;
            return (Opinion::LEARNING, None);
        };
        self.series[s as usize].slot = p.slot.map(|n| (seat, n));
        p.command = command;
        p.own = p.own.wrapping_add(r.count);
        let x = plan
            .calendar
            .measure
            .reading(p.committed.wrapping_add(p.own));
        let foretold = p.foretold.get_or_insert_with(|| p.state.foretell());
        let j = p.state.judge_by(foretold, x);
        p.last = Some((x, j));
        let alone = p.committed == 0 && p.own == r.count;
        let mut opinion = opinion(
            &j,
            &p.limits,
            p.direction,
            &p.sensitivity,
            x,
            r.complete && alone,
        );
        if p.state.readings() == 0 {
            // Nothing was expected yet.
            (opinion.expected, opinion.score) = (None, None);
        }
        let beyond = p.beyond;
        self.series[s as usize].private = Some(p);
        self.fetch(self.next_in_turn(), Half::Front);
        if !follows && !beyond && self.pending.len() < MAX_JOURNAL {
            let e = self.pending.entry((s, r.bucket)).or_default();
            *e = (e.0.wrapping_add(r.count), e.1 + 1);
        }
        let place = Place {
            monitor: m,
            series: s,
        };
        (opinion, Some(place))
    }

    /// What would be said of a reading that is not inserted.
    pub fn peek(&mut self, segment: Segment, m: &Monitor, key: &[u8], r: Reading) -> Option<Peek> {
        let seat = segment.seat(m.id)?;
        let key = segment.counted_as(seat.cell, key);
        let touched = self.monitors.iter().position(|t| t.plan.monitor == m.id);
        let series = touched.and_then(|i| self.find_series(i as u32, key));
        let who = Who {
            monitor: touched.map(|i| i as u32),
            series,
            key,
            id: m.id,
            calendar: &m.calendar,
        };
        let p = self.rebuild(segment, seat, &who, r.bucket)?;
        let sum = p.committed.wrapping_add(p.own).wrapping_add(r.count);
        let x = m.calendar.measure.reading(sum);
        Some(Peek {
            judgement: p.state.judge(x),
            observed: x,
            complete: r.complete && p.committed == 0 && p.own == 0,
            state: p.state,
            limits: p.limits,
            direction: p.direction,
            sensitivity: p.sensitivity,
        })
    }

    /// Moves a private copy on to a later bucket.
    fn forward(&self, monitor: u32, mut p: Box<Private>, bucket: i64) -> Box<Private> {
        if p.bucket == bucket {
            return p;
        }
        p.shared = false;
        let m = &self.monitors[monitor as usize];
        let cal = &m.plan.calendar;
        let pace = cal.pace();
        let ring_end = p.sealed.saturating_add(RING as i64);
        let x = cal.measure.reading(p.committed.wrapping_add(p.own));
        // Where it is: it is not small.
        let Private {
            state,
            foretold,
            last,
            bucket: learned,
            ..
        } = &mut *p;
        let known = foretold.get_or_insert_with(|| state.foretell());
        let j = match last {
            Some((seen, j)) if *seen == x => *j,
            _ => state.judge_by(known, x),
        };
        state.learn_by(known, x, &j, cal.moment(*learned), pace);
        *foretold = None;
        let first = (p.bucket + 1).max(bucket.saturating_sub(PRESENCE as i64));
        for b in first..bucket {
            let i = b.rem_euclid(RING as i64) as usize;
            let in_ring = p.sealed != i64::MIN && b > p.sealed && b <= ring_end;
            let present = m.presence.get(b) || in_ring && p.ring_present >> i & 1 != 0;
            if present && maintenance::end_of(&p.windows, b).is_none() {
                let x = cal.measure.reading(if in_ring { p.ring[i] } else { 0 });
                p.state.step(x, cal.moment(b), pace);
            }
        }
        p.state.advance(cal.moment(bucket), pace);
        let in_ring = p.sealed != i64::MIN && bucket <= ring_end;
        p.committed = if in_ring {
            p.ring[bucket.rem_euclid(RING as i64) as usize]
        } else {
            0
        };
        p.beyond = !in_ring;
        p.bucket = bucket;
        p.own = 0;
        p.last = None;
        p
    }

    /// Copies a series from the shared store and folds what is not sealed yet. None: it cannot be judged,
    /// since its models are being loaded or the row is older than what is sealed.
    fn rebuild(
        &mut self,
        segment: Segment,
        seat: Seat,
        who: &Who,
        bucket: i64,
    ) -> Option<Box<Private>> {
        let cell = &segment.header().cells[seat.cell as usize];
        let cal = who.calendar;
        let pace = cal.pace();
        let nothing_own =
            self.pending.is_empty() && self.levels.iter().all(|l| l.deltas.is_empty());
        let kept = nothing_own.then(|| self.kept.take(seat, who.key)).flatten();
        let own = |b: i64| who.series.map_or((0, 0), |s| self.own(s, b));
        let own_of_monitor = |b: i64| who.monitor.map_or((0, 0), |m| self.own_of_monitor(m, b));
        let touched = who.series.map(|s| &self.series[s as usize]);
        let slot = touched
            .and_then(|t| t.slot)
            .filter(|(of, _)| *of == seat)
            .map(|(_, n)| n)
            .or_else(|| kept.as_ref()?.slot)
            .or_else(|| segment.find_slot(seat.cell, who.key));
        let held = segment.read(cell);
        if cell.state.load(Ordering::Acquire) != LIVE || !segment.holds(seat) {
            return None;
        }
        let model = held.model();
        let sealed = model.sealed;
        let blind = who.monitor.is_some_and(|m| self.monitors[m as usize].blind);
        let windows = model.windows();
        if bucket <= sealed || blind || maintenance::end_of(windows, bucket).is_some() {
            return None;
        }
        let last_in_ring = sealed.saturating_add(RING as i64);
        let in_ring = sealed != i64::MIN && bucket <= last_in_ring;
        if !in_ring && touched.is_some_and(|t| t.seen) {
            // Its own earlier rows are not known one by one any more.
            return None;
        }
        let (mut limits, mut direction) = (
            Limits::NONE,
            crate::monitor::default_direction(who.id, who.key),
        );
        let mut sensitivity = Sensitivity::BUILT_IN;
        let mut state = cal.measure.blank(&model.ground.blank);
        let mut ring = [0i64; RING];
        let mut totals = [0i64; RING];
        let mut ring_present = 0u32;
        if let Some(n) = slot {
            let mine = held.slot(n);
            limits = mine.limits;
            direction = Direction::from_u8(mine.direction);
            sensitivity = mine.terms.sensitivity;
            if mine.born != NEVER {
                state = &mine.series;
            }
            for (r, sum) in ring.iter_mut().zip(&segment.slot(n).sums) {
                *r = sum.load(Ordering::Acquire);
            }
        }
        for (i, rows) in cell.rows.iter().enumerate() {
            ring_present |= u32::from(rows.load(Ordering::Acquire) > 0) << i;
        }
        for (t, sum) in totals.iter_mut().zip(&cell.sums) {
            *t = sum.load(Ordering::Acquire);
        }
        let place = |b: i64| b.rem_euclid(RING as i64) as usize;
        if let Some(mut p) = kept {
            let same = |b: i64| {
                let i = place(b);
                p.ring[i] == ring[i]
                    && p.totals[i] == totals[i]
                    && p.ring_present >> i & 1 == ring_present >> i & 1
            };
            // Where the seat and the epoch are the same, so are the models, the rules and what is sealed.
            if in_ring
                && (p.epoch, p.bucket, p.slot) == (model.epoch, bucket, slot)
                && (sealed + 1..bucket).all(same)
            {
                p.committed = ring[place(bucket)];
                p.own = 0;
                p.last = None;
                (p.ring, p.totals, p.ring_present) = (ring, totals, ring_present);
                return Some(p);
            }
        }
        let epoch = model.epoch;
        let windows = windows.to_vec();
        let mut state = *state;
        if sealed != i64::MIN {
            let here = |b: i64| ring_present >> place(b) & 1 != 0 || own_of_monitor(b).1 > 0;
            let end = (bucket - 1).min(last_in_ring);
            let unsealed = sealed + 1..=end;
            let all_present = unsealed.clone().all(here);
            let mut ground = (!all_present).then_some(model.ground);
            for b in unsealed {
                if maintenance::end_of(&windows, b).is_some() {
                    if let Some(g) = &mut ground {
                        g.leave_out(b);
                    }
                    continue;
                }
                let at = cal.moment(b);
                let x = cal.measure.reading(ring[place(b)].wrapping_add(own(b).0));
                match &mut ground {
                    None => {
                        state.step(x, at, pace);
                    }
                    Some(g) => {
                        let sum = totals[place(b)].wrapping_add(own_of_monitor(b).0);
                        let sealing = g.seal(at, here(b), cal.measure.reading(sum), pace);
                        if sealing.counted {
                            state.step(x, at, pace);
                        }
                        g.close(at, &sealing, pace);
                    }
                }
            }
        }
        drop(held);
        if !in_ring {
            let from = if sealed == i64::MIN {
                bucket.saturating_sub(PRESENCE as i64)
            } else {
                (last_in_ring + 1).max(bucket.saturating_sub(PRESENCE as i64))
            };
            for b in from..bucket {
                let m = who.monitor.map(|m| &self.monitors[m as usize]);
                if m.is_some_and(|m| m.presence.get(b))
                    && maintenance::end_of(&windows, b).is_none()
                {
                    let x = cal.measure.reading(own(b).0);
                    state.step(x, cal.moment(b), pace);
                }
            }
        }
        state.advance(cal.moment(bucket), pace);
        Some(Box::new(Private {
            command: 0,
            slot,
            epoch,
            shared: nothing_own,
            bucket,
            state,
            committed: if in_ring { ring[place(bucket)] } else { 0 },
            own: own(bucket).0,
            foretold: None,
            last: None,
            limits,
            direction,
            sensitivity,
            sealed,
            ring,
            ring_present,
            totals,
            windows,
            beyond: !in_ring,
        }))
    }

    /// Records a row of the series judged last.
    pub fn record_judged(&mut self, place: Place, r: Reading) {
        self.journal(place.monitor, place.series, r.bucket, r.count, 1);
        self.fetch(self.next_in_turn(), Half::Back);
    }

    /// Records what a statement really did to a series.
    pub fn record(
        &mut self,
        segment: Option<Segment>,
        plan: &Rc<Plan>,
        key: &[u8],
        bucket: i64,
        sum: i64,
        rows: i32,
    ) {
        let m = self.monitor(segment, plan);
        let key = match (segment, self.monitors[m as usize].seat) {
            (Some(s), Some(seat)) => s.counted_as(seat.cell, key),
            _ => key,
        };
        let s = self.series(m, key);
        self.journal(m, s, bucket, sum, rows);
    }

    fn journal(&mut self, m: u32, s: u32, bucket: i64, sum: i64, rows: i32) {
        let full = self.entries >= MAX_JOURNAL;
        let restores = self.restores;
        let level = self.level();
        if restores {
            level.quiet(m, bucket);
        }
        if full || level.spilled {
            level.spilled = true;
            level.dirty(m, bucket);
            return;
        }
        let before = level.deltas.len();
        level.add(s, bucket, sum, rows);
        let grown = level.deltas.len() - before;
        self.entries += grown;
    }

    /// Notes that a monitor must be folded again from a bucket on, once this commits.
    pub fn mark_dirty(&mut self, segment: Option<Segment>, plan: &Rc<Plan>, from: i64) {
        let m = self.monitor(segment, plan);
        self.level().dirty(m, from);
    }

    /// The same, once the worker's next tick has come: the session is switched off.
    pub fn pass_over(&mut self, segment: Option<Segment>, plan: &Rc<Plan>, from: i64) {
        let m = self.monitor(segment, plan);
        self.level().pass_over(m, from);
    }

    /// Notes a row that is dated too far ahead to be judged.
    pub fn note_future(&mut self, segment: Segment, plan: &Rc<Plan>, bucket: i64) {
        let m = self.monitor(Some(segment), plan);
        self.level().future(m, bucket);
    }

    /// Whether a change at a time has to be written to `unfolded`; then takes it for written.
    pub fn note_unfolded(&mut self, segment: Option<Segment>, plan: &Rc<Plan>, time: i64) -> bool {
        let m = self.monitor(segment, plan);
        if self.levels.iter().any(|l| l.noted.covers(m, time)) {
            return false;
        }
        self.level().noted.add(m, time);
        true
    }

    /// Notes that this transaction restores a dump.
    pub fn restores(&mut self) {
        self.restores = true;
    }

    /// Notes that rules were changed, so that the worker reads them once this commits.
    pub fn rules_changed(&mut self) {
        self.level().rules = true;
    }

    /// Notes that this transaction loaded a monitor and is to record what it found.
    pub fn has_loaded(&mut self, monitor: i32, from: i64) {
        self.level().loaded.push((monitor, from));
    }

    /// Has loads done again whose records are rolled back.
    fn undo_loads(&self, segment: Segment) {
        for (monitor, from) in self.levels.iter().flat_map(|l| &l.loaded) {
            segment.mark_dirty(*monitor, *from);
        }
    }

    fn is_empty(&self) -> bool {
        self.levels.is_empty() && !self.broken
    }

    /// Notes that something the transaction does was lost in a fault.
    pub fn has_lost(&mut self) {
        self.broken = true;
    }

    fn clear(&mut self) {
        fault::at(Boundary::Abort);
        if self.monitors.is_empty() && self.levels.is_empty() && !self.restores && !self.broken {
            return;
        }
        if self.broken {
            *self = Overlay::default();
            return;
        }
        for s in self.series.drain(..) {
            let seat = self.monitors[s.monitor as usize].seat;
            if let (Some(p), Some(seat)) = (s.private, seat) {
                if p.shared && !p.beyond && p.slot.is_some() {
                    self.kept.put(seat, s.key, p);
                }
            }
        }
        let small = self.monitors.len() <= FEW
            && self.series.capacity() <= FEW
            && self.index.capacity() <= FEW
            && self.pending.capacity() <= FEW
            && self.levels.len() == 1;
        if !small {
            *self = Overlay {
                kept: std::mem::take(&mut self.kept),
                ..Overlay::default()
            };
            return;
        }
        // The room that a payment needs is kept from one to the next.
        self.spare_level = self.levels.pop().and_then(Level::emptied);
        self.spare_presence = self.monitors.drain(..).next().map(|m| m.presence);
        self.index.clear();
        self.pending.clear();
        self.ready.clear();
        self.judged = None;
        (self.pending_command, self.entries, self.xid) = (0, 0, 0);
        self.restores = false;
    }

    /// Everything that may allocate or wait, before the commit record is written.
    fn prepare_merge(&mut self, segment: Segment) {
        fault::at(Boundary::PreCommit);
        self.ready.clear();
        self.ready_dirty.clear();
        self.ready_quiet.clear();
        self.ready_future.clear();
        self.ready_passed_over.clear();
        self.xid = unguarded::top_transaction();
        for level in &self.levels {
            for (m, from) in &level.dirty {
                self.ready_dirty.push((*m, *from));
            }
            let passed_over = level.passed_over.iter().map(|(m, from)| (*m, *from));
            self.ready_passed_over.extend(passed_over);
            self.ready_future
                .extend(level.future.iter().map(|(m, bucket)| (*m, *bucket)));
            for (m, until) in &level.quiet {
                let m = &self.monitors[*m as usize];
                if let Some(seat) = m.seat {
                    // Rows of a time to come do not silence it.
                    let until = m.plan.calendar.start(*until).min(calendar::now());
                    self.ready_quiet.push((seat, until));
                }
            }
            for ((s, bucket), (sum, rows)) in &level.deltas {
                if (*sum, *rows) == (0, 0) {
                    continue;
                }
                let touched = &mut self.series[*s as usize];
                let seat = self.monitors[touched.monitor as usize].seat;
                if touched.slot.map(|(of, _)| of) != seat {
                    touched.slot =
                        seat.and_then(|s| Some((s, slot_for(segment, s, &touched.key)?)));
                }
                match touched.slot {
                    Some((seat, slot)) => self.ready.push(Delta {
                        seat,
                        slot,
                        bucket: *bucket,
                        sum: *sum,
                        rows: *rows,
                    }),
                    None => self.ready_dirty.push((touched.monitor, *bucket)),
                }
            }
        }
        self.ready.sort_unstable_by_key(|d| (d.seat, d.bucket));
    }

    /// After the commit record: adds to the shared store.
    fn merge(&mut self, segment: Segment) {
        fault::at(Boundary::Commit);
        let now = unguarded::commit_time();
        let mut wake = false;
        for (seat, until) in &self.ready_quiet {
            if segment.holds(*seat) {
                segment.header().cells[seat.cell as usize]
                    .quiet_until
                    .fetch_max(*until, Ordering::AcqRel);
            }
        }
        let mut rest = self.ready.as_slice();
        while let Some(first) = rest.first() {
            let n = rest.partition_point(|d| d.seat <= first.seat);
            let merged = segment.merge(first.seat, &rest[..n], NEVER, self.xid, now);
            wake |= merged.unwrap_or_else(|| {
                let lost = self.monitors.iter().filter(|m| m.seat == Some(first.seat));
                lost.for_each(|m| segment.mark_dirty(m.plan.monitor, first.bucket));
                true
            });
            rest = &rest[n..];
        }
        for (m, from) in &self.ready_dirty {
            let m = &self.monitors[*m as usize];
            let merged = m
                .seat
                .and_then(|seat| segment.merge(seat, &[], *from, self.xid, now));
            wake |= merged.unwrap_or_else(|| {
                segment.mark_dirty(m.plan.monitor, *from);
                true
            });
        }
        for (m, from) in &self.ready_passed_over {
            segment.pass_over(self.monitors[*m as usize].plan.monitor, *from, now);
        }
        for (m, bucket) in &self.ready_future {
            segment.note_future(self.monitors[*m as usize].plan.monitor, *bucket);
        }
        if self.levels.iter().any(|l| l.rules) {
            segment
                .header()
                .rules_version
                .fetch_add(1, Ordering::AcqRel);
            wake = true;
        }
        if wake {
            worker::wake(segment);
        }
    }

    /// A transaction is prepared: somebody else will commit it, so the worker has to watch for it.
    fn hand_over(&mut self, segment: Segment) {
        fault::at(Boundary::Prepare);
        let xid = unguarded::top_transaction();
        let mut from: HashMap<u32, i64> = HashMap::new();
        let mut note = |seat: Option<Seat>, bucket: i64| {
            if let Some(seat) = seat {
                let f = from.entry(seat.cell).or_insert(NEVER);
                *f = (*f).min(bucket);
            }
        };
        for level in &self.levels {
            let changed = level.dirty.iter().chain(&level.passed_over);
            for (m, bucket) in changed.chain(&level.future) {
                note(self.monitors[*m as usize].seat, *bucket);
            }
            for (s, bucket) in level.deltas.keys() {
                let m = self.series[*s as usize].monitor;
                note(self.monitors[m as usize].seat, *bucket);
            }
        }
        for (cell, bucket) in from {
            segment.prepared(PreparedWork { xid, cell, bucket });
        }
        worker::wake(segment);
    }

    fn sub_committed(&mut self, nest: i32) {
        fault::at(Boundary::SubCommit);
        while self.levels.last().is_some_and(|l| l.nest >= nest) {
            let mut top = self.levels.pop().expect("checked");
            match self.levels.last_mut() {
                Some(parent) if parent.nest == nest - 1 => {
                    for ((s, b), (sum, rows)) in top.deltas {
                        let before = parent.deltas.len();
                        parent.add(s, b, sum, rows);
                        if parent.deltas.len() == before {
                            self.entries -= 1;
                        }
                    }
                    for (m, from) in top.dirty {
                        parent.dirty(m, from);
                    }
                    for (m, from) in top.passed_over {
                        parent.pass_over(m, from);
                    }
                    for (m, until) in top.quiet {
                        parent.quiet(m, until);
                    }
                    for (m, bucket) in top.future {
                        parent.future(m, bucket);
                    }
                    parent.loaded.append(&mut top.loaded);
                    parent.noted.merge(top.noted);
                    parent.spilled |= top.spilled;
                    parent.rules |= top.rules;
                }
                _ => {
                    top.nest = nest - 1;
                    self.levels.push(top);
                    return;
                }
            }
        }
    }

    fn sub_aborted(&mut self, nest: i32) {
        fault::at(Boundary::SubAbort);
        while self.levels.last().is_some_and(|l| l.nest >= nest) {
            let gone = self.levels.pop().expect("checked");
            self.entries -= gone.deltas.len();
            for (monitor, from) in gone.loaded {
                if let Some(s) = shared::attached() {
                    s.mark_dirty(monitor, from);
                }
            }
        }
        for s in &mut self.series {
            s.private = None;
        }
        for m in &mut self.monitors {
            *m.presence = Presence::new();
        }
        for l in &self.levels {
            for (s, bucket) in l.deltas.keys() {
                let m = self.series[*s as usize].monitor;
                self.monitors[m as usize].presence.set(*bucket);
            }
        }
    }
}

/// Has the processor fetch a half of a copy. Not all of it at once: it stops when it waits for some twenty lines.
#[inline]
fn fetch(p: &Private, half: Half) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        const LINE: usize = 64;
        const LINES: usize = size_of::<Private>().div_ceil(LINE);
        let lines = match half {
            Half::Front => 0..LINES / 2,
            Half::Back => LINES / 2..LINES,
        };
        let start = std::ptr::from_ref(p).cast::<i8>();
        for line in lines {
            // SAFETY: begins within the copy; a prefetch reads nothing that could be seen.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(line * LINE)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (p, half);
}

/// The slot to which a series' rows are added. Until the models are loaded none is taken into use: the load finds which
/// series had one before, and sees these rows.
fn slot_for(segment: Segment, seat: Seat, key: &[u8]) -> Option<u32> {
    let cell = &segment.header().cells[seat.cell as usize];
    if cell.state.load(Ordering::Acquire) == LIVE {
        segment.place_series(seat, key)
    } else {
        segment.find_slot(seat.cell, key)
    }
}

/// Turns a judgement into what the row is told. A bucket that may still grow is never too low.
pub fn opinion(
    j: &Judgement,
    limits: &Limits,
    direction: Direction,
    sensitivity: &Sensitivity,
    x: f64,
    complete: bool,
) -> Opinion {
    let counts = |d: i8| d > 0 || complete;
    let mut verdict = sensitivity.verdict(j, true);
    let mut score = j.score();
    if !counts(j.direction) {
        verdict = verdict.min(Verdict::Normal);
        score = 0.0;
    } else if !direction.allows(j.direction) {
        verdict = verdict.min(Verdict::Normal);
    }
    if let Some((by_limit, d)) = limits.verdict(x) {
        if counts(d) {
            verdict = verdict.max(by_limit);
        }
    }
    Opinion {
        verdict,
        expected: Some(j.expected),
        score: Some(score),
    }
}

/// Registers the transaction callbacks; once per process.
pub fn register_callbacks() {
    // SAFETY: both functions live as long as the library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut());
    }
}

/// A fault here must never reach the transaction: it is counted, and gives false.
fn shielded(segment: Option<Segment>, cause: &'static str, f: impl FnOnce()) -> bool {
    let done = fault::pure(f).is_ok();
    if !done {
        if let Some(s) = segment {
            s.header().stats.erred();
        }
        fault::later(cause);
    }
    done
}

/// Hands what a transaction added to the shared store, in one of the steps of its end.
fn at_end(segment: Option<Segment>, cause: &'static str, step: fn(&mut Overlay, Segment)) -> bool {
    let Some(s) = segment else { return true };
    shielded(segment, cause, || {
        with(|o| {
            if !o.is_empty() {
                step(o, s)
            }
        })
    })
}

/// A step that failed leaves the transaction without something it did.
fn lost_unless(done: bool) {
    if !done {
        with(Overlay::has_lost);
    }
}

/// The same, where it can still be told, and in strict mode still be an error.
fn tell_unless(done: bool) {
    lost_unless(done);
    if !done {
        fault::tell_now();
    }
}

/// Has every monitor folded again: what was committed is in the tables.
fn fold_all_again(segment: Option<Segment>) {
    if let Some(s) = segment {
        for (_, cell) in s.cells() {
            cell.mark_dirty(i64::MIN);
        }
        worker::wake(s);
    }
}

/// Forgets the transaction, whatever its overlay is like.
fn forget(segment: Option<Segment>) {
    if !shielded(segment, "a transaction's end", || with(Overlay::clear)) {
        OVERLAY.with(|o| match o.try_borrow_mut() {
            Ok(mut overlay) => *overlay = Overlay::default(),
            Err(_) => fold_all_again(segment),
        });
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_transaction(
    event: pg_sys::XactEvent::Type,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::*;
    let segment = shared::attached();
    match event {
        XACT_EVENT_PRE_COMMIT => {
            tell_unless(at_end(segment, "before a commit", Overlay::prepare_merge));
        }
        XACT_EVENT_COMMIT => {
            let lost = with(|o| o.broken);
            if !at_end(segment, "after a commit", Overlay::merge) || lost {
                fold_all_again(segment);
            }
            forget(segment);
        }
        XACT_EVENT_PRE_PREPARE => {
            tell_unless(at_end(
                segment,
                "before PREPARE TRANSACTION",
                Overlay::hand_over,
            ));
        }
        XACT_EVENT_PREPARE => {
            // A load that it did is not recorded before somebody commits it.
            at_end(segment, "after PREPARE TRANSACTION", |o, s| o.undo_loads(s));
            if let (true, Some(s)) = (with(|o| o.broken), segment) {
                s.lose_prepared();
                worker::wake(s);
            }
            forget(segment);
        }
        XACT_EVENT_ABORT => {
            at_end(segment, "after a rollback", |o, s| o.undo_loads(s));
            forget(segment);
        }
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _id: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::*;
    let segment = shared::attached();
    let nest = unguarded::nest_level();
    match event {
        SUBXACT_EVENT_COMMIT_SUB => {
            lost_unless(shielded(segment, "a savepoint", || {
                with(|o| o.sub_committed(nest))
            }));
        }
        SUBXACT_EVENT_ABORT_SUB => {
            lost_unless(shielded(segment, "a savepoint", || {
                with(|o| o.sub_aborted(nest))
            }));
        }
        _ => {}
    }
}
