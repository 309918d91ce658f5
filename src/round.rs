//! One round of the monitor: load what is dirty, seal what is due, see which incidents changed, record them.
//! The worker and `run_monitor()` both run it, under one lock.

use std::sync::atomic::{AtomicI64, Ordering};

use detector::{Alarm, Bounds, Ground, Lifecycle};

use crate::calendar::{self, DAY_US, HOUR_US};
use crate::fault::{self, Boundary};
use crate::fold::{hear, Fold, Hearing, Places};
use crate::keeping;
use crate::key;
use crate::maintenance::{self, Stretch};
use crate::measure;
use crate::monitor::{follows_clock, open_for, Frontier, Monitor, Rule};
use crate::quiet;
use crate::ratio;
use crate::reconcile::{self, Scope, Wanted};
use crate::shared::{
    Cell, Direction, LoadedModel, LoadedSeries, RatioModel, Seat, Seen, Segment, Settled,
    SlotModel, LIVE, NEVER, RING,
};
use crate::{ledger, settings, store};

/// A monitor in the shared store.
pub struct Place<'a> {
    pub segment: Segment,
    pub monitor: &'a Monitor,
    pub seat: Seat,
    pub cell: &'static Cell,
}

impl<'a> Place<'a> {
    /// The place of a monitor; None where all cells are taken.
    pub fn of(segment: Segment, monitor: &'a Monitor) -> Option<Place<'a>> {
        let seat = segment.seat(monitor.id)?;
        let cell = &segment.header().cells[seat.cell as usize];
        cell.width.store(monitor.calendar.width, Ordering::Relaxed);
        Some(Place {
            segment,
            monitor,
            seat,
            cell,
        })
    }

    /// Whether the table has to be read before anything else.
    pub fn needs_load(&self) -> bool {
        self.cell.state.load(Ordering::Acquire) != LIVE
            || self.cell.dirty_from.load(Ordering::Acquire) != NEVER
    }

    /// Whether the models account for all that has committed, as far as is known.
    pub fn is_exact(&self) -> bool {
        !self.needs_load() && !self.cell.is_behind()
    }

    /// Marks dirty what sessions changed that are switched off.
    pub fn catch_up(&self) {
        self.read_again_when(&self.cell.passed_over_from, |_| true);
    }

    /// Which series are counted on their own, as it is now.
    pub fn places(&self) -> Places<'static> {
        let (segment, cell) = (self.segment, self.seat.cell);
        Box::new(move |key| segment.counted_as(cell, key) == key)
    }

    /// A fold from nothing that gives series their places.
    fn fold(&self, rules: &'a [Rule], windows: &'a [Stretch]) -> Fold<'a> {
        let (segment, seat) = (self.segment, self.seat);
        let mut fold = Fold::new(self.monitor, rules, windows)
            .with_places(Box::new(move |key| segment.gives_place(seat, key)));
        fold.is_full = self.cell.full.load(Ordering::Acquire) != 0;
        fold
    }

    /// How late a row may be: as configured, beyond what the stream is late anyway.
    fn lateness(&self) -> i64 {
        let configured = self.segment.header().lateness.load(Ordering::Relaxed);
        configured.saturating_add(self.cell.delay.load(Ordering::Relaxed))
    }

    fn frontier(&self, newest: i64, now: i64) -> Frontier {
        let lateness = self.lateness();
        let touched = self.cell.touched_at.load(Ordering::Acquire);
        Frontier {
            newest,
            now,
            lateness,
            follows_clock: self.cell.follows_clock.load(Ordering::Acquire) != 0,
            idle: now - touched > lateness,
        }
    }

    /// Seals what is due.
    pub fn seal(&self, now: i64) -> usize {
        let cal = &self.monitor.calendar;
        let newest = self.cell.newest.load(Ordering::Acquire);
        // By the clock, whatever time a round is asked for: a dated stream keeps up with no clock.
        if Frontier::keeps_up(newest, calendar::now(), cal) {
            self.cell.follows_clock.store(1, Ordering::Release);
        }
        // Once all of its bucket would be judged, and not before: each time a load would find it too early again.
        let judged = calendar::now().saturating_add(settings::future_tolerance());
        self.read_again_when(&self.cell.future_from, |bucket| {
            cal.start(bucket.saturating_add(1)) <= judged
        });
        let target = self.frontier(newest, now).sealed(cal);
        if target == i64::MIN {
            return 0;
        }
        let sealed = self.segment.seal(self.seat, cal, target, usize::MAX);
        let sealed_now = self.cell.sealed_hint.load(Ordering::Acquire);
        self.read_again_when(&self.cell.beyond_from, |bucket| {
            bucket <= sealed_now.saturating_add(RING as i64 / 2)
        });
        sealed
    }

    /// Has a row that was dated ahead read from the table, when its time has come.
    fn read_again_when(&self, from: &AtomicI64, due: impl FnOnce(i64) -> bool) {
        let bucket = from.load(Ordering::Acquire);
        if bucket != NEVER && due(bucket) {
            self.cell.mark_dirty(bucket);
            // One of an earlier bucket that came meanwhile stays.
            let _ = from.compare_exchange(bucket, NEVER, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Microseconds until the clock makes the next bucket due; None where it does not count.
    pub fn next_due(&self, now: i64) -> Option<i64> {
        if self.cell.follows_clock.load(Ordering::Acquire) == 0 {
            return None;
        }
        let cal = &self.monitor.calendar;
        let lateness = self.lateness();
        let sealed = self.cell.sealed_hint.load(Ordering::Acquire);
        let due = cal.start(sealed.saturating_add(2)) + open_for(lateness, cal);
        Some((due - now).max(1_000))
    }
}

/// Gives a load up unless it was finished.
struct LoadGuard<'a> {
    place: &'a Place<'a>,
    dirty: i64,
    finished: bool,
}

impl Drop for LoadGuard<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.place.segment.abandon_load(self.place.cell, self.dirty);
        }
    }
}

