//! The state of one series: advance, judge, learn.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::clump::Clumps;
use crate::dispersion::{self, Dispersion, Dispersions, Residual};
use crate::edge;
use crate::elementary::{exp, exps, ln};
use crate::habit::Habit;
use crate::hour::{self, Hour};
use crate::incident::{self, Closing, Event, Incident, Watch, OPEN, QUIET, REMEMBERED, STALE};
use crate::judgement::{Channel, Judgement, Verdict};
use crate::level::{self, Levels, DEPARTURE, FAST, SLOW};
use crate::lifecycle::Own;
use crate::moment::{Moment, Pace};
use crate::outlook::{self, Long, Outlook, Run, Window, LONG_RATE};
use crate::season::Season;
use crate::sensitivity::Sensitivity;
use crate::tail;
use crate::volume::{Foretold, Others, Part, Sums, LENGTHS};
use crate::window::{Slot, Windows};
use crate::witness::Witness;

/// Larger readings are read as this: above it, neighbouring whole numbers are no longer told apart.
pub const LARGEST: f64 = 1e15;

/// Decades taken off the sums of 5 and 20 once the season is known: it explains what they saw.
const KNOWN_PENALTY: f64 = 0.4;
/// Largest dispersion a window is judged with, all doubt included.
const DISPERSION_CAP: f64 = 5.0;
/// How the pair's dispersion follows from the point's.
const PAIR_SHARE: f64 = 0.7;
/// Share of what its readings' scatter does to the fast level that wanders on: the rest is noticed within a few
/// readings.
const LEVEL_SHARE: f64 = 0.5;
/// By how much a trend may be off, as a share of itself, times the readings it was carried over.
const POINT_LEVER: f64 = 5.0;
const PAIR_LEVER: f64 = 6.0;
const FIVE_LEVER: f64 = 7.5;
const TEN_LEVER: f64 = 12.0;
const TWENTY_LEVER: f64 = 20.0;
/// Minutes by which a day may run early or late, and its shape by the half hour may be off where it is steep: as sums of ten
/// and of twenty doubt it, and the mean of two hours.
const SUM_SHIFT: f64 = 3.0;
const LONG_SHIFT: f64 = 4.0;
/// Doubt about a level, per reading without one: season known, seen on other days, not seen.
const WANDER_KNOWN: f64 = 0.0007;
const WANDER_SEEN: f64 = 0.0015;
const WANDER_UNSEEN: f64 = 0.004;
/// The same per reading of the level's extra horizon, while the season is not known.
const WANDER_LEVEL: f64 = 0.006;
/// Readings of a gap that count.
const GAP_CAP: f64 = 240.0;
/// Distance in buckets up to which a gap is short: what a few lost minutes in the middle of an
/// incident must not do is wipe out the slow evidence of a thin series.
const SHORT_GAP: i64 = 5;
/// Gap, in minutes and in buckets, after which what was learned before says nothing of today: 100 days, and a week
/// of minutes at least.
const FORGOTTEN_MINUTES: f64 = 144_000.0;
const FORGOTTEN_BUCKETS: i64 = 10_080;
/// Share of an incident's doubt that stays when it is over.
const DOUBT_KEPT: f64 = 0.3;
/// Most times, up or down, that an accepted level lies from the one before to be the same business at another size.
const FARTHEST_SHIFT: f64 = 10.0;
/// Counts a bucket below which the shape of the day is more of the slow mean than its own.
const LEAST_SHIFT: f64 = 0.2;
/// Largest gain with which a doubted level is found again.
const FINDING_GAIN: f64 = 0.2;
/// Variance of the long mean of a season of one day, beside what is left of it later, as a share of that. It falls with
/// the square of the days: a season of few days was taught by what went wrong on one of them. Beside it what a season
/// always has, as it follows its days.
const LONG_YOUTH: f64 = 1.3;
const LONG_KNOWN: f64 = 1.1;
/// Most that the log of a level moves at once as another kind of day begins: ten times.
const STEEPEST_STEP: f64 = core::f64::consts::LN_10;
/// Path of the season beyond which it is counted anew.
const PATH: f64 = 2.0;
/// Readings after which the level is not one of the first few, and empty buckets say how readings come.
const LEVEL_KNOWN: u64 = 60;
/// How far a reading is believed while an incident is open.
const INCIDENT_BELIEF: f64 = 0.02;
/// Long surprise up to which the departure learns fully, and where it would learn nothing (it never
/// learns less than a tenth).
const DEPARTURE_CALM: f64 = 1.0;
const DEPARTURE_ALARMED: f64 = 3.0;

