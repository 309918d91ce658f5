//! The fold: a monitor's models as a pure function of its rows, in time order. Live sealing, refolds,
//! backtests and the reading functions all go through `read_bucket` and `Ground`.

use std::collections::HashMap;

use detector::{Ground, Incident, Judgement, LimitWatch, Limits, Moment, Pace, Sealing, Series};

use crate::calendar::Calendar;
use crate::monitor::{Monitor, Rule};
use crate::ratio::{self, Membership};
use crate::shared::{Direction, RatioModel, NEVER, RATIOS};

/// Folds one bucket into one series, the total being folded already. A series begins with its first row, as a
/// copy of `blank`, the series that had only zeros until now. None: the series has no reading in this bucket.
#[allow(clippy::too_many_arguments)]
pub fn read_bucket(
    series: &mut Series,
    born: &mut i64,
    blank: &Series,
    sealing: &Sealing,
    has_row: bool,
    sum: i64,
    at: Moment,
    pace: Pace,
) -> Option<(f64, Judgement)> {
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
    let x = sum.max(0) as f64;
    Some((x, series.step(x, at, pace)))
}

/// A series in a fold.
pub struct FoldSeries {
    pub key: Vec<u8>,
    pub series: Series,
    pub watch: LimitWatch,
    pub limits: Limits,
    pub direction: Direction,
    pub born: i64,
    /// Incidents of the statistics and of the limits since the fold began, the one open then included.
    pub incidents: Incidents,
    pub limit_incidents: Incidents,
    member: Membership,
    open: (i64, i64),
}

/// A ratio in a fold.
pub struct FoldRatio {
    pub name: String,
    pub model: RatioModel,
    pub incidents: Incidents,
    pub limit_incidents: Incidents,
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

/// Whose reading it is, as it was when it judged.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    Total(&'a Series),
    Series(&'a FoldSeries, &'a Series),
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
}

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
    index: HashMap<Vec<u8>, usize>,
    bucket: i64,
    touched: Vec<usize>,
    /// Show readings from this bucket on; NEVER shows none.
    pub show_from: i64,
}

impl<'a> Fold<'a> {
    /// A fold from nothing, under the rules given.
    pub fn new(monitor: &'a Monitor, rules: &'a [Rule]) -> Fold<'a> {
        Fold {
            calendar: &monitor.calendar,
            monitor,
            rules,
            ground: Ground::new(),
            sealed: i64::MIN,
            series: Vec::new(),
            ratios: ratio::defined(rules)
                .zip(ratio::models(rules))
                .map(|((_, rule, _), model)| FoldRatio {
                    name: rule.series.clone(),
                    model,
                    incidents: Incidents::default(),
                    limit_incidents: Incidents::default(),
                })
                .collect(),
            total_incidents: Incidents::default(),
            index: HashMap::new(),
            bucket: i64::MIN,
            touched: Vec::new(),
            show_from: NEVER,
        }
    }

    /// Goes on from a state: its monitor's part.
    pub fn resume(&mut self, ground: Ground, sealed: i64) {
        self.total_incidents = Incidents::begin(&ground.total.recent, ground.total.incidents);
        self.ground = ground;
        self.sealed = sealed;
    }

    /// Goes on from a state: one series.
    pub fn resume_series(&mut self, key: Vec<u8>, series: Series, watch: LimitWatch, born: i64) {
        let i = self.place(&key);
        let s = &mut self.series[i];
        s.series = series;
        s.watch = watch;
        s.born = born;
        s.incidents = Incidents::begin(&series.recent, series.incidents);
        s.limit_incidents = Incidents::begin(&watch.recent, watch.incidents);
    }

    /// Goes on from a state: one ratio.
    pub fn resume_ratio(&mut self, id: u64, state: detector::Ratio, watch: LimitWatch) {
        if let Some(r) = self.ratios.iter_mut().find(|r| r.model.id == id) {
            r.model.ratio = state;
            r.model.watch = watch;
            r.incidents = Incidents::begin(&state.recent, state.incidents);
            r.limit_incidents = Incidents::begin(&watch.recent, watch.incidents);
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
        let i = self.series.len();
        let (direction, limits) = self.monitor.rule(self.rules, key);
        let member = ratio::membership(self.rules, &self.monitor.label(key));
        self.series.push(FoldSeries {
            key: key.to_vec(),
            series: Series::new(),
            watch: LimitWatch::new(),
            limits,
            direction,
            born: NEVER,
            incidents: Incidents::default(),
            limit_incidents: Incidents::default(),
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
        self.fold_one(bucket, show);
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
            if self.ground.idle() {
                self.pass_over(target, show);
                return;
            }
            self.fold_one(self.sealed + 1, show);
        }
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
            });
        }
        self.ground.pass_over(target);
        self.total_incidents
            .follow(&self.ground.total.recent, self.ground.total.incidents);
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
        let total_before = showing.then_some(self.ground.total);
        let sealing = self.ground.seal(at, present, sum.max(0) as f64, pace);
        if let (Some(mut before), Some(judgement)) = (total_before, sealing.total) {
            before.advance(at, pace);
            show(Shown {
                subject: Subject::Total(&before),
                observed: sum.max(0) as f64,
                judgement,
                at,
            });
        }
        self.total_incidents
            .follow(&self.ground.total.recent, self.ground.total.incidents);
        let mut shares = ratio::Sums::default();
        for s in &mut self.series {
            let (sum, rows) = if present {
                std::mem::take(&mut s.open)
            } else {
                (0, 0)
            };
            shares.add(s.member, sum);
            let mut before = if s.born == NEVER {
                self.ground.blank
            } else {
                s.series
            };
            let read = read_bucket(
                &mut s.series,
                &mut s.born,
                &self.ground.blank,
                &sealing,
                rows > 0,
                sum,
                at,
                pace,
            );
            let Some((x, judgement)) = read else { continue };
            s.watch.step(x, &s.limits, judgement.expected, bucket);
            s.incidents.follow(&s.series.recent, s.series.incidents);
            s.limit_incidents.follow(&s.watch.recent, s.watch.incidents);
            if showing {
                before.advance(at, pace);
                show(Shown {
                    subject: Subject::Series(s, &before),
                    observed: x,
                    judgement,
                    at,
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
            let (ratio, watch) = (&r.model.ratio, &r.model.watch);
            r.incidents.follow(&ratio.recent, ratio.incidents);
            r.limit_incidents.follow(&watch.recent, watch.incidents);
            if showing {
                before.advance(at.bucket);
                show(Shown {
                    subject: Subject::Ratio(r, &before, read.whole),
                    observed: read.share,
                    judgement: read.judgement,
                    at,
                });
            }
        }
    }
}