/// What a load found.
pub struct Loaded {
    pub wanted: Vec<Wanted>,
    /// Buckets from here on were folded.
    pub from: i64,
    /// Incidents from this bucket on may be retracted.
    pub retract_from: i64,
    /// A table without rows, of which no change is known either: nothing can be said of what is recorded. So it looks
    /// while a dump is restored, between its alerts and its rows.
    pub knows_nothing: bool,
    pub sealed: i64,
    /// No incident that the load knows of can begin after this bucket.
    pub reach: i64,
    /// States to be stored: (bucket, states by key).
    pub snapshots: Vec<store::Snapshot>,
    /// Snapshots from this bucket on are void.
    pub void_from: i64,
    /// Transactions whose rows in `unfolded` are settled once this is recorded.
    pub taken_in: Vec<i64>,
}

/// Folds a monitor from its table into the shared store. None: it has to be tried again later.
/// The caller is in a transaction that has no id yet and in which a new snapshot shows what has committed.
pub fn load(place: &Place) -> Option<Loaded> {
    let m = place.monitor;
    if !store::hold_table(m) {
        return None;
    }
    let cal = &m.calendar;
    let was_live = place.cell.state.load(Ordering::Acquire) == LIVE;
    let last_known = last_known(place);
    let (dirty, sealed) = place.segment.begin_load(place.cell);
    let mut guard = LoadGuard {
        place,
        dirty,
        finished: false,
    };
    let (rules, rules_version) = rules_of(place);
    fault::at(Boundary::Load);
    let snapshot = ActiveSnapshot::latest();
    let seen = Seen::of_active_snapshot().filter(Seen::fits)?;
    let now = calendar::now();
    let limit = now + settings::future_tolerance();
    let newest = store::newest(m, limit).unwrap_or(i64::MIN);
    let catching_up = was_live && dirty > sealed;
    let keeps_up = Frontier::keeps_up(newest, now, cal);
    if keeps_up || !catching_up {
        // What a correction or a restart leaves may be history that the clock has nothing to do with.
        let follows = follows_clock(m, newest, now);
        place
            .cell
            .follows_clock
            .store(u32::from(follows), Ordering::Release);
    }
    if let Some(rejected) = store::oldest_after(m, limit) {
        place.cell.future_from.fetch_min(rejected, Ordering::AcqRel);
    }

    let windows = store::maintenance(m);
    let mut fold = place.fold(&rules, &windows);
    let room = place.segment.header().slots;
    let unfolded = store::unfolded(m);
    // From where on a load that is only a first one has to be repeated.
    let mut repeat_from = NEVER;
    let mut unlearned = false;
    if catching_up {
        resume_shared(place, &mut fold, sealed);
    } else {
        let mut before = dirty.saturating_sub(1);
        let newest_stored = store::newest_snapshot(m).unwrap_or(i64::MIN);
        if !was_live {
            // What was committed but not folded before the server stopped was younger than the horizon, seen from
            // the newest stored state at the latest, or is noted as unfolded.
            let stored = newest_stored.min(newest);
            let stored = if stored == i64::MIN { newest } else { stored };
            before = before.min(stored.saturating_sub(cal.buckets_in(settings::sealed_horizon())));
        }
        for (_, since) in &unfolded {
            before = before.min(since.saturating_sub(1));
        }
        if !was_live && newest_stored > before && newest_stored <= newest {
            // Verdicts first: the newest state lacks but what came late to buckets before it. Then all of it.
            repeat_from = before.saturating_add(1);
            before = newest_stored;
        }
        if before > i64::MIN / 2 {
            resume_stored(m, &mut fold, before, Some(room));
            if fold.sealed == i64::MIN {
                // From the first row on, it is all there is.
                repeat_from = NEVER;
                if let Some(state) = resume_unlearned(place, &rules, &windows, newest) {
                    fold = state;
                    unlearned = true;
                }
            }
        }
    }
    if fold.is_full {
        place.cell.full.store(1, Ordering::Release);
    }
    let base = fold.sealed;
    let due = place.frontier(newest, now).sealed(cal);
    let target = if catching_up { due.max(sealed) } else { due };
    let mut open: Vec<(i64, Vec<u8>, i64, i64)> = Vec::new();
    let mut snapshots = Vec::new();
    let day = |b: i64| cal.start(b).div_euclid(DAY_US);
    let hour = |b: i64| cal.start(b).div_euclid(HOUR_US);
    let from = if base == i64::MIN {
        i64::MIN
    } else {
        cal.start(base + 1)
    };
    let mut previous = base;
    store::scan(m, from, limit.saturating_add(1), &mut |(
        bucket,
        key,
        sum,
        rows,
    )| {
        if bucket > target {
            open.push((bucket, key.to_vec(), sum, rows));
            return;
        }
        let is_kept = || {
            let hourly_from = keeping::hourly_from(cal.start(target), fold.series.len());
            day(bucket) != day(previous)
                || cal.start(bucket) > hourly_from && hour(bucket) != hour(previous)
        };
        if previous != i64::MIN && bucket != previous && is_kept() {
            fold.finish(bucket - 1, &mut |_| {});
            snapshots.push(capture(&fold, room));
            if snapshots.len() > keeping::most(fold.series.len()) {
                let times: Vec<i64> = snapshots.iter().map(|s| cal.start(s.bucket)).collect();
                let gone = keeping::surplus(&times, times.len() / 2);
                snapshots.retain(|s| !gone.contains(&cal.start(s.bucket)));
            }
        }
        previous = bucket;
        fold.add(bucket, key, sum, rows, &mut |_| {});
    });
    fold.finish(target, &mut |_| {});
    drop(snapshot);

    let mut series: Vec<LoadedSeries> = Vec::new();
    let mut by_slot = std::collections::HashMap::new();
    let mut lost = false;
    for s in &fold.series {
        match place.segment.place_series(place.seat, &s.key) {
            Some(slot) => {
                by_slot.insert(slot, series.len());
                series.push(LoadedSeries {
                    slot,
                    series: s.series,
                    life: s.life,
                    born: s.born,
                    open: Vec::new(),
                });
            }
            None => lost = true,
        }
    }
    for (bucket, key, sum, rows) in open {
        let Some(slot) = place.segment.place_series(place.seat, &key) else {
            lost = true;
            continue;
        };
        let n = *by_slot.entry(slot).or_insert_with(|| {
            series.push(LoadedSeries {
                slot,
                series: detector::Model::new(),
                life: Lifecycle::new(),
                born: NEVER,
                open: Vec::new(),
            });
            series.len() - 1
        });
        series[n].open.push((bucket, sum, rows));
    }
    if lost {
        let stats = &place.segment.header().stats;
        stats.overflows.fetch_add(1, Ordering::Relaxed);
    }
    let wanted = reconcile::wanted_of_fold(m, &rules, &fold);
    let result = Loaded {
        wanted,
        retract_from: if dirty == i64::MIN || unfolded.iter().any(|(_, since)| *since == i64::MIN) {
            // All of it may have been cleared away.
            let horizon = cal.buckets_in(settings::sealed_horizon());
            base.saturating_add(1)
                .max(last_known.saturating_sub(horizon))
        } else {
            base.saturating_add(1)
        },
        from: base.saturating_add(1),
        knows_nothing: !was_live
            && newest == i64::MIN
            && unfolded.iter().all(|(_, since)| *since > i64::MIN),
        sealed: fold.sealed,
        reach: newest.max(fold.sealed),
        snapshots,
        void_from: if catching_up {
            NEVER
        } else {
            base.saturating_add(1)
        },
        taken_in: unfolded
            .iter()
            .filter(|(_, since)| *since > base || base == i64::MIN || unlearned)
            .map(|(xid, _)| *xid)
            .collect(),
    };
    let model = LoadedModel {
        from: base.saturating_add(1),
        sealed: fold.sealed,
        newest,
        ground: fold.ground,
        ratios: fold.ratio_models(),
        ratios_version: rules_version,
        life: fold.total_life,
        windows: windows
            .iter()
            .filter(|w| w.1 > fold.sealed)
            .copied()
            .collect(),
        series,
    };
    place
        .segment
        .finish_load(place.seat, place.cell, &seen, model, now);
    guard.finished = true;
    drop(guard);
    apply_rules(place, &rules, rules_version);
    if repeat_from != NEVER {
        place.cell.mark_dirty(repeat_from);
        return None;
    }
    Some(result)
}

