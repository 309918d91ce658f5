//! The fold: a monitor's models as a pure function of its rows, in time order. Live sealing, refolds,
//! backtests and the reading functions all go through `read_bucket` and `Ground`.

use std::collections::HashMap;

use detector::{
    Alarm, Bounds, Ground, Incident, Judgement, Lifecycle, Limits, Moment, Pace, Sealing, Terms,
    Told,
};

use crate::calendar::Calendar;
use crate::key;
use crate::maintenance::{self, Stretch};
use crate::monitor::{InForce, Monitor, Rule};
use crate::ratio::{self, Membership};
use crate::shared::{Direction, RatioModel, NEVER, RATIOS};

/// What is heard of a series, and the rule for it.
pub struct Hearing<'a> {
    pub life: &'a mut Lifecycle,
    pub direction: Direction,
    pub limits: &'a Limits,
    pub terms: &'a Terms,
}

/// What a series read in a bucket.
pub struct Read {
    pub x: f64,
    pub judgement: Judgement,
    /// Whether an incident that is heard of was opened, went on or ended.
    pub stirred: bool,
}

/// Folds one bucket into one series, the total being folded already. A series begins with its first row, as a
/// copy of `blank`, the series that had only zeros until now. None: the series has no reading in this bucket.
#[allow(clippy::too_many_arguments)]
pub fn read_bucket(
    series: &mut detector::Model,
    born: &mut i64,
    blank: &detector::Model,
    sealing: &Sealing,
    has_row: bool,
    x: f64,
    at: Moment,
    pace: Pace,
    hearing: &mut Hearing,
) -> Option<Read> {
    if *born == NEVER {
        if !has_row {
            return None;
        }
        *series = *blank;
        *born = at.bucket;
    }
    if !sealing.counted {
        return None;
    }
    let (judgement, bounds) = series.step_bounded(x, at, pace, &hearing.terms.sensitivity);
    let stirred = hear(series, x, at.bucket, &judgement, bounds, hearing);
    Some(Read {
        x,
        judgement,
        stirred,
    })
}

/// Tells the lifecycle of a series of the reading it has just learned.
pub fn hear(
    series: &detector::Model,
    x: f64,
    bucket: i64,
    judgement: &Judgement,
    bounds: Option<Bounds>,
    hearing: &mut Hearing,
) -> bool {
    let told = Told {
        x,
        bucket,
        judgement,
        bounds,
        own: series.own(bucket),
        allowed: hearing.direction.sides(),
        limits: hearing.limits,
        share: series.family() == detector::Family::Values,
    };
    hearing.life.step(&told, hearing.terms)
}

/// A series in a fold.
pub struct FoldSeries {
    pub key: Vec<u8>,
    pub label: String,
    pub series: detector::Model,
    pub life: Lifecycle,
    pub rule: InForce,
    pub born: i64,
    /// Incidents of its own since the fold began, the one open then included.
    pub incidents: Incidents,
    /// Those that people hear of; those that may yet be reopened when the fold began included.
    pub alarms: Alarms,
    member: Membership,
    open: (i64, i64),
}

/// A ratio in a fold.
pub struct FoldRatio {
    pub name: String,
    pub model: RatioModel,
    pub incidents: Incidents,
    pub alarms: Alarms,
}

/// Incidents in order of opening; the detector itself keeps only the last few.
#[derive(Default)]
pub struct Incidents {
    pub list: Vec<Incident>,
    /// How many the series had opened when the list began.
    base: u32,
}

impl Incidents {
    fn begin(recent: &[Incident], count: u32) -> Incidents {
        let mut list = Vec::new();
        let mut base = count;
        if count > 0 {
            let last = recent[(count as usize - 1) % recent.len()];
            if last.is_open() {
                list.push(last);
                base -= 1;
            }
        }
        Incidents { list, base }
    }

    fn follow(&mut self, recent: &[Incident], count: u32) {
        if count == self.base {
            return;
        }
        let last = recent[(count as usize - 1) % recent.len()];
        if self.base as usize + self.list.len() < count as usize {
            // A reading closes one and opens the next at most.
            if let Some(previous) = self.list.last_mut() {
                if count >= 2 {
                    *previous = recent[(count as usize - 2) % recent.len()];
                }
            }
            self.list.push(last);
        } else if let Some(current) = self.list.last_mut() {
            *current = last;
        }
    }
}

/// Incidents that people hear of, in order of opening; a lifecycle itself keeps only the last few.
#[derive(Default)]
pub struct Alarms {
    pub list: Vec<Alarm>,
    /// How many the lifecycle had opened before the first of the list.
    base: u32,
}