/// The state of one series: fixed size, plain data, deterministic.
///
/// A bucket is read in three steps: [`advance`](Series::advance) moves the clock,
/// [`judge`](Series::judge) says what a reading would mean and changes nothing,
/// [`learn`](Series::learn) takes it. [`step`](Series::step) does all three.
///
/// A reading is a count of one bucket, zero included. NaN, infinite and negative numbers are no
/// readings: nothing changes. A bucket that is left out is one without data, which is not the same
/// as zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The latest incidents: incident `k` (from 0) is at `k % 4`.
    pub recent: [Incident; REMEMBERED],
    readings: u64,
    last_bucket: i64,
    levels: Levels,
    /// Sum of the season's rises: what the levels in `windows` are counted from.
    path: f64,
    /// Relative variance of the levels after a gap or an incident, until they are found again.
    doubt: f64,
    /// Exponential means of the readings and of what was foretold of them.
    long_observed: f64,
    long_expected: f64,
    /// The run of zeros: sum of `-ln P(0)`, counts expected.
    run_weight: f32,
    run_expected: f32,
    dispersions: Dispersions,
    season: Season,
    witness: Witness,
    watch: Watch,
    windows: Windows,
    others: Others,
    habit: Habit,
    hour: Hour,
    /// The bucket last advanced to.
    now: i64,
    /// Length of the run of zeros.
    run_length: u32,
    /// Incidents opened so far.
    pub incidents: u32,
    /// Whether the season was known at the last bucket.
    was_known: u8,
    /// Width of the bucket last advanced to, in minutes, where that is whole and small; else 0.
    width: u8,
    /// Its minute of the day.
    minute: u16,
    /// Whether what is counted comes in groups.
    clumps: Clumps,
}

/// What a series foretells of a bucket; see [`Series::foretell`].
#[derive(Clone, Copy)]
pub struct Foretelling(Option<Outlook>);

impl Foretelling {
    /// Nothing: a reading is judged by the state itself.
    pub(crate) const NOTHING: Foretelling = Foretelling(None);
}

impl Default for Series {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether this is a reading: a finite number, at least 0.
pub(crate) fn is_reading(x: f64) -> bool {
    x.is_finite() && x >= 0.0
}

/// Whether what was learned before a gap of so many buckets says nothing of today.
pub(crate) fn is_forgotten(gap: i64, width: f64) -> bool {
    gap > FORGOTTEN_BUCKETS && gap as f64 * width > FORGOTTEN_MINUTES
}

fn square(x: f64) -> f64 {
    x * x
}

impl Series {
    /// A series that has read nothing.
    pub const fn new() -> Series {
        Series {
            recent: [Incident::NONE; REMEMBERED],
            readings: 0,
            last_bucket: i64::MIN,
            levels: Levels::NEW,
            path: 0.0,
            doubt: 0.0,
            long_observed: 0.0,
            long_expected: 0.0,
            run_weight: 0.0,
            run_expected: 0.0,
            dispersions: Dispersions::NEW,
            season: Season::NEW,
            witness: Witness::NONE,
            watch: Watch::NEW,
            windows: Windows::NEW,
            others: Others::NEW,
            habit: Habit::NEW,
            hour: Hour::NEW,
            now: i64::MIN,
            run_length: 0,
            incidents: 0,
            was_known: 0,
            width: 0,
            minute: 0,
            clumps: Clumps::NEW,
        }
    }

    /// Readings learned.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// Whether too little was learned for a verdict.
    pub fn is_learning(&self) -> bool {
        self.readings < self.learns_for()
    }

    /// Readings that it learns for before it judges.
    pub fn learns_for(&self) -> u64 {
        outlook::LEARNING
    }

    /// The last bucket learned; `i64::MIN` before the first.
    pub fn last_bucket(&self) -> i64 {
        self.last_bucket
    }

    /// The incident that goes on, if one does.
    pub fn open_incident(&self) -> Option<&Incident> {
        self.last_incident().filter(|incident| incident.is_open())
    }

    /// The latest incident, open or not.
    pub fn last_incident(&self) -> Option<&Incident> {
        incident::latest(&self.recent, self.incidents)
    }

    /// Advances, judges and learns one reading. What is no reading changes nothing.
    pub fn step(&mut self, x: f64, at: Moment, pace: Pace) -> Judgement {
        self.step_bounded(x, at, pace, &Sensitivity::BUILT_IN).0
    }

    /// The same; where the verdict under a sensitivity is not normal, also which counts would have been.
    pub fn step_bounded(
        &mut self,
        x: f64,
        at: Moment,
        pace: Pace,
        sensitivity: &Sensitivity,
    ) -> (Judgement, Option<Bounds>) {
        if !is_reading(x) {
            return (self.judge(x), None);
        }
        self.advance(at, pace);
        if self.readings == 0 {
            let j = self.judge(x);
            self.learn(x, &j, at, pace);
            return (j, None);
        }
        let outlook = self.outlook();
        let x = x.min(LARGEST);
        let j = outlook.judge(x);
        let anomalous = sensitivity.verdict(&j, true) >= Verdict::Warning;
        let bounds = anomalous.then(|| Bounds::under(outlook, sensitivity));
        self.take(&outlook, x, &j, at, pace);
        (j, bounds)
    }

    /// What its own incident says of the reading last learned, of a bucket.
    pub fn own(&self, bucket: i64) -> Own {
        Own::of(&self.watch, self.last_incident(), bucket)
    }