/// The newest bucket with a row, as far as is known; where there is none any more, that of before.
fn last_known(place: &Place) -> i64 {
    let cell = place.cell;
    let newest = cell.newest.load(Ordering::Acquire);
    if newest != i64::MIN {
        cell.newest_before.store(newest, Ordering::Release);
    }
    let before = cell.newest_before.load(Ordering::Acquire);
    if before == i64::MIN {
        store::newest_snapshot(place.monitor).unwrap_or(i64::MIN)
    } else {
        before
    }
}

/// The newest stored state that is older than the horizon, where that knows of rows which were deleted since
/// as retention. It is for rows that were inserted behind all states: folded from the first row on, the monitor would
/// forget what it learned.
fn resume_unlearned<'a>(
    place: &Place<'a>,
    rules: &'a [Rule],
    windows: &'a [Stretch],
    newest: i64,
) -> Option<Fold<'a>> {
    let m = place.monitor;
    let horizon = newest.saturating_sub(m.calendar.buckets_in(settings::sealed_horizon()));
    let mut state = place.fold(rules, windows);
    resume_stored(m, &mut state, horizon, Some(place.segment.header().slots));
    // The first row it ever saw.
    let first = state.series.iter().map(|s| s.born).min()?;
    (!store::has_row_in(m, first)).then_some(state)
}

