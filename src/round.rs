//! One round of the monitor: load what is dirty, seal what is due, see which incidents changed, record them.
//! The worker and `run_monitor()` both run it, under one lock.

use std::sync::atomic::{AtomicI64, Ordering};

use detector::{Ground, Incident, LimitWatch, Limits, Series};

use crate::calendar::{self, DAY_US};
use crate::fold::Fold;
use crate::monitor::{follows_clock, open_for, Frontier, Monitor, Rule};
use crate::quiet;
use crate::ratio;
use crate::reconcile::{self, Scope, Wanted};
use crate::shared::{
    Cell, Direction, LoadedModel, LoadedSeries, RatioModel, Seat, Seen, Segment, LIVE, NEVER, RING,
};
use crate::{settings, store};

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
    pub sealed: i64,
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
    let (dirty, sealed) = place.segment.begin_load(place.cell);
    let mut guard = LoadGuard {
        place,
        dirty,
        finished: false,
    };
    let (rules, rules_version) = rules_of(place);
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

    let mut fold = Fold::new(m, &rules);
    let unfolded = store::unfolded(m);
    if catching_up {
        resume_shared(place, &mut fold, sealed);
    } else {
        let mut before = dirty.saturating_sub(1);
        if !was_live {
            // What was committed but not folded before the server stopped was younger than the horizon, seen from
            // the newest stored state at the latest, or is noted as unfolded.
            let stored = store::newest_snapshot(m).unwrap_or(newest).min(newest);
            before = before.min(stored.saturating_sub(cal.buckets_in(settings::sealed_horizon())));
        }
        for (_, since) in &unfolded {
            before = before.min(since.saturating_sub(1));
        }
        if before > i64::MIN / 2 {
            resume_stored(m, &mut fold, before);
        }
    }
    let base = fold.sealed;
    let due = place.frontier(newest, now).sealed(cal);
    let target = if catching_up { due.max(sealed) } else { due };
    let mut open: Vec<(i64, Vec<u8>, i64, i64)> = Vec::new();
    let mut snapshots = Vec::new();
    let day = |b: i64| cal.start(b).div_euclid(DAY_US);
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
        if previous != i64::MIN && day(bucket) != day(previous) {
            fold.finish(bucket - 1, &mut |_| {});
            snapshots.push(capture(&fold));
        }
        previous = bucket;
        fold.add(bucket, key, sum, rows, &mut |_| {});
    });
    fold.finish(target, &mut |_| {});
    drop(snapshot);

    let mut series: Vec<LoadedSeries> = Vec::new();
    let mut slot_of = std::collections::HashMap::new();
    let mut lost = false;
    for s in &fold.series {
        match place.segment.place_series(place.seat, &s.key) {
            Some(slot) => {
                slot_of.insert(s.key.clone(), series.len());
                series.push(LoadedSeries {
                    slot,
                    series: s.series,
                    watch: s.watch,
                    born: s.born,
                    open: Vec::new(),
                });
            }
            None => lost = true,
        }
    }
    for (bucket, key, sum, rows) in open {
        let n = match slot_of.get(&key) {
            Some(n) => *n,
            None => {
                let Some(slot) = place.segment.place_series(place.seat, &key) else {
                    lost = true;
                    continue;
                };
                slot_of.insert(key, series.len());
                series.push(LoadedSeries {
                    slot,
                    series: Series::new(),
                    watch: LimitWatch::new(),
                    born: NEVER,
                    open: Vec::new(),
                });
                series.len() - 1
            }
        };
        series[n].open.push((bucket, sum, rows));
    }
    if lost {
        let stats = &place.segment.header().stats;
        stats.overflows.fetch_add(1, Ordering::Relaxed);
    }
    let wanted = reconcile::wanted_of_fold(m, &rules, &fold);
    let result = Loaded {
        wanted,
        from: base.saturating_add(1),
        sealed: fold.sealed,
        snapshots,
        void_from: if catching_up {
            NEVER
        } else {
            base.saturating_add(1)
        },
        taken_in: unfolded
            .iter()
            .filter(|(_, since)| *since > base || base == i64::MIN)
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
        series,
    };
    place
        .segment
        .finish_load(place.seat, place.cell, &seen, model, now);
    guard.finished = true;
    drop(guard);
    apply_rules(place, &rules, rules_version);
    Some(result)
}

/// Goes on from the models as they are shared.
fn resume_shared(place: &Place, fold: &mut Fold, sealed: i64) {
    let held = place.segment.read(place.cell);
    fold.resume(held.model().ground, sealed);
    for r in held.model().ratios.iter().filter(|r| r.id != 0) {
        fold.resume_ratio(r.id, r.ratio, r.watch);
    }
    for (n, slot) in place.segment.slots_of(place.cell) {
        let s = held.slot(n);
        if s.born != NEVER {
            fold.resume_series(slot.key().to_vec(), s.series, s.watch, s.born);
        }
    }
}