    /// Moves the clock to a bucket: levels go along the season and the trend. To be called once
    /// before that bucket is judged or learned. Buckets left out since the last one learned are a
    /// gap: the windows start again and the levels are doubted. (A bucket that is not later than
    /// the last one is the caller's mistake; it is taken for the next.) After a gap of 100 days the
    /// series starts anew: one row of another age must not be what today is measured by.
    pub fn advance(&mut self, at: Moment, pace: Pace) {
        let width = pace.width();
        if self.readings > 0 {
            let gap = at.bucket.saturating_sub(self.last_bucket);
            if is_forgotten(gap, width) {
                self.start_anew(at.bucket);
            }
        }
        let before = self.season.log;
        let rise = self.season.advance(at, width);
        let rise = rise.of_day + self.still_to_come(rise.of_kind, before);
        self.now = at.bucket;
        self.minute = at.minute;
        self.width = hour::whole(width);
        if self.readings == 0 {
            return;
        }
        let buckets = at.bucket.saturating_sub(self.last_bucket);
        if buckets > 1 {
            self.pass_gap(buckets, at, width);
        } else {
            self.levels.drift = self.usable_trend();
            self.levels.carry(rise + self.levels.drift);
            self.path += rise;
        }
        if self.path.abs() > PATH {
            self.windows.recentre(self.path);
            self.path = 0.0;
        }
        if self.season.is_known() != (self.was_known != 0) {
            self.was_known = u8::from(self.season.is_known());
            self.long_expected = self.long_level();
            self.long_observed = self.long_expected;
        }
        let log = self.season.other_log(self.minute, self.width);
        // A young kind of day may be lower or higher as a whole. Of another it is known how far it is, and what has to be
        // believed is that the level of the day before goes on.
        let season = log.filter(|_| !self.season.is_young());
        let level = self.levels.departure + season.unwrap_or(self.season.log);
        self.witness.advance(log, level, self.long_expected);
    }

    /// What is left of a step from one kind of day to the other: some of it may have come in the hours before midnight, which
    /// the level has followed away from its season, whose log was `before`.
    fn still_to_come(&self, step: f64, before: f64) -> f64 {
        if step == 0.0 {
            return 0.0;
        }
        let ahead = self.levels.fast - (self.levels.departure + before);
        let come = ahead.clamp(step.min(0.0), step.max(0.0));
        (step - come).clamp(-STEEPEST_STEP, STEEPEST_STEP)
    }

    /// Takes over the incidents of a series that this one goes on from, none of them open.
    pub(crate) fn inherit(&mut self, recent: [Incident; REMEMBERED], incidents: u32) {
        if self.watch.is_open() {
            self.forget_windows();
        }
        self.recent = recent;
        self.incidents = incidents;
        self.watch = Watch::NEW;
    }

    /// Forgets all but its incidents.
    fn start_anew(&mut self, bucket: i64) {
        let (mut recent, incidents) = (self.recent, self.incidents);
        if let Some(incident) = incident::open_one(&mut recent, incidents) {
            incident.close(Closing::Resolved, bucket);
        }
        *self = Series {
            recent,
            incidents,
            ..Series::new()
        };
    }

    fn pass_gap(&mut self, buckets: i64, at: Moment, width: f64) {
        let rise = self.season.rise_since_last(at, width);
        let length = (buckets as f64).min(GAP_CAP);
        self.doubt = (self.doubt + square(length * self.wander())).min(1.0);
        if buckets <= SHORT_GAP {
            // A trend does not end with a minute that is lost.
            self.levels.drift = self.usable_trend();
            self.levels.carry(rise + length * self.levels.drift);
            self.path += rise;
            return;
        }
        self.levels.trend = 0.0;
        self.levels.drift = 0.0;
        self.levels.carry(rise);
        self.forget_run();
        self.forget_windows();
    }

    /// Judges a reading of the bucket that was last advanced to. Changes nothing. What is no
    /// reading is judged as by a series that is still learning.
    pub fn judge(&self, x: f64) -> Judgement {
        if !is_reading(x) {
            let expected = if self.readings == 0 {
                0.0
            } else {
                exp(self.levels.fast) + self.hour.extra(self.minute, self.width)
            };
            return Judgement::learning(expected, 0.0);
        }
        let x = x.min(LARGEST);
        if self.readings == 0 {
            return Judgement::learning(x + 0.5, x);
        }
        self.outlook().judge(x)
    }

    /// What the state foretells of the bucket that was last advanced to: for [`judge_by`](Series::judge_by) and
    /// [`learn_by`](Series::learn_by) to share, as long as the state is the same. It is half of what a reading costs.
    pub fn foretell(&self) -> Foretelling {
        if self.readings == 0 {
            return Foretelling::NOTHING;
        }
        Foretelling(Some(self.outlook()))
    }

    /// [`judge`](Series::judge) by what was foretold.
    pub fn judge_by(&self, foretold: &Foretelling, x: f64) -> Judgement {
        match &foretold.0 {
            Some(outlook) if is_reading(x) => outlook.judge(x.min(LARGEST)),
            _ => self.judge(x),
        }
    }

    /// [`learn`](Series::learn) by what was foretold.
    pub fn learn_by(
        &mut self,
        foretold: &Foretelling,
        x: f64,
        j: &Judgement,
        at: Moment,
        pace: Pace,
    ) {
        match &foretold.0 {
            Some(outlook) if is_reading(x) => self.take(outlook, x.min(LARGEST), j, at, pace),
            _ => self.learn(x, j, at, pace),
        }
    }

    /// The mean of a bucket at this time of day, and the days behind it; none where it was not seen.
    pub(crate) fn usual(&self, minute: u16, weekend: bool, pace: Pace) -> Option<(f64, u8)> {
        self.season.mean_at(minute, weekend, pace.width())
    }