/// Goes on from the models as they are shared.
fn resume_shared(place: &Place, fold: &mut Fold, sealed: i64) {
    let held = place.segment.read(place.cell);
    fold.resume(held.model().ground, held.model().life, sealed);
    for r in held.model().ratios.iter().filter(|r| r.id != 0) {
        fold.resume_ratio(r.id, r.ratio, r.life);
    }
    for (n, slot) in place.segment.slots_of(place.cell) {
        let s = held.slot(n);
        if s.born != NEVER {
            fold.resume_series(slot.key().to_vec(), s.series, s.life, s.born);
        }
    }
}

/// Goes on from the newest stored snapshot that is not later than a bucket. `room`: how many series there is room for,
/// where the fold decides which of them are counted in `(other)`.
///
/// Two kinds are only taken where the rows behind them are gone. One that lacks a ratio is older than its definition. One
/// in which other series were counted together than would be now tells nothing of each of them.
pub fn resume_stored(m: &Monitor, fold: &mut Fold, before: i64, room: Option<u32>) {
    let Some(mut snapshot) = store::snapshot(m, before) else {
        return;
    };
    let has = |snapshot: &store::Snapshot, id| {
        let stored = |(key, _): &(Vec<u8>, _)| ratio::of_stored_key(key) == Some(id);
        snapshot.states.iter().any(stored)
    };
    let mut of_series = snapshot.states.iter().filter(|(key, _)| is_of_series(key));
    let same_places = room.is_none_or(|room| {
        of_series.all(|(key, _)| fold.has_place(key))
            && had_room_for(&snapshot).is_none_or(|stored| stored >= room)
    });
    if !same_places || fold.ratios.iter().any(|r| !has(&snapshot, r.model.id)) {
        let oldest = store::oldest_after(m, i64::MIN / 4).unwrap_or(i64::MAX);
        if snapshot.bucket >= oldest {
            match store::snapshot(m, oldest.saturating_sub(1)) {
                Some(earlier) => snapshot = earlier,
                None => return,
            }
        }
    }
    // With more room than it had, series are told apart from here on.
    let stays_full = had_room_for(&snapshot).is_some_and(|stored| room.is_none_or(|r| stored >= r));
    let mut ratios = Vec::new();
    let mut ground = None;
    let mut states = Vec::new();
    for (key, state) in snapshot.states {
        if key.is_empty() {
            ground = decode_monitor(&state);
            continue;
        }
        if let Some(id) = ratio::of_stored_key(&key) {
            match ratio::decode(&state) {
                Some((state, life)) => ratios.push((id, state, life)),
                None => return,
            }
            continue;
        }
        if key == key::ROOM_KEY {
            continue;
        }
        match decode_series(&state) {
            Some(s) => states.push((key, s)),
            None => return,
        }
    }
    let Some((ground, life)) = ground else { return };
    fold.resume(ground, life, snapshot.bucket);
    for (id, state, life) in ratios {
        fold.resume_ratio(id, state, life);
    }
    for (key, (series, life, born)) in states {
        if fold.has_place(&key) {
            fold.resume_series(key, series, life, born);
        }
    }
    fold.is_full |= stays_full;
}

/// Whether it is the state of a series that is stored under a key.
fn is_of_series(key: &[u8]) -> bool {
    !key.is_empty() && key != key::ROOM_KEY && ratio::of_stored_key(key).is_none()
}

/// How many series there was room for, where that was too little.
fn had_room_for(snapshot: &store::Snapshot) -> Option<u32> {
    let (_, state) = snapshot.states.iter().find(|(k, _)| k == key::ROOM_KEY)?;
    Some(u32::from_le_bytes(state.as_slice().try_into().ok()?))
}

fn room_state(is_full: bool, room: u32) -> Option<(Vec<u8>, Vec<u8>)> {
    is_full.then(|| (key::ROOM_KEY.to_vec(), room.to_le_bytes().to_vec()))
}