/// Goes on from the newest stored snapshot that is not later than a bucket.
///
/// One that lacks a ratio is older than its definition, and only taken where the rows behind it are gone.
pub fn resume_stored(m: &Monitor, fold: &mut Fold, before: i64) {
    let Some(mut snapshot) = store::snapshot(m, before) else {
        return;
    };
    let has = |snapshot: &store::Snapshot, id| {
        let stored = |(key, _): &(Vec<u8>, _)| ratio::of_stored_key(key) == Some(id);
        snapshot.states.iter().any(stored)
    };
    if fold.ratios.iter().any(|r| !has(&snapshot, r.model.id)) {
        let oldest = store::oldest_after(m, i64::MIN / 4).unwrap_or(i64::MAX);
        if snapshot.bucket >= oldest {
            match store::snapshot(m, oldest.saturating_sub(1)) {
                Some(earlier) => snapshot = earlier,
                None => return,
            }
        }
    }
    let mut ratios = Vec::new();
    let mut ground = None;
    let mut states = Vec::new();
    for (key, state) in snapshot.states {
        if key.is_empty() {
            ground = Ground::decode(&state).ok();
            continue;
        }
        if let Some(id) = ratio::of_stored_key(&key) {
            match ratio::decode(&state) {
                Some((state, watch)) => ratios.push((id, state, watch)),
                None => return,
            }
            continue;
        }
        match decode_series(&state) {
            Some(s) => states.push((key, s)),
            None => return,
        }
    }
    let Some(ground) = ground else { return };
    fold.resume(ground, snapshot.bucket);
    for (id, state, watch) in ratios {
        fold.resume_ratio(id, state, watch);
    }
    for (key, (series, watch, born)) in states {
        fold.resume_series(key, series, watch, born);
    }
}

fn encode_series(series: &Series, watch: &LimitWatch, born: i64) -> Vec<u8> {
    let (s, w) = (series.encode(), watch.encode());
    let mut out = Vec::with_capacity(12 + s.len() + w.len());
    out.extend_from_slice(&born.to_le_bytes());
    out.extend_from_slice(&(s.len() as u32).to_le_bytes());
    out.extend_from_slice(&s);
    out.extend_from_slice(&w);
    out
}

fn decode_series(bytes: &[u8]) -> Option<(Series, LimitWatch, i64)> {
    let born = i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let len = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?) as usize;
    let series = Series::decode(bytes.get(12..12 + len)?).ok()?;
    let watch = LimitWatch::decode(bytes.get(12 + len..)?).ok()?;
    Some((series, watch, born))
}

fn ratio_states<'a>(
    models: impl Iterator<Item = &'a RatioModel> + 'a,
) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a {
    models.map(|r| (ratio::stored_key(r.id), ratio::encode(r)))
}

fn capture(fold: &Fold) -> store::Snapshot {
    let mut states = vec![(Vec::new(), fold.ground.encode())];
    states.extend(ratio_states(fold.ratios.iter().map(|r| &r.model)));
    states.extend(
        fold.series
            .iter()
            .filter(|s| s.born != NEVER)
            .map(|s| (s.key.clone(), encode_series(&s.series, &s.watch, s.born))),
    );
    store::Snapshot {
        bucket: fold.sealed,
        states,
    }
}