    /// What the series would say now of a bucket near that of `now`: mean and standard deviation.
    pub(crate) fn retold(&self, now: Moment, then: Moment, pace: Pace) -> (f64, f64) {
        let log = |at: Moment| {
            let mean = self.usual(at.minute, at.weekend, pace);
            mean.map(|(mean, _)| ln(mean))
        };
        let rise = match (log(now), log(then)) {
            (Some(now), Some(then)) => then - now,
            _ => 0.0,
        };
        let mean = exp(self.levels.fast + rise);
        let dispersion = self.dispersions.point.bound(&dispersion::POINT);
        (mean, (mean + dispersion * mean * mean).sqrt())
    }

    /// The counts that would be judged normal in the bucket that was last advanced to.
    pub fn bounds(&self) -> Bounds {
        self.bounds_of(&self.outlook())
    }

    /// The counts that would be judged normal under a sensitivity.
    pub fn bounds_under(&self, sensitivity: &Sensitivity) -> Bounds {
        let mut outlook = self.outlook();
        (outlook.open, outlook.held_from) = (sensitivity.warning, sensitivity.held_from());
        sensitivity.widen(self.bounds_of(&outlook), outlook.mean())
    }

    /// The counts that surprise by less than this, whether or not an incident is open.
    pub fn bounds_below(&self, surprise: f64) -> Bounds {
        let mut outlook = self.outlook();
        outlook.held = 0;
        outlook.open = surprise;
        self.bounds_of(&outlook)
    }

    fn bounds_of(&self, outlook: &Outlook) -> Bounds {
        if self.readings == 0 {
            return Bounds {
                lower: 0.0,
                upper: LARGEST,
            };
        }
        Bounds::of(outlook)
    }

    /// The part of the reading last learned in the volume of the monitor.
    pub fn part(&self) -> Part {
        Part::of(
            self.windows.back(self.readings, 1).reading,
            self.usual_now(),
        )
    }

    /// Notes the volume of the monitor, the bucket last learned included: readings after it are also judged by
    /// how the others have risen. A series that is alone in its monitor need not.
    pub fn note_volume(&mut self, volume: &Sums) {
        let usual = self.usual_now();
        let held = self.windows.sums(self.readings, LENGTHS);
        let [one, two, five, ten, twenty] =
            core::array::from_fn(|i| Part::of(held[i].readings, LENGTHS[i] as f64 * usual));
        let long = Part::of(
            self.long_observed * outlook::LONG_EFFECTIVE,
            self.long_expected * outlook::LONG_EFFECTIVE,
        );
        let own = [one, two, five, ten, twenty, long];
        self.others.note(volume, &own, self.last_bucket);
    }

    /// What is usual of a reading of the bucket last advanced to, however the last minutes were: the season's
    /// level of the last hours, or as long as that is not known, the slow level of 20 readings ago.
    fn usual_now(&self) -> f64 {
        if self.season.is_known() {
            self.long_level()
        } else if self.readings > 40 {
            exp(self.windows.back(self.readings, 20).slow + self.path)
        } else {
            0.0
        }
    }

    /// Takes a reading and its judgement (both of the bucket last advanced to): opens, carries on
    /// and ends incidents, then learns. What is no reading changes nothing.
    pub fn learn(&mut self, x: f64, j: &Judgement, at: Moment, pace: Pace) {
        if !is_reading(x) {
            return;
        }
        let x = x.min(LARGEST);
        if self.readings == 0 {
            self.levels.start(x + 0.5);
            self.season.start(x + 0.5);
        }
        let outlook = self.outlook();
        self.take(&outlook, x, j, at, pace);
    }

    fn take(&mut self, o: &Outlook, x: f64, j: &Judgement, at: Moment, pace: Pace) {
        let event = self
            .watch
            .observe(j, o.seen && !o.known, self.is_elsewhere(o, x));
        self.record(event, o, x, j, at.bucket);

        let in_incident = self.watch.is_open();
        let belief = if in_incident {
            INCIDENT_BELIEF
        } else {
            belief(o, j)
        };
        if !in_incident || event == Event::Opens {
            self.learn_hour(o, x);
        }
        let clipped = clip(o, x) - o.extra;
        let summed = o.for_sums(x) - o.extra;
        self.long_observed += (summed - self.long_observed) * LONG_RATE;
        self.long_expected += (o.long_level - self.long_expected) * LONG_RATE;
        if let Some(level) = o.witness {
            self.witness.follow(level);
        }
        self.learn_run(o, x);
        let is_followed = !in_incident && self.doubt == 0.0 && o.readings >= LEVEL_KNOWN;
        if is_followed && o.extra == 0.0 {
            self.clumps.learn(x, o.slow, self.readings);
        }
        if !in_incident {
            // What the others explain is still more than the spread of this series.
            let alone = Judgement {
                surprise: j.alone.max(j.surprise),
                ..*j
            };
            let belief = self::belief(o, &alone).min(belief);
            self.learn_dispersions(o, x, belief);
        }
        // A bucket that is mostly a job's says little of the level.
        let of_level = belief * o.fast / (o.fast + o.extra);
        self.learn_levels(o, clipped, of_level, in_incident, j);
        if !j.learning && (!in_incident || event == Event::Opens) {
            self.habit.learn(&j.channels);
        }
        self.season.learn_mean(clipped.max(0.0), self.readings);
        self.windows.put(
            self.readings,
            Slot {
                reading: summed,
                factor: o.factor,
                fast: self.levels.fast - self.path,
                slow: self.levels.slow - self.path,
                trend: self.levels.drift,
            },
        );
        let (of_season, side) = if in_incident {
            (x - o.extra, self.watch.direction() as i8)
        } else {
            (clipped, 0)
        };
        self.season
            .learn(of_season.max(0.0), side, at, pace.width());
        if let Event::Closes(closing) = event {
            self.close_incident(closing, o, x, j);
        }
        self.readings = self.readings.saturating_add(1);
        self.last_bucket = at.bucket;
    }