/// Two states, the length of the first before them.
fn encode_pair(model: &[u8], life: &Lifecycle) -> Vec<u8> {
    let life = life.encode();
    let mut out = Vec::with_capacity(4 + model.len() + life.len());
    out.extend_from_slice(&(model.len() as u32).to_le_bytes());
    out.extend_from_slice(model);
    out.extend_from_slice(&life);
    out
}

fn decode_pair(bytes: &[u8]) -> Option<(&[u8], Lifecycle)> {
    let len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let model = bytes.get(4..4usize.checked_add(len)?)?;
    Some((model, Lifecycle::decode(bytes.get(4 + len..)?).ok()?))
}

fn encode_monitor(ground: &Ground, life: &Lifecycle) -> Vec<u8> {
    encode_pair(&ground.encode(), life)
}

fn decode_monitor(bytes: &[u8]) -> Option<(Ground, Lifecycle)> {
    let (ground, life) = decode_pair(bytes)?;
    Some((Ground::decode(ground).ok()?, life))
}

fn encode_series(series: &detector::Model, life: &Lifecycle, born: i64) -> Vec<u8> {
    let mut out = born.to_le_bytes().to_vec();
    out.extend(encode_pair(&series.encode(), life));
    out
}

fn decode_series(bytes: &[u8]) -> Option<(detector::Model, Lifecycle, i64)> {
    let born = i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let (series, life) = decode_pair(bytes.get(8..)?)?;
    Some((detector::Model::decode(series).ok()?, life, born))
}

fn ratio_states<'a>(
    models: impl Iterator<Item = &'a RatioModel> + 'a,
) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a {
    models.map(|r| (ratio::stored_key(r.id), ratio::encode(r)))
}

fn capture(fold: &Fold, room: u32) -> store::Snapshot {
    let mut states = vec![(Vec::new(), encode_monitor(&fold.ground, &fold.total_life))];
    states.extend(room_state(fold.is_full, room));
    states.extend(ratio_states(fold.ratios.iter().map(|r| &r.model)));
    states.extend(
        fold.series
            .iter()
            .filter(|s| s.born != NEVER)
            .map(|s| (s.key.clone(), encode_series(&s.series, &s.life, s.born))),
    );
    store::Snapshot {
        bucket: fold.sealed,
        states,
    }
}

/// A snapshot of the models as they are shared.
pub fn capture_shared(place: &Place) -> Option<store::Snapshot> {
    let held = place.segment.read(place.cell);
    if !place.is_exact() || held.model().sealed == i64::MIN {
        return None;
    }
    let model = held.model();
    let mut states = vec![(Vec::new(), encode_monitor(&model.ground, &model.life))];
    let is_full = place.cell.full.load(Ordering::Acquire) != 0;
    states.extend(room_state(is_full, place.segment.header().slots));
    states.extend(ratio_states(model.ratios.iter().filter(|r| r.id != 0)));
    for (n, slot) in place.segment.slots_of(place.cell) {
        let s = held.slot(n);
        if s.born != NEVER {
            let state = encode_series(&s.series, &s.life, s.born);
            states.push((slot.key().to_vec(), state));
        }
    }
    Some(store::Snapshot {
        bucket: held.model().sealed,
        states,
    })
}

/// Records what a load found.
pub fn record_load(place: &Place, loaded: &Loaded, alert_horizon: i64) -> usize {
    let m = place.monitor;
    place.cell.records.fetch_add(1, Ordering::AcqRel);
    store::forget_unfolded(m, &loaded.taken_in);
    if loaded.void_from != NEVER {
        store::drop_snapshots(m, loaded.void_from);
    }
    keeping::store(m, &loaded.snapshots);
    if loaded.knows_nothing {
        return 0;
    }
    reconcile::reconcile(
        m,
        &loaded.wanted,
        &Scope {
            series: None,
            horizon: quiet::horizon(m, place.cell, alert_horizon),
            retract_from: Some(m.calendar.start(loaded.retract_from)),
            sealed_at: m.calendar.start(loaded.sealed),
            reach: Some(m.calendar.start(loaded.reach)),
            provisional: false,
            current: true,
        },
    )
}

/// The rules of a monitor, and the version they are of: read first, and the rules by a snapshot taken after
/// it, since a change of rules is visible before it is counted.
pub fn rules_of(place: &Place) -> (Vec<Rule>, u64) {
    let version = place.segment.header().rules_version.load(Ordering::Acquire);
    let _snapshot = ActiveSnapshot::latest();
    (store::rules(&place.monitor.name), version)
}