impl Alarms {
    fn begin(life: &Lifecycle) -> Alarms {
        let kept = (life.recent.len() as u32).min(life.incidents);
        let mut alarms = Alarms {
            list: Vec::new(),
            base: life.incidents - kept,
        };
        alarms.follow(life);
        alarms
    }

    /// Takes over what changed: the last few at most.
    fn follow(&mut self, life: &Lifecycle) {
        let kept = life.recent.len() as u32;
        for k in life.incidents.saturating_sub(kept)..life.incidents {
            let alarm = life.recent[(k % kept) as usize];
            match self.list.get_mut((k - self.base) as usize) {
                Some(known) => *known = alarm,
                None => self.list.push(alarm),
            }
        }
    }
}

/// Whose reading it is, as it was when it judged.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    Total(&'a detector::Model),
    Series(&'a FoldSeries, &'a detector::Model),
    /// With the whole of the bucket.
    Ratio(&'a FoldRatio, &'a detector::Ratio, f64),
}

/// What a fold shows of each reading to whoever looks on.
pub struct Shown<'a> {
    pub subject: Subject<'a>,
    /// A count; of a ratio, a share.
    pub observed: f64,
    pub judgement: Judgement,
    pub at: Moment,
    /// The bucket lies in maintenance: it was not judged.
    pub left_out: bool,
}

/// Whether a series is one of its own. Asked once of each.
pub type Places<'a> = Box<dyn Fn(&[u8]) -> bool + 'a>;

/// A fold in progress.
pub struct Fold<'a> {
    pub calendar: &'a Calendar,
    monitor: &'a Monitor,
    rules: &'a [Rule],
    pub ground: Ground,
    /// Last bucket folded.
    pub sealed: i64,
    pub series: Vec<FoldSeries>,
    pub ratios: Vec<FoldRatio>,
    pub total_incidents: Incidents,
    pub total_life: Lifecycle,
    pub total_alarms: Alarms,
    total_rule: InForce,
    /// Maintenance: left out.
    pub windows: &'a [Stretch],
    /// By key; that of a series without a place leads to `(other)`.
    index: HashMap<Vec<u8>, usize>,
    has_place: Places<'a>,
    /// Some series are counted in `(other)`, since there was no room for them.
    pub is_full: bool,
    bucket: i64,
    touched: Vec<usize>,
    /// Show readings from this bucket on; NEVER shows none.
    pub show_from: i64,
}