    /// Whether the last five readings still are not normal by the level from before an incident that has long been open:
    /// the level that is followed has crept towards it.
    fn is_elsewhere(&self, o: &Outlook, x: f64) -> bool {
        let Some(five) = o.five.filter(|_| o.known && self.watch.age() >= STALE) else {
            return false;
        };
        let mean = 5.0 * o.long_level + five.extra;
        let (sum, dispersion) = (five.sum(x), o.five_bound + o.long_bound);
        if self.watch.direction() > 0.0 {
            tail::upper(sum, mean, dispersion) >= QUIET
        } else {
            tail::lower(sum, mean, dispersion) >= QUIET
        }
    }

    /// Keeps the figures of incidents.
    fn record(&mut self, event: Event, o: &Outlook, x: f64, j: &Judgement, bucket: i64) {
        if event == Event::Opens {
            let incident = Incident::opened_by(j, x, Bounds::of(o), bucket);
            self.recent[self.incidents as usize % REMEMBERED] = incident;
            self.incidents = self.incidents.saturating_add(1);
            return;
        }
        let Some(incident) = incident::open_one(&mut self.recent, self.incidents) else {
            return;
        };
        incident.goes_on(j, x, bucket);
        if let Event::Closes(closing) = event {
            incident.close(closing, bucket);
        }
    }

    /// The open incident goes on over buckets without data, of which nothing is learned.
    pub(crate) fn stay_silent(&mut self, buckets: u32, last: i64) {
        if let Some(incident) = incident::open_one(&mut self.recent, self.incidents) {
            incident.stay_silent(buckets, last);
        }
    }

    /// Where the reading before was an ordinary one, this one may show a job.
    fn learn_hour(&mut self, o: &Outlook, x: f64) {
        if o.readings < 20 {
            return;
        }
        let deviation = |mean: f64| (mean + o.point_bound * mean * mean).sqrt();
        let last = self.windows.back(o.readings, 1).reading - o.fast;
        if last.abs() <= hour::CLIP * deviation(o.fast) {
            let scatter = deviation(o.fast + o.extra);
            self.hour
                .learn(self.minute, self.width, x - o.fast, scatter);
        }
    }

    fn learn_run(&mut self, o: &Outlook, x: f64) {
        if x > 0.0 {
            self.forget_run();
        } else {
            self.run_weight += tail::zero_ln(o.run.level, o.point_bound) as f32;
            self.run_expected += o.run.level as f32;
            self.run_length = self.run_length.saturating_add(1);
        }
    }

    fn forget_run(&mut self) {
        self.run_weight = 0.0;
        self.run_expected = 0.0;
        self.run_length = 0;
    }

    fn learn_dispersions(&mut self, o: &Outlook, x: f64, belief: f64) {
        let residual = |observed, mean, level_variance| Residual {
            observed,
            mean,
            level_variance,
            belief,
        };
        let d = &mut self.dispersions;
        if o.readings >= 10 {
            d.point.learn(
                &dispersion::POINT,
                &residual(x, o.mean(), o.fast_variance),
                o.point_bound,
                1.0,
            );
        }
        if let Some(w) = o.five.filter(|_| o.readings >= 40) {
            d.five.learn(
                &dispersion::FIVE,
                &residual(w.before + x, w.mean, o.fast_variance),
                o.five_bound,
                1.0,
            );
        }
        if let Some(w) = o.twenty.filter(|_| o.readings >= 80) {
            let residual = residual(w.before + x, w.mean, o.slow_variance);
            d.twenty
                .learn(&dispersion::TWENTY, &residual, o.twenty_bound, 1.0);
        }
        if let Some(long) = o.long {
            let seen = self.long_observed * outlook::LONG_EFFECTIVE;
            let residual = residual(seen, long.mean, o.departure_gain / o.long_level);
            d.long
                .learn(&dispersion::LONG, &residual, o.long_bound, o.long_inflation);
        }
        d.fade();
    }

    fn learn_levels(&mut self, o: &Outlook, x: f64, belief: f64, in_incident: bool, j: &Judgement) {
        let finding = if in_incident { 0.0 } else { self.find_again(o) };
        let deviation = (x - o.fast) / o.fast;
        let moved = |fast_gain: f64, slow_gain: f64| {
            level::log_levels([
                o.fast * (1.0 + belief * fast_gain * deviation),
                o.slow + belief * slow_gain * (x - o.slow),
            ])
        };
        [self.levels.fast, self.levels.slow] =
            moved(o.fast_gain.max(finding), o.slow_gain.max(finding));
        if finding > 0.0 {
            // By this the level was off all along. What it follows a reading by anyway was not there before.
            let [fast, slow] = moved(o.fast_gain, o.slow_gain);
            self.windows
                .lift(self.levels.fast - fast, self.levels.slow - slow);
        }
        if o.known {
            let long = j.channels[Channel::Long as usize].abs();
            let calm = ramp(long, DEPARTURE_CALM, DEPARTURE_ALARMED, 0.1);
            let step = belief.min(calm) * o.departure_gain * (x - o.long_level) / o.long_level;
            self.levels.learn_departure(step, self.season.log);
            if let Some(level) = o.witness {
                self.witness.learn(x, level, belief * o.departure_gain);
            }
        }
        if o.readings >= 20 {
            self.levels.learn_trend(deviation, o.fast_gain, belief);
        }
        self.levels.fade_trend();
    }