/// Puts rules of a version into the slots that have older ones.
pub fn apply_rules(place: &Place, rules: &[Rule], version: u64) {
    let mut held = place.segment.write(place.cell);
    for (n, slot) in place.segment.slots_of(place.cell) {
        let rule = place.monitor.rule(rules, slot.key());
        let s = held.slot(n);
        if s.rules_version <= version {
            s.direction = rule.direction as u8;
            s.limits = rule.limits;
            s.terms = rule.terms;
            s.member = ratio::membership(rules, &place.monitor.label(slot.key()));
            s.rules_version = version;
            slot.changed.store(1, Ordering::Release);
        }
    }
    for known in ratio::models(place.monitor, rules) {
        let held = held.model();
        if let Some(r) = held.ratios.iter_mut().find(|r| r.id == known.id) {
            r.direction = known.direction;
            r.limits = known.limits;
            r.terms = known.terms;
        }
    }
    let known = &place.cell.total_rules_version;
    if known.load(Ordering::Acquire) <= version {
        let rule = place.monitor.total_rule(rules);
        let model = held.model();
        model.total_direction = rule.direction as u8;
        model.total_terms = rule.terms;
        known.store(version, Ordering::Release);
    }
    place.cell.version.fetch_add(1, Ordering::AcqRel);
}

/// Whether the shared ratios are others than the rules define: then the monitor has to be folded again.
pub fn ratios_are_stale(place: &Place, rules: &[Rule]) -> bool {
    let held = place.segment.read(place.cell);
    let ids = |models: &[RatioModel]| models.iter().map(|r| r.id).collect::<Vec<_>>();
    ids(&held.model().ratios) != ids(&ratio::models(place.monitor, rules))
}

/// Marks a monitor dirty whose ratios were defined anew: from its first row where one has come, from the next bucket
/// on where one is gone.
pub fn define_ratios(place: &Place, rules: &[Rule]) {
    let (known, sealed) = {
        let held = place.segment.read(place.cell);
        let ids = held.model().ratios.map(|r| r.id);
        (ids, held.model().sealed)
    };
    let is_new = ratio::models(place.monitor, rules)
        .iter()
        .any(|r| r.id != 0 && !known.contains(&r.id));
    let from = if is_new {
        store::oldest_after(place.monitor, i64::MIN / 4).unwrap_or(i64::MIN)
    } else {
        sealed.saturating_add(1)
    };
    place.cell.mark_dirty(from);
}

/// Whether a slot does not know the rules of today.
pub fn rules_are_stale(place: &Place) -> bool {
    let version = place.segment.header().rules_version.load(Ordering::Acquire);
    let held = place.segment.read(place.cell);
    // The setting reopen_window is changed without a new version of the rules.
    place.cell.total_rules_version.load(Ordering::Acquire) != version
        || held.model().total_terms.reopen_within != place.monitor.reopen_within
        || place
            .segment
            .slots_of(place.cell)
            .any(|(n, _)| held.slot(n).rules_version != version)
}

/// What a survey found changed.
#[derive(Default)]
pub struct Changes {
    pub wanted: Vec<Wanted>,
    pub series: Vec<String>,
    /// The last bucket sealed.
    sealed: i64,
    /// Slots and what is to be noted of them once the record is committed.
    slots: Vec<(u32, News)>,
    total: Option<News>,
    /// Places of ratios, and theirs.
    ratios: Vec<(usize, News)>,
}

/// The signature of a series' incidents, and how many there were.
type News = (u64, u32);

impl Changes {
    /// Whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Has the series looked at once more.
    pub fn look_again(&self, place: &Place) {
        for (n, _) in &self.slots {
            let slot = place.segment.slot(*n);
            slot.changed.store(1, Ordering::Release);
        }
    }

    /// Remembers that `alerts` has been brought up to this state.
    pub fn settle(&self, place: &Place) {
        let note = |settled: &Settled, (signature, incidents): News| {
            settled.sign(signature);
            settled.reaches(incidents, self.sealed);
        };
        for (n, news) in &self.slots {
            note(&place.segment.slot(*n).settled, *news);
        }
        if let Some(news) = self.total {
            note(&place.cell.settled_total, news);
        }
        for (n, news) in &self.ratios {
            note(&place.cell.settled_ratios[*n], *news);
        }
    }
}

/// Where a series had more incidents since it was told of than it remembers, its monitor is folded again.
fn has_lost(place: &Place, settled: &Settled, incidents: u32) -> bool {
    let lost = settled.lost(incidents);
    if let Some(from) = lost {
        place.cell.mark_dirty(from);
    }
    lost.is_some()
}