/// A snapshot of the models as they are shared.
pub fn capture_shared(place: &Place) -> Option<store::Snapshot> {
    let held = place.segment.read(place.cell);
    if place.needs_load() || held.model().sealed == i64::MIN {
        return None;
    }
    let mut states = vec![(Vec::new(), held.model().ground.encode())];
    states.extend(ratio_states(
        held.model().ratios.iter().filter(|r| r.id != 0),
    ));
    for (n, slot) in place.segment.slots_of(place.cell) {
        let s = held.slot(n);
        if s.born != NEVER {
            let state = encode_series(&s.series, &s.watch, s.born);
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
    store::forget_unfolded(m, &loaded.taken_in);
    if loaded.void_from != NEVER {
        store::drop_snapshots(m, loaded.void_from);
    }
    for s in &loaded.snapshots {
        store::store_snapshot(m, s);
    }
    let added = reconcile::reconcile(
        m,
        &loaded.wanted,
        &Scope {
            series: None,
            horizon: quiet::horizon(m, place.cell, alert_horizon),
            retract_from: Some(m.calendar.start(loaded.from)),
            sealed_at: m.calendar.start(loaded.sealed),
            provisional: false,
            current: true,
        },
    );
    let newest = place.cell.newest.load(Ordering::Acquire);
    let reach = newest.max(place.cell.sealed_hint.load(Ordering::Acquire));
    added + reconcile::retract_beyond(m, m.calendar.start(reach))
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
        let (direction, limits) = place.monitor.rule(rules, slot.key());
        let s = held.slot(n);
        if s.rules_version < version {
            s.direction = direction as u8;
            s.limits = limits;
            s.member = ratio::membership(rules, &place.monitor.label(slot.key()));
            s.rules_version = version;
            slot.changed.store(1, Ordering::Release);
        }
    }
    for known in ratio::models(rules) {
        let held = held.model();
        if let Some(r) = held.ratios.iter_mut().find(|r| r.id == known.id) {
            r.direction = known.direction;
            r.limits = known.limits;
        }
    }
    place.cell.version.fetch_add(1, Ordering::AcqRel);
}

/// Whether the shared ratios are others than the rules define: then the monitor has to be folded again.
pub fn ratios_are_stale(place: &Place, rules: &[Rule]) -> bool {
    let held = place.segment.read(place.cell);
    let ids = |models: &[RatioModel]| models.iter().map(|r| r.id).collect::<Vec<_>>();
    ids(&held.model().ratios) != ids(&ratio::models(rules))
}

/// Marks a monitor dirty whose ratios were defined anew: from its first row where one has come, from the next bucket
/// on where one is gone.
pub fn define_ratios(place: &Place, rules: &[Rule]) {
    let (known, sealed) = {
        let held = place.segment.read(place.cell);
        let ids = held.model().ratios.map(|r| r.id);
        (ids, held.model().sealed)
    };
    let is_new = ratio::models(rules)
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
    place
        .segment
        .slots_of(place.cell)
        .any(|(n, _)| held.slot(n).rules_version != version)
}

/// What a survey found changed.
#[derive(Default)]
pub struct Changes {
    pub wanted: Vec<Wanted>,
    pub series: Vec<String>,
    /// Slots and their new signatures, to be stored once the record is committed.
    signatures: Vec<(u32, u64)>,
    total: Option<u64>,
    /// Places of ratios, and theirs.
    ratios: Vec<(usize, u64)>,
}

impl Changes {
    /// Whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Remembers that `alerts` has been brought up to this state.
    pub fn settle(&self, place: &Place) {
        for (n, signature) in &self.signatures {
            let slot = place.segment.slot(*n);
            slot.reconciled.store(*signature, Ordering::Release);
        }
        if let Some(t) = self.total {
            place.cell.reconciled_total.store(t, Ordering::Release);
        }
        for (n, signature) in &self.ratios {
            place.cell.reconciled_ratios[*n].store(*signature, Ordering::Release);
        }
    }
}

/// Looks at the series that changed: what incidents they want, and from which sum on the worker is to be
/// woken. Memory only. Gives None where the models are not exact.
pub fn survey(place: &Place, rules: &[Rule]) -> Option<Changes> {
    let m = place.monitor;
    let mut changes = Changes::default();
    let newest = place.cell.newest.load(Ordering::Acquire);
    if place.needs_load() {
        return None;
    }
    let (sealed, total, present) = {
        let held = place.segment.read(place.cell);
        let model = held.model();
        let present: Vec<bool> = place
            .cell
            .rows
            .iter()
            .map(|r| r.load(Ordering::Acquire) > 0)
            .collect();
        (model.sealed, model.ground.total, present)
    };
    let list = reconcile::remembered(&total.recent, total.incidents);
    let wanted = reconcile::wanted_total(rules, &list);
    let signature = reconcile::signature(&wanted);
    if signature != place.cell.reconciled_total.load(Ordering::Acquire) {
        changes.series.push(crate::key::TOTAL.into());
        changes.wanted.extend(wanted);
        changes.total = Some(signature);
    }
    for (n, rule, definition) in ratio::defined(rules) {
        let r = place.segment.read(place.cell).model().ratios[n];
        if r.id != definition.id(&rule.series) {
            continue;
        }
        let wanted = reconcile::wanted_ratio(
            &rule.series,
            &r,
            &reconcile::remembered(&r.ratio.recent, r.ratio.incidents),
            &reconcile::remembered(&r.watch.recent, r.watch.incidents),
        );
        let signature = reconcile::signature(&wanted);
        let known = place.cell.reconciled_ratios[n].load(Ordering::Acquire);
        if signature != known && !(known == 0 && wanted.iter().all(|w| w.muted)) {
            changes.series.push(rule.series.clone());
            changes.wanted.extend(wanted);
            changes.ratios.push((n, signature));
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
        let view = Provisional::of(
            place,
            &model.series,
            &model.watch,
            &model.limits,
            sealed,
            newest,
            &sums,
            &present,
        );
        slot.alarm_above
            .store(view.alarm_above.to_bits(), Ordering::Release);
        slot.alarm_bucket.store(newest, Ordering::Release);
        let wanted = reconcile::wanted_series(
            m,
            slot.key(),
            Direction::from_u8(model.direction),
            &view.by_statistics,
            &view.by_limits,
        );
        let signature = reconcile::signature(&wanted);
        let nothing = wanted.iter().all(|w| w.muted);
        let known = slot.reconciled.load(Ordering::Acquire);
        if signature != known && !(nothing && known == 0) {
            changes.series.push(m.label(slot.key()));
            changes.wanted.extend(wanted);
            changes.signatures.push((n, signature));
        }
    }
    changes.wanted.sort_by_key(|w| w.incident.opened);
    Some(changes)
}

/// A series with its unsealed buckets as they are now. What is too high there is too high for good, since
/// sums grow; what is too low may still grow, so only sealed buckets count for it.
struct Provisional {
    by_statistics: Vec<Incident>,
    by_limits: Vec<Incident>,
    alarm_above: f64,
}

impl Provisional {
    #[allow(clippy::too_many_arguments)]
    fn of(
        place: &Place,
        series: &Series,
        watch: &LimitWatch,
        limits: &Limits,
        sealed: i64,
        newest: i64,
        sums: &[i64],
        present: &[bool],
    ) -> Provisional {
        let cal = &place.monitor.calendar;
        let pace = cal.pace();
        let mut s = *series;
        let mut w = *watch;
        let mut alarm_above = f64::INFINITY;
        if newest != i64::MIN && sealed != i64::MIN {
            for b in sealed + 1..=newest.min(sealed.saturating_add(RING as i64)) {
                let i = b.rem_euclid(RING as i64) as usize;
                if !present[i] {
                    continue;
                }
                let at = cal.moment(b);
                let x = sums[i].max(0) as f64;
                s.advance(at, pace);
                let j = s.judge(x);
                if b == newest {
                    alarm_above = limits.narrow(s.bounds()).upper;
                }
                s.learn(x, &j, at, pace);
                w.step(x, limits, j.expected, b);
            }
        }
        let by_statistics =
            Self::overlaid(&series.recent, series.incidents, &s.recent, s.incidents);
        let by_limits = Self::overlaid(&watch.recent, watch.incidents, &w.recent, w.incidents);
        let reported = by_statistics.iter().chain(&by_limits).any(|i| {
            i.is_open() && i.direction > 0 && i.severity >= detector::Verdict::Critical as u8
        });
        if reported {
            alarm_above = f64::INFINITY;
        }
        Provisional {
            by_statistics,
            by_limits,
            alarm_above,
        }
    }

    fn overlaid(
        sealed: &[Incident],
        sealed_count: u32,
        open: &[Incident],
        open_count: u32,
    ) -> Vec<Incident> {
        let mut list = reconcile::remembered(sealed, sealed_count);
        let later = reconcile::remembered(open, open_count);
        if let Some(last) = list.last_mut().filter(|i| i.is_open() && i.direction > 0) {
            if let Some(same) = later
                .iter()
                .find(|i| i.opened == last.opened && i.is_open())
            {
                *last = *same;
            }
        }
        let known = list.last().map_or(i64::MIN, |i| i.opened);
        list.extend(
            later
                .iter()
                .filter(|i| i.opened > known && i.direction > 0)
                .map(|i| Incident {
                    resolved: i64::MAX,
                    closing: 0,
                    ..*i
                }),
        );
        list
    }
}

/// Records what a survey found.
pub fn record_changes(place: &Place, changes: &Changes, alert_horizon: i64) -> usize {
    let cal = &place.monitor.calendar;
    let sealed = place.cell.sealed_hint.load(Ordering::Acquire);
    let added = reconcile::reconcile(
        place.monitor,
        &changes.wanted,
        &Scope {
            series: Some(changes.series.clone()),
            horizon: quiet::horizon(place.monitor, place.cell, alert_horizon),
            retract_from: Some(cal.start(sealed.saturating_sub(RING as i64))),
            sealed_at: cal.start(sealed),
            provisional: true,
            current: true,
        },
    );
    let stats = &place.segment.header().stats;
    stats.alerts.fetch_add(added as u64, Ordering::Relaxed);
    added
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