    /// The gain with which a doubted level is found again (0 where it is not doubted), in the form
    /// of a Kalman filter: doubt against doubt and the scatter of a reading. The doubt falls, and ends where the levels
    /// follow as quickly by themselves.
    fn find_again(&mut self, o: &Outlook) -> f64 {
        if self.doubt <= 0.0 {
            return 0.0;
        }
        let scatter = 1.0 / o.fast + o.point_bound;
        let gain = (self.doubt / (self.doubt + scatter)).min(FINDING_GAIN);
        self.doubt *= 1.0 - gain;
        if gain <= o.slow_gain || self.doubt < 0.02 / o.fast {
            self.doubt = 0.0;
        }
        gain
    }

    fn close_incident(&mut self, closing: Closing, o: &Outlook, x: f64, j: &Judgement) {
        let age = self.watch.age();
        match closing {
            Closing::Accepted => {
                self.levels
                    .restart(o.twenty.map_or(x, |w| (w.before + x - w.extra) / 20.0));
                // A shape that all together is less than one half hour of the new level says nothing of its proportions:
                // a few readings and many zeros, before a feed begins.
                let level = exp(self.levels.fast);
                let is_kept = self.season.taught() >= level;
                if !is_kept {
                    self.season.start_anew(level);
                }
                let rise = level / o.long_level;
                let is_shift = (1.0 / FARTHEST_SHIFT..=FARTHEST_SHIFT).contains(&rise)
                    && level.min(o.long_level) >= LEAST_SHIFT;
                if o.known && is_kept && is_shift && !self.season.is_young() {
                    // All hours are to be at the new level, whether they were read since or not: else the shape of the
                    // day has a step where the level moved, and the same hour of the next days would be told of it.
                    self.season.scale(rise);
                }
                let departure = self.levels.fast - self.season.log;
                self.levels.departure = if o.seen && is_kept { departure } else { 0.0 };
                self.witness = Witness::NONE;
            }
            Closing::Resolved => {
                let five = j.channels[Channel::Five as usize] * self.watch.direction();
                if five < -3.0 && age >= STALE {
                    self.levels
                        .restart(o.five.map_or(x, |w| (w.before + x - w.extra) / 5.0));
                    self.doubt = 0.1;
                }
                let doubt = DOUBT_KEPT * square(f64::from(age) * self.wander());
                self.doubt = self.doubt.max(doubt.min(1.0));
            }
        }
        self.forget_windows();
        self.forget_run();
        self.long_observed = self.long_expected;
        self.witness.begin_anew(self.long_expected);
        self.watch.close();
    }

    /// The windows hold what is expected now, so that what they saw does not speak again.
    fn forget_windows(&mut self) {
        self.windows.fill(Slot {
            reading: exp(self.levels.slow),
            factor: exp(self.path),
            fast: self.levels.fast - self.path,
            slow: self.levels.slow - self.path,
            trend: 0.0,
        });
    }

    /// Doubt about a level per reading that it was not followed.
    fn wander(&self) -> f64 {
        if self.season.is_known() {
            WANDER_KNOWN
        } else if self.season.is_seen() {
            WANDER_SEEN
        } else {
            WANDER_UNSEEN
        }
    }

    fn usable_trend(&self) -> f64 {
        let mean = exp(self.levels.fast);
        let gain = FAST.gain(mean, self.season.is_known(), self.readings);
        let dispersion = self.dispersions.point.bound(&dispersion::POINT);
        self.levels.shrunk_trend(mean, gain, dispersion)
    }

    fn long_level(&self) -> f64 {
        exp(self.levels.departure + self.season.log)
    }

    /// What it foretells of a bucket that it was not advanced to.
    #[cfg(test)]
    pub(crate) fn outlook_at(&self, at: Moment) -> Outlook {
        let mut ahead = *self;
        ahead.advance(at, Pace { minutes: 1.0 });
        ahead.outlook()
    }