/// Looks at the series that changed: what incidents they want, and from which sum on the worker is to be
/// woken. Memory only. Gives None where the models are not exact.
pub fn survey(place: &Place, rules: &[Rule]) -> Option<Changes> {
    fault::at(Boundary::Survey);
    let m = place.monitor;
    let mut changes = Changes::default();
    let newest = place.cell.newest.load(Ordering::Acquire);
    if !place.is_exact() {
        return None;
    }
    let (sealed, total, total_life, windows, present) = {
        let held = place.segment.read(place.cell);
        let model = held.model();
        let present: Vec<bool> = place
            .cell
            .rows
            .iter()
            .map(|r| r.load(Ordering::Acquire) > 0)
            .collect();
        let windows = model.windows().to_vec();
        (
            model.sealed,
            model.ground.total,
            model.life,
            windows,
            present,
        )
    };
    let own = reconcile::remembered(total.recent(), total.incidents());
    let alarms = reconcile::remembered(&total_life.recent, total_life.incidents);
    let wanted = reconcile::wanted_total(rules, &own, &alarms);
    let signature = reconcile::signature(&wanted);
    changes.sealed = sealed;
    if has_lost(place, &place.cell.settled_total, total_life.incidents) {
        return None;
    }
    if signature != place.cell.settled_total.signature() {
        changes.series.push(crate::key::TOTAL.into());
        changes.wanted.extend(wanted);
        changes.total = Some((signature, total_life.incidents));
    }
    for (n, rule, definition) in ratio::defined(rules) {
        let r = place.segment.read(place.cell).model().ratios[n];
        if r.id != definition.id(&rule.series) {
            continue;
        }
        let wanted = reconcile::wanted_ratio(
            &rule.series,
            &reconcile::remembered(&r.ratio.recent, r.ratio.incidents),
            &reconcile::remembered(&r.life.recent, r.life.incidents),
        );
        if has_lost(place, &place.cell.settled_ratios[n], r.life.incidents) {
            return None;
        }
        let signature = reconcile::signature(&wanted);
        let known = place.cell.settled_ratios[n].signature();
        if signature != known && !(known == 0 && wanted.iter().all(|w| w.muted)) {
            changes.series.push(rule.series.clone());
            changes.wanted.extend(wanted);
            changes.ratios.push((n, (signature, r.life.incidents)));
        }
    }
    for (n, slot) in place.segment.slots_of(place.cell) {
        if slot.changed.swap(0, Ordering::AcqRel) == 0 {
            continue;
        }
        let (model, sums) = {
            let held = place.segment.read(place.cell);
            if held.model().sealed != sealed {
                // Sealed meanwhile: the next look sees it.
                slot.changed.store(1, Ordering::Release);
                continue;
            }
            let sums: Vec<i64> = slot
                .sums
                .iter()
                .map(|s| s.load(Ordering::Acquire))
                .collect();
            let s = held.slot(n);
            if s.born == NEVER {
                let mut fresh = *s;
                fresh.series = held.model().ground.blank;
                (fresh, sums)
            } else {
                (*s, sums)
            }
        };
        if has_lost(place, &slot.settled, model.life.incidents) {
            slot.changed.store(1, Ordering::Release);
            return None;
        }
        let view = Provisional::of(place, &model, &windows, sealed, newest, &sums, &present);
        slot.alarm_above.store(
            m.calendar.measure.sum(view.alarm_above).to_bits(),
            Ordering::Release,
        );
        slot.alarm_bucket.store(newest, Ordering::Release);
        let wanted = reconcile::wanted_series(
            m,
            slot.key(),
            &reconcile::remembered(model.series.recent(), model.series.incidents()),
            &view.alarms,
        );
        let signature = reconcile::signature(&wanted);
        let nothing = wanted.iter().all(|w| w.muted);
        let known = slot.settled.signature();
        if signature != known && !(nothing && known == 0) {
            changes.series.push(m.label(slot.key()));
            changes.wanted.extend(wanted);
            changes.slots.push((n, (signature, model.life.incidents)));
        }
    }
    changes.wanted.sort_by_key(|w| w.incident.opened);
    Some(changes)
}

/// A series with its unsealed buckets as they are now. What is too high there is too high for good, since
/// sums grow; what is too low may still grow, so only sealed buckets count for it.
struct Provisional {
    alarms: Vec<Alarm>,
    alarm_above: f64,
}

impl Provisional {
    fn of(
        place: &Place,
        model: &SlotModel,
        windows: &[Stretch],
        sealed: i64,
        newest: i64,
        sums: &[i64],
        present: &[bool],
    ) -> Provisional {
        let cal = &place.monitor.calendar;
        let pace = cal.pace();
        let mut s = model.series;
        let mut life = model.life;
        let mut alarm_above = f64::INFINITY;
        if newest != i64::MIN && sealed != i64::MIN {
            for b in sealed + 1..=newest.min(sealed.saturating_add(RING as i64)) {
                let i = b.rem_euclid(RING as i64) as usize;
                if !present[i] || maintenance::end_of(windows, b).is_some() {
                    continue;
                }
                let at = cal.moment(b);
                let x = cal.measure.reading(sums[i]);
                if b == newest {
                    let mut ahead = s;
                    ahead.advance(at, pace);
                    let bounds = if Direction::from_u8(model.direction).allows(1) {
                        ahead.bounds_under(None, &model.terms.sensitivity)
                    } else {
                        // Too much of it is said by nobody, unless there is a limit.
                        Bounds {
                            lower: 0.0,
                            upper: f64::INFINITY,
                        }
                    };
                    let upper = measure::narrow(&model.limits, bounds, ahead.family()).upper;
                    // What lies beyond is being looked at: again when it has risen by a twentieth, not with each
                    // row of a storm.
                    alarm_above = if x > upper { x + x.abs() / 20.0 } else { upper };
                }
                let (j, bounds) = s.step_bounded(x, at, pace, &model.terms.sensitivity);
                let mut hearing = Hearing {
                    life: &mut life,
                    direction: Direction::from_u8(model.direction),
                    limits: &model.limits,
                    terms: &model.terms,
                };
                hear(&s, x, b, &j, bounds, &mut hearing);
            }
        }
        let alarms = Self::overlaid(&model.life, &life);
        let reported = alarms.iter().any(|a| {
            let i = &a.incident;
            i.is_open() && i.direction > 0 && i.severity >= detector::Verdict::Critical as u8
        });
        if reported {
            alarm_above = f64::INFINITY;
        }
        Provisional {
            alarms,
            alarm_above,
        }
    }