impl<'a> Fold<'a> {
    /// A fold from nothing, under the rules given.
    pub fn new(monitor: &'a Monitor, rules: &'a [Rule], windows: &'a [Stretch]) -> Fold<'a> {
        Fold {
            calendar: &monitor.calendar,
            monitor,
            rules,
            ground: Ground::new(),
            sealed: i64::MIN,
            series: Vec::new(),
            ratios: ratio::defined(rules)
                .zip(ratio::models(monitor, rules))
                .map(|((_, rule, _), model)| FoldRatio {
                    name: rule.series.clone(),
                    model,
                    incidents: Incidents::default(),
                    alarms: Alarms::default(),
                })
                .collect(),
            total_incidents: Incidents::default(),
            total_life: Lifecycle::new(),
            total_alarms: Alarms::default(),
            total_rule: monitor.total_rule(rules),
            windows,
            index: HashMap::new(),
            has_place: Box::new(|_| true),
            is_full: false,
            bucket: i64::MIN,
            touched: Vec::new(),
            show_from: NEVER,
        }
    }

    /// The same, where there may not be room for all series.
    pub fn with_places(self, has_place: Places<'a>) -> Fold<'a> {
        Fold { has_place, ..self }
    }

    /// Whether a series is one of its own.
    pub fn has_place(&self, key: &[u8]) -> bool {
        (self.has_place)(key)
    }

    /// Goes on from a state: its monitor's part.
    pub fn resume(&mut self, ground: Ground, life: Lifecycle, sealed: i64) {
        self.total_incidents = Incidents::begin(ground.total.recent(), ground.total.incidents());
        self.total_alarms = Alarms::begin(&life);
        self.total_life = life;
        self.ground = ground;
        self.sealed = sealed;
    }

    /// Goes on from a state: one series.
    pub fn resume_series(
        &mut self,
        key: Vec<u8>,
        series: detector::Model,
        life: Lifecycle,
        born: i64,
    ) {
        let i = self.place(&key);
        let s = &mut self.series[i];
        s.series = series;
        s.life = life;
        s.born = born;
        s.incidents = Incidents::begin(series.recent(), series.incidents());
        s.alarms = Alarms::begin(&life);
    }

    /// Goes on from a state: one ratio.
    pub fn resume_ratio(&mut self, id: u64, state: detector::Ratio, life: Lifecycle) {
        if let Some(r) = self.ratios.iter_mut().find(|r| r.model.id == id) {
            r.model.ratio = state;
            r.model.life = life;
            r.incidents = Incidents::begin(&state.recent, state.incidents);
            r.alarms = Alarms::begin(&life);
        }
    }

    /// The models of the ratios, in the order of their places.
    pub fn ratio_models(&self) -> [RatioModel; RATIOS] {
        let mut models = [RatioModel::NONE; RATIOS];
        for (model, r) in models.iter_mut().zip(&self.ratios) {
            *model = r.model;
        }
        models
    }

    fn place(&mut self, key: &[u8]) -> usize {
        if let Some(i) = self.index.get(key) {
            return *i;
        }
        if key != key::OTHER_KEY && !self.has_place(key) {
            self.is_full = true;
            let i = self.place(key::OTHER_KEY);
            self.index.insert(key.to_vec(), i);
            return i;
        }
        let i = self.series.len();
        let label = self.monitor.label(key);
        let member = ratio::membership(self.rules, &label);
        self.series.push(FoldSeries {
            key: key.to_vec(),
            label,
            series: detector::Model::new(),
            life: Lifecycle::new(),
            rule: self.monitor.rule(self.rules, key),
            born: NEVER,
            incidents: Incidents::default(),
            alarms: Alarms::default(),
            member,
            open: (0, 0),
        });
        self.index.insert(key.to_vec(), i);
        i
    }

    /// One group of the table: rows of one series in one bucket. Groups must come in order of time.
    pub fn add(
        &mut self,
        bucket: i64,
        key: &[u8],
        sum: i64,
        rows: i64,
        show: &mut dyn FnMut(Shown),
    ) {
        if bucket != self.bucket {
            self.flush(show);
            self.bucket = bucket;
        }
        let i = self.place(key);
        let s = &mut self.series[i];
        if s.open == (0, 0) {
            self.touched.push(i);
        }
        // Sums wrap, as they do in the ring: additions have to commute.
        s.open.0 = s.open.0.wrapping_add(sum);
        s.open.1 += rows;
    }

    /// Folds the bucket at hand and the absent ones before it.
    fn flush(&mut self, show: &mut dyn FnMut(Shown)) {
        if self.touched.is_empty() {
            return;
        }
        let bucket = self.bucket;
        self.absent_through(bucket - 1, show);
        if maintenance::end_of(self.windows, bucket).is_some() {
            self.leave_out(bucket, show);
        } else {
            self.fold_one(bucket, show);
        }
    }

    /// Folds everything through `target`; buckets after the last row are absent ones.
    pub fn finish(&mut self, target: i64, show: &mut dyn FnMut(Shown)) {
        self.flush(show);
        if self.ground.total.readings() > 0 {
            self.absent_through(target, show);
        }
        self.sealed = self.sealed.max(target);
    }

    fn absent_through(&mut self, target: i64, show: &mut dyn FnMut(Shown)) {
        if self.sealed == i64::MIN {
            self.sealed = target;
            return;
        }
        while self.sealed < target {
            let next = self.sealed + 1;
            if let Some(end) = maintenance::end_of(self.windows, next) {
                self.leave_out(end.min(target), show);
            } else if self.ground.idle() {
                let through = maintenance::clear_through(self.windows, next).min(target);
                self.pass_over(through, show);
            } else {
                self.fold_one(next, show);
            }
        }
    }

    /// Leaves out the buckets up to one, for maintenance: nothing is judged and nothing learned.
    fn leave_out(&mut self, through: i64, show: &mut dyn FnMut(Shown)) {
        for bucket in self.show_from.max(self.sealed + 1)..=through {
            let at = self.calendar.moment(bucket);
            let here = bucket == self.bucket;
            let sum = |s: &FoldSeries| if here { s.open.0 } else { 0 };
            let total = self.series.iter().fold(0i64, |a, s| a.wrapping_add(sum(s)));
            let of_series = self
                .series
                .iter()
                .filter(|s| s.born != NEVER)
                .map(|s| (Subject::Series(s, &s.series), &s.series, sum(s)));
            let of_total = (
                Subject::Total(&self.ground.total),
                &self.ground.total,
                total,
            );
            let all = std::iter::once(of_total).chain(of_series);
            for (subject, before, sum) in all.filter(|(_, before, _)| before.readings() > 0) {
                show(Shown {
                    subject,
                    observed: self.calendar.measure.reading(sum),
                    judgement: before.judge(f64::NAN),
                    at,
                    left_out: true,
                });
            }
        }
        if self.bucket <= through {
            for i in std::mem::take(&mut self.touched) {
                self.series[i].open = (0, 0);
            }
        }
        self.ground.leave_out(through);
        self.sealed = through;
    }

    /// Passes over absent buckets in which nothing is learned. Those of a reported silence are shown.
    fn pass_over(&mut self, target: i64, show: &mut dyn FnMut(Shown)) {
        let pace = self.calendar.pace();
        let first = self.show_from.max(self.sealed + 1);
        for bucket in first..=target.min(self.ground.silent_through()) {
            let at = self.calendar.moment(bucket);
            let mut before = self.ground.total;
            before.advance(at, pace);
            show(Shown {
                subject: Subject::Total(&before),
                observed: 0.0,
                judgement: before.judge(0.0),
                at,
                left_out: false,
            });
        }
        let (silent, last) = self.ground.pass_over(target);
        if silent > 0 {
            let terms = &self.total_rule.terms;
            self.total_life.stay_silent(silent, last, terms);
            self.total_alarms.follow(&self.total_life);
        }
        self.total_incidents
            .follow(self.ground.total.recent(), self.ground.total.incidents());
        self.sealed = target;
    }

    fn fold_one(&mut self, bucket: i64, show: &mut dyn FnMut(Shown)) {
        let pace = self.calendar.pace();
        let at = self.calendar.moment(bucket);
        let showing = bucket >= self.show_from;
        let present = !self.touched.is_empty() && self.bucket == bucket;
        let sum: i64 = if present {
            self.touched
                .iter()
                .fold(0i64, |a, i| a.wrapping_add(self.series[*i].open.0))
        } else {
            0
        };
        let measure = self.calendar.measure;
        let total_before = showing.then_some(self.ground.total);
        let total = measure.reading(sum);
        let sealing =
            self.ground
                .seal_under(at, present, total, pace, &self.total_rule.terms.sensitivity);
        let rule = &self.total_rule;
        let stirred = self.total_life.step_total(
            &self.ground,
            &sealing,
            total,
            rule.direction.sides(),
            &rule.terms,
        );
        if stirred {
            self.total_alarms.follow(&self.total_life);
        }
        if let (Some(mut before), Some(judgement)) = (total_before, sealing.total) {
            before.advance(at, pace);
            show(Shown {
                subject: Subject::Total(&before),
                observed: total,
                judgement,
                at,
                left_out: false,
            });
        }
        self.total_incidents
            .follow(self.ground.total.recent(), self.ground.total.incidents());
        let mut shares = ratio::Sums::default();
        for s in &mut self.series {
            let (sum, rows) = if present {
                std::mem::take(&mut s.open)
            } else {
                (0, 0)
            };
            shares.add(s.member, sum);
            let mut before = if s.born == NEVER {
                *measure.blank(&self.ground.blank)
            } else {
                s.series
            };
            let read = read_bucket(
                &mut s.series,
                &mut s.born,
                measure.blank(&self.ground.blank),
                &sealing,
                rows > 0,
                measure.reading(sum),
                at,
                pace,
                &mut Hearing {
                    life: &mut s.life,
                    direction: s.rule.direction,
                    limits: &s.rule.limits,
                    terms: &s.rule.terms,
                },
            );
            let Some(read) = read else { continue };
            s.incidents.follow(s.series.recent(), s.series.incidents());
            if read.stirred {
                s.alarms.follow(&s.life);
            }
            if showing {
                before.advance(at, pace);
                show(Shown {
                    subject: Subject::Series(s, &before),
                    observed: read.x,
                    judgement: read.judgement,
                    at,
                    left_out: false,
                });
            }
        }
        self.ground.close(at, &sealing, pace);
        if sealing.counted {
            self.fold_ratios(&shares, at, showing, show);
            let born = || self.series.iter().filter(|s| s.born != NEVER);
            let volume = self.ground.carry(born().map(|s| s.series.part()).sum());
            for s in self.series.iter_mut().filter(|s| s.born != NEVER) {
                s.series.note_volume(&volume);
            }
        }
        if present {
            self.touched.clear();
        }
        self.sealed = bucket;
    }

    fn fold_ratios(
        &mut self,
        shares: &ratio::Sums,
        at: Moment,
        showing: bool,
        show: &mut dyn FnMut(Shown),
    ) {
        for (place, r) in self.ratios.iter_mut().enumerate() {
            let mut before = r.model.ratio;
            let Some(read) = shares.read(place, &mut r.model, at.bucket) else {
                continue;
            };
            let ratio = &r.model.ratio;
            r.incidents.follow(&ratio.recent, ratio.incidents);
            if read.stirred {
                r.alarms.follow(&r.model.life);
            }
            if showing {
                before.advance(at.bucket);
                show(Shown {
                    subject: Subject::Ratio(r, &before, read.whole),
                    observed: read.share,
                    judgement: read.judgement,
                    at,
                    left_out: false,
                });
            }
        }
    }
}