    /// What the state foretells of the reading in hand.
    fn outlook(&self) -> Outlook {
        let n = self.readings;
        let (known, seen) = (self.season.is_known(), self.season.is_seen());
        let base = [2, 5, 10, 20].map(|back| self.windows.back(n, back));
        let [of_pair, of_five, of_ten, of_twenty] = base;
        let [fast, slow, long_level, factor, by_pair, by_five, by_ten, by_twenty] = exps([
            self.levels.fast,
            self.levels.slow,
            self.levels.departure + self.season.log,
            self.path,
            of_pair.fast + 1.5 * of_pair.trend,
            of_five.fast + 3.0 * of_five.trend,
            of_ten.slow + 5.5 * of_ten.trend,
            of_twenty.slow + 10.5 * of_twenty.trend,
        ]);
        let fast_gain = FAST.gain(fast, known, n);
        let slow_gain = SLOW.gain(slow, known, n);
        let departure_gain = DEPARTURE.gain(long_level, known, n);
        let unseen = |horizon: &level::Horizon, mean| {
            if known {
                0.0
            } else {
                square(WANDER_LEVEL * horizon.extra(mean, known))
            }
        };
        // A day that has fallen so steeply may rise as steeply, and a level of few events follows late.
        let steepest = if known {
            0.0
        } else {
            self.season.steepest() * f64::from(self.width)
        };
        let ramp = |horizon: &level::Horizon, mean| {
            if steepest > WANDER_LEVEL {
                square(steepest * horizon.extra(mean, known))
            } else {
                0.0
            }
        };
        let steepness = self.season.slope();
        let of_shape = |minutes: f64| square(minutes * steepness);
        let mut doubt = self.doubt + unseen(&FAST, fast);
        if self.watch.is_open() {
            doubt += square(f64::from(self.watch.age()) * self.wander());
        }
        let excess = self.clumps.excess();
        let fast_variance = fast_gain / fast * (1.0 + excess) + doubt;
        let slow_variance = slow_gain / slow * (1.0 + excess);
        let point_bound = self.dispersions.point.bound(&dispersion::POINT);
        let five_bound = self.dispersions.five.bound(&dispersion::FIVE);
        let twenty_bound = self.dispersions.twenty.bound(&dispersion::TWENTY);
        let penalty = if known { KNOWN_PENALTY } else { 0.0 };
        // What a sum scatters more than its readings by themselves would is its level's doing.
        let alone = self.dispersions.point.estimate();
        let wander = |of: &Dispersion, readings: f64| (of.estimate() - alone / readings).max(0.0);
        let of_level = LEVEL_SHARE * fast_gain * alone;

        let extra = self.hour.extra(self.minute, self.width);
        let [one_extra, four_extra, nine_extra, nineteen_extra] =
            self.hour.extras(self.minute, self.width, [1, 4, 9, 19]);

        let point = Window {
            before: 0.0,
            mean: fast,
            dispersion: capped(
                point_bound + fast_variance + square(POINT_LEVER * self.levels.drift),
            ),
            wander: of_level,
            penalty: 0.0,
            extra: 0.0,
            others: Foretold::NOTHING,
        }
        .with_jobs(0.0, extra);
        let pair = (n >= 20).then(|| {
            let last = self.windows.back(n, 1);
            let slope = square(PAIR_LEVER * self.doubted_trend(of_pair, known));
            Window {
                before: last.reading,
                mean: by_pair * (last.factor + factor),
                dispersion: capped(PAIR_SHARE * point_bound + fast_variance + slope),
                wander: of_level,
                penalty: 0.0,
                extra: 0.0,
                others: Foretold::NOTHING,
            }
            .with_jobs(one_extra, extra)
        });
        let [four, nine, nineteen] = self.windows.sums(n, [4, 9, 19]);
        let five = (n >= 5).then(|| {
            let slope = square(FIVE_LEVER * self.doubted_trend(of_five, known));
            Window {
                before: four.readings,
                mean: by_five * (four.factors + factor),
                dispersion: capped(five_bound + fast_variance + slope + ramp(&FAST, by_five)),
                wander: wander(&self.dispersions.five, 5.0),
                penalty,
                extra: 0.0,
                others: Foretold::NOTHING,
            }
            .with_jobs(four_extra, extra)
        });
        // Its dispersion follows from that of the point and of twenty: what scatters by itself counts twice.
        let ten = (n >= 40 && known).then(|| {
            let slope = square(TEN_LEVER * self.doubted_trend(of_ten, known));
            let bound = twenty_bound + alone / 20.0;
            Window {
                before: nine.readings,
                mean: by_ten * (nine.factors + factor),
                dispersion: capped(bound + slow_variance + slope + of_shape(SUM_SHIFT)),
                wander: 0.0,
                penalty,
                extra: 0.0,
                others: Foretold::NOTHING,
            }
            .with_jobs(nine_extra, extra)
        });
        let twenty = (n >= 40).then(|| {
            let slope = square(TWENTY_LEVER * self.doubted_trend(of_twenty, known));
            Window {
                before: nineteen.readings,
                mean: by_twenty * (nineteen.factors + factor),
                dispersion: capped(
                    twenty_bound
                        + slow_variance
                        + slope
                        + of_shape(SUM_SHIFT)
                        + unseen(&SLOW, slow)
                        + ramp(&SLOW, by_twenty),
                ),
                wander: 0.0,
                penalty,
                extra: 0.0,
                others: Foretold::NOTHING,
            }
            .with_jobs(nineteen_extra, extra)
        });
        let witness = self
            .witness
            .level(self.season.other_log(self.minute, self.width));
        let (mut long, mut long_bound, mut long_inflation) = (None, 0.0, 1.0);
        if n >= 120 && known {
            long_inflation = LONG_KNOWN + LONG_YOUTH / square(self.season.experience());
            let learned = self.dispersions.long.bound(&dispersion::LONG);
            long_bound = (learned * long_inflation).min(dispersion::LARGEST);
            let expected = self.long_expected + (long_level - self.long_expected) * LONG_RATE;
            long = Some(Long {
                before: self.long_observed,
                mean: expected * outlook::LONG_EFFECTIVE,
                dispersion: capped(long_bound + departure_gain / long_level + of_shape(LONG_SHIFT)),
                wander: (long_bound - alone / outlook::LONG_EFFECTIVE).max(0.0),
                level: long_level,
                witness: witness
                    .and_then(|level| self.witness.foretell(level, expected))
                    .map(|mean| mean * outlook::LONG_EFFECTIVE),
                witness_of_rises: !self.season.is_young(),
                others: Foretold::NOTHING,
            });
        }
        // Only a run that has begun asks for it.
        let of_season = if self.run_length > 0 {
            self.season.variance(self.width)
        } else {
            0.0
        };
        let mut outlook = Outlook {
            readings: n,
            held: self.watch.direction() as i8,
            owner: self.watch.owner(),
            open: OPEN,
            held_from: QUIET,
            known,
            seen,
            fast,
            extra,
            slow,
            long_level,
            witness,
            factor,
            fast_gain,
            slow_gain,
            departure_gain,
            fast_variance,
            slow_variance,
            point_bound,
            five_bound,
            twenty_bound,
            long_bound,
            long_inflation,
            point,
            pair,
            five,
            ten,
            twenty,
            long,
            run: Run {
                length: self.run_length,
                weight: f64::from(self.run_weight),
                expected: f64::from(self.run_expected),
                level: fast.min(slow),
                doubt: slow_variance + doubt + outlook::run_doubt(known, five_bound) + of_season,
            },
            last_nineteen: nineteen.readings,
            habit: self.habit,
            told_from: f64::INFINITY,
        };
        if excess > 0.0 {
            outlook.scatter(excess);
        }
        if self.others.is_fresh(self.now) {
            let usual = self.usual_now();
            outlook.beside(|window, length| {
                let usual = match length {
                    Some(n) => n as f64 * usual,
                    None => self.long_expected * outlook::LONG_EFFECTIVE,
                };
                self.others.foretell(self.now, window, usual)
            });
        }
        if self.habit.knows_rises() {
            outlook.told_from = edge::told_from(&outlook);
        }
        outlook
    }