    /// What is sealed, with what is higher in unsealed buckets: an incident that opens there, goes on or returns. None
    /// ends there.
    fn overlaid(sealed: &Lifecycle, open: &Lifecycle) -> Vec<Alarm> {
        let mut list = reconcile::remembered(&sealed.recent, sealed.incidents);
        for later in reconcile::remembered(&open.recent, open.incidents) {
            if later.incident.direction < 0 {
                continue;
            }
            let known = list
                .iter_mut()
                .find(|a| a.incident.direction > 0 && a.incident.opened == later.incident.opened);
            match known {
                Some(known) if later.is_open() => *known = later,
                Some(_) => {}
                None if later.incident.opened > sealed_newest(sealed) => {
                    let mut goes_on = later;
                    goes_on.incident.resolved = i64::MAX;
                    goes_on.incident.closing = 0;
                    list.push(goes_on);
                }
                None => {}
            }
        }
        list
    }
}

/// Bucket in which the newest incident above was opened.
fn sealed_newest(life: &Lifecycle) -> i64 {
    let above = life.recent.iter().filter(|a| a.incident.direction > 0);
    above.map(|a| a.incident.opened).max().unwrap_or(i64::MIN)
}

/// Surveys again under the append lock and records what there is then: what another round, by hand or by the worker,
/// has recorded meanwhile is never overtaken by an older look. None where the models are no longer exact.
pub fn record_changes(
    place: &Place,
    rules: &[Rule],
    changes: &Changes,
    alert_horizon: i64,
) -> Option<(usize, Changes)> {
    ledger::append_lock();
    place.cell.records.fetch_add(1, Ordering::AcqRel);
    changes.look_again(place);
    let changes = survey(place, rules)?;
    let cal = &place.monitor.calendar;
    let sealed = place.cell.sealed_hint.load(Ordering::Acquire);
    let added = reconcile::reconcile(
        place.monitor,
        &changes.wanted,
        &Scope {
            series: Some(changes.series.clone()),
            horizon: quiet::horizon(place.monitor, place.cell, alert_horizon),
            // Of a table without rows the load has said what there is to say.
            retract_from: (sealed != i64::MIN)
                .then(|| cal.start(sealed.saturating_sub(RING as i64))),
            sealed_at: cal.start(sealed),
            reach: None,
            provisional: true,
            current: true,
        },
    );
    let stats = &place.segment.header().stats;
    stats.alerts.fetch_add(added as u64, Ordering::Relaxed);
    Some((added, changes))
}

/// Prepared transactions that have ended make their monitors dirty.
pub fn look_at_prepared(segment: Segment) {
    if segment.take_prepared_lost() {
        for (index, cell) in segment.cells() {
            adopt_prepared(segment, index);
            cell.mark_dirty(i64::MIN);
        }
    }
    let list = segment.prepared_list();
    let mut done = Vec::new();
    for p in list {
        let xid = pgrx::pg_sys::TransactionId::from_inner(p.xid);
        // SAFETY: reads the state of a transaction.
        let (running, committed) = unsafe {
            (
                pgrx::pg_sys::TransactionIdIsInProgress(xid),
                pgrx::pg_sys::TransactionIdDidCommit(xid),
            )
        };
        if running {
            continue;
        }
        if committed {
            segment.header().cells[p.cell as usize].mark_dirty(p.bucket);
        }
        done.push(p.xid);
    }
    if !done.is_empty() {
        segment.prepared_done(&done);
    }
}

/// After a restart: transactions that were prepared before it will change what the models hold.
pub fn adopt_prepared(segment: Segment, cell: u32) {
    for xid in store::prepared_transactions() {
        segment.prepared(crate::shared::PreparedWork {
            xid,
            cell,
            bucket: i64::MIN,
        });
    }
}

/// A snapshot of now, active while this lives.
pub struct ActiveSnapshot;

impl ActiveSnapshot {
    /// Takes it.
    pub fn latest() -> ActiveSnapshot {
        // SAFETY: pushed here, popped on drop; after an error the server pops it itself.
        unsafe {
            pgrx::pg_sys::PushActiveSnapshot(pgrx::pg_sys::GetLatestSnapshot());
        }
        ActiveSnapshot
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pushed by `latest`.
            unsafe { pgrx::pg_sys::PopActiveSnapshot() }
        }
    }
}