    /// How steep a window's base may have been wrong: its trend, or while the season is not known
    /// the steeper of that and the present one.
    fn doubted_trend(&self, base: Slot, known: bool) -> f64 {
        if known {
            base.trend.abs()
        } else {
            base.trend.abs().max(self.levels.drift.abs())
        }
    }

    /// Whether every number in it is finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.recent.iter().all(Incident::is_finite)
            && self.levels.is_finite()
            && self.dispersions.is_finite()
            && self.season.is_finite()
            && self.witness.is_finite()
            && self.windows.is_finite()
            && self.others.is_finite()
            && self.hour.is_sound()
            && [
                self.path,
                self.doubt,
                self.long_observed,
                self.long_expected,
                f64::from(self.run_weight),
                f64::from(self.run_expected),
            ]
            .iter()
            .all(|v| v.is_finite())
    }
}

fn capped(dispersion: f64) -> f64 {
    dispersion.min(DISPERSION_CAP)
}

/// 1 up to `from`, falling to 0 at `to`, never below `least`.
fn ramp(surprise: f64, from: f64, to: f64, least: f64) -> f64 {
    ((to - surprise) / (to - from)).clamp(least, 1.0)
}

/// How far a reading is believed outside incidents: the more it surprises, the less it teaches.
/// Rises are believed longer while the season is not known: they may be the morning.
fn belief(o: &Outlook, j: &Judgement) -> f64 {
    if o.readings < outlook::LEARNING {
        1.0
    } else if o.known || j.direction < 0 {
        ramp(j.surprise, 2.0, 4.5, 0.1)
    } else {
        ramp(j.surprise, 2.5, 5.0, 0.3)
    }
}

/// The reading, no further than three standard deviations from its mean (and two counts above).
fn clip(o: &Outlook, x: f64) -> f64 {
    if o.readings < 20 {
        return x;
    }
    let mean = o.mean();
    let deviation = (mean + (o.point_bound + o.fast_variance) * mean * mean).sqrt();
    x.max(mean - 3.0 * deviation)
        .min(mean + 3.0 * deviation + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of a mean of 300 with a dispersion of a third, that are five times as many for twenty minutes a day.
    fn noisy(factor: f64) -> Series {
        let (mut series, mut state) = (Series::new(), 7_u64);
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        for bucket in 0..10 * 1440 {
            let gamma: f64 = (0..3).map(|_| -(1.0 - uniform()).ln() / 3.0).sum();
            let usual = 300.0 * gamma;
            let minute = (bucket % 1440) as u16;
            let x = if minute / 20 == 40 && bucket > 2880 {
                factor * usual
            } else {
                usual
            };
            let at = Moment {
                bucket,
                minute,
                weekend: false,
            };
            series.step(x.round(), at, Pace { minutes: 1.0 });
        }
        series
    }

    /// A level that is found again once lifted all that sums are held against, for days: they seemed to scatter less, and
    /// alerts without cause were the end of it.
    #[test]
    fn incidents_do_not_make_sums_seem_calm() {
        let bound = |series: &Series| {
            let d = &series.dispersions;
            (
                d.five.bound(&dispersion::FIVE),
                d.twenty.bound(&dispersion::TWENTY),
            )
        };
        let (quiet, other) = (noisy(1.0), noisy(5.0));
        assert!(other.incidents >= 7, "{}", other.incidents);
        assert_eq!(other.doubt, 0.0);
        let ((five, twenty), (five_after, twenty_after)) = (bound(&quiet), bound(&other));
        assert!(five_after > 0.93 * five, "{five_after} {five}");
        assert!(twenty_after > 0.93 * twenty, "{twenty_after} {twenty}");
    }
}
