//! Counts or values: a series that chooses its family itself, and chooses again.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::elementary::{exp, ln_1p};
use crate::incident::{self, Incident, REMEMBERED};
use crate::judgement::{Channel, Judgement};
use crate::lifecycle::Own;
use crate::moment::{Moment, Pace, DAY};
use crate::sensitivity::Sensitivity;
use crate::series::{is_forgotten, is_reading, Foretelling, Series, LARGEST};
use crate::tail;
use crate::value::{Tuning, Values};
use crate::volume::{Part, Sums};

/// Readings over which what kind of numbers they are is forgotten.
const HORIZON: f64 = 1000.0;
/// Share of readings that are no counts from which a series is one of values, and below which it may
/// be one of counts again.
const ODD: f64 = 0.02;
const WHOLE: f64 = 0.001;
/// Typical reading above which whole numbers are read as values, and below which they may be counts again;
const LARGE: f64 = 1000.0;
const SMALL: f64 = 500.0;
/// and times as much where they were declared to be counts: the negative binomial law, whose dispersion is learned, does
/// better by rows than the family of values at every size that was simulated. (What is larger is taken for amounts.)
const LARGER: f64 = 10.0;
/// A reading moves the log of the typical one as if it were off by no more than this: an incident
/// does not change what a series is.
const FARTHEST: f64 = 1.0;
/// Readings that the first choice waits for, once the series judges, and that a later one holds.
const FIRST: u16 = 200;
const HELD: u16 = 1000;
/// Readings for which numbers that nobody declared to be counts are read as values, whole or not.
const UNDECLARED: u32 = HELD as u32;
/// Readings before any family judges: until then, choosing again costs nothing.
const EARLY: u32 = 30;
/// Readings that the new family is told of at a hand-over: a day of them, but no fewer and no more
/// than this, and no more than this share of what was read. They are made up, with the scatter of a
/// tame law, and the less was read the less can be known of it.
const TOLD_LEAST: f64 = 160.0;
const TOLD_MOST: f64 = 1440.0;
const TOLD_SHARE: f64 = 0.25;

/// Counts that are taken to have scattered as independent events do, before the first reading.
const PRIOR: f64 = 20.0;
/// Readings over which a strange stretch is forgotten.
const STRANGE_MEMORY: f64 = 4000.0;
/// Surprise, decades, from which a reading is strange to the count law of the series' own mean and
/// index of dispersion; and counts that it must be off for that.
const STRANGE: f64 = 4.0;
const STRANGE_LEAST: f64 = 3.0;
/// Readings before which the scatter is not known well enough to call one strange.
const SETTLED: u32 = 60;
/// Readings without a strange one after which the next begins another stretch.
const APART: u16 = 30;
/// How far a strange reading is believed about the scatter.
const STRANGE_BELIEF: f64 = 0.2;
/// A residual counts for at most so many variances, and so many counts squared.
const CLIP: f64 = 16.0;
const CLIP_COUNTS: f64 = 4.0;

/// A count law does not describe a series that scatters more than independent events would, by this
/// index of dispersion, and still has strange stretches;
const SCATTERED: f64 = 1.7;
const STRETCHES: f64 = 1.9;
/// nor one of which so many are strange, however little the rest scatters;
const SPIKES: f64 = 8.0;
/// nor one that scatters so much that a count law would be deaf: index and dispersion.
const RAGGED: f64 = 10.0;
const RAGGED_DISPERSION: f64 = 0.5;
/// Times as much of the first two is needed where the readings were declared to be counts, and the third is not asked: a
/// law that is nearly deaf hears more of them than the family of values does.
const DECLARED: f64 = 6.0;
/// Share of each that it must fall below before a series of values is one of counts again; and index of dispersion, where
/// it was declared to be one.
const AGAIN: f64 = 0.5;
const TAME: f64 = 2.4;

/// A family of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Whole numbers, at least 0, typically up to 1,000, or 10,000 where declared to be counts: [`Series`].
    Counts,
    /// All others: [`Values`].
    Values,
}

/// What a series knows of its kind of numbers, whatever family reads them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Chooser {
    readings: u32,
    /// Readings since the family was chosen.
    held: u16,
    /// Share of readings that are no counts.
    odd: f32,
    /// `ln(1 + |x|)` of the typical reading.
    typical: f32,
    /// Sum of the squares that readings were off what was expected, and of what was expected; both
    /// fade. Of independent events the two are equal.
    squares: f32,
    expected: f32,
    /// Stretches of strange readings, fading.
    stretches: f32,
    /// Readings since the latest strange one.
    since: u16,
    /// Whether a reading below zero was met.
    signed: u8,
    /// Whether nobody said that the readings are counts.
    undeclared: u8,
}

impl Chooser {
    const NEW: Chooser = Chooser {
        readings: 0,
        held: HELD - FIRST,
        odd: 0.0,
        typical: 0.0,
        squares: PRIOR as f32,
        expected: PRIOR as f32,
        stretches: 0.0,
        since: APART,
        signed: 0,
        undeclared: 0,
    };

    fn learn(&mut self, x: f64) {
        let rate = (1.0 / HORIZON).max(1.0 / (self.readings as f64 + 1.0));
        let odd = if is_count(x) { 0.0 } else { 1.0 };
        self.signed |= u8::from(x < 0.0);
        self.odd += ((odd - f64::from(self.odd)) * rate) as f32;
        let off = ln_1p(x.abs()) - f64::from(self.typical);
        let step = rate
            * if self.readings < EARLY {
                off
            } else {
                off.clamp(-FARTHEST, FARTHEST)
            };
        self.typical += step as f32;
        self.readings = self.readings.saturating_add(1);
        self.held = self.held.saturating_add(1);
    }

    /// Index of dispersion: variance by mean, 1 of independent events.
    fn index(&self) -> f64 {
        f64::from(self.squares) / f64::from(self.expected)
    }

    /// Compares a reading with what was expected of it, under the count law that judged it (`said`: its surprise), or
    /// else that of this mean and the index so far. What is read while an incident is open says nothing of the scatter.
    fn compare(&mut self, x: f64, expected: f64, said: Option<f64>, calm: bool) {
        self.since = self.since.saturating_add(1);
        self.stretches *= (1.0 - 1.0 / STRANGE_MEMORY) as f32;
        if self.readings <= EARLY || !is_count(x) || !(0.0..=LARGEST).contains(&expected) {
            return;
        }
        let mean = expected.max(0.01);
        let index = self.index().max(1.0);
        let off = x - mean;
        let strange = said.map_or_else(
            || is_strange(x, mean, index),
            |surprise| surprise >= STRANGE && off.abs() >= STRANGE_LEAST,
        );
        if strange && self.readings > SETTLED {
            self.stretches += if self.since > APART { 1.0 } else { 0.0 };
            self.since = 0;
        }
        if !calm {
            return;
        }
        let belief = if strange { STRANGE_BELIEF } else { 1.0 };
        let square = (off * off).min(CLIP * index * mean + CLIP_COUNTS);
        let faded = |sum: f32, more: f64| {
            let sum = PRIOR + (f64::from(sum) - PRIOR) * (1.0 - 1.0 / HORIZON);
            (sum + belief * more) as f32
        };
        self.squares = faded(self.squares, square);
        self.expected = faded(self.expected, mean);
    }

    /// Whether the readings were declared to be counts.
    fn is_declared(&self) -> bool {
        self.undeclared == 0
    }

    /// Whether no count law describes what was read, by a share of what that takes.
    fn is_strange(&self, share: f64) -> bool {
        let (index, stretches) = (self.index(), f64::from(self.stretches));
        let share = if self.is_declared() {
            DECLARED * share
        } else {
            share
        };
        let is_scattered = index >= 1.0 + share * (SCATTERED - 1.0);
        let is_ragged = !self.is_declared()
            && index >= share * RAGGED
            && (index - 1.0) / self.typical().max(1.0) >= share * RAGGED_DISPERSION;
        is_scattered && stretches >= share * STRETCHES || stretches >= share * SPIKES || is_ragged
    }

    /// Whether what is read as values still is nothing that a count law would describe. Of what was declared to be counts,
    /// a law of its own has said so; to the law of one index, which is all there is to ask now, it may look tame. So its
    /// scatter has to be nearly that of independent events.
    fn stays_strange(&self) -> bool {
        self.is_declared() && self.index() >= TAME || self.is_strange(AGAIN)
    }

    /// The typical reading, without its sign.
    fn typical(&self) -> f64 {
        exp(f64::from(self.typical)) - 1.0
    }

    fn choose(&self, now: Family) -> Family {
        if !self.is_declared() && self.readings < UNDECLARED {
            return Family::Values;
        }
        if self.readings > EARLY && self.held < HELD {
            return now;
        }
        let odd = f64::from(self.odd);
        let larger = if self.is_declared() { LARGER } else { 1.0 };
        // Most need not be asked: 6 is the log of 403.
        let is_large = |least: f64| self.typical > 6.0 && self.typical() >= larger * least;
        if odd > ODD || is_large(LARGE) {
            return Family::Values;
        }
        match now {
            Family::Counts if self.is_strange(1.0) => Family::Values,
            Family::Values if odd < WHOLE && !is_large(SMALL) && !self.stays_strange() => {
                Family::Counts
            }
            _ => now,
        }
    }

    fn is_sound(&self) -> bool {
        let numbers = [self.odd, self.typical, self.squares, self.expected];
        numbers.iter().all(|v| v.is_finite()) && self.expected > 0.0 && self.stretches.is_finite()
    }
}

fn is_count(x: f64) -> bool {
    // What is too large for an i64 is whole; and the cast is no call, as `fract` is.
    x >= 0.0 && (x >= 9e15 || x as i64 as f64 == x)
}

/// Whether a reading surprises the count law of a mean and an index of dispersion by [`STRANGE`].
fn is_strange(x: f64, mean: f64, index: f64) -> bool {
    let off = x - mean;
    // No law of counts has so much within three deviations: the tail need not be asked.
    if off.abs() < STRANGE_LEAST || off * off < 9.0 * index * mean {
        return false;
    }
    let dispersion = (index - 1.0) / mean;
    let surprise = if off > 0.0 {
        tail::upper(x, mean, dispersion)
    } else {
        tail::lower(x, mean, dispersion)
    };
    surprise >= STRANGE
}

/// The state of the family chosen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Counts(Series),
    Values(Values),
}

/// One series of any kind: counts while its readings are counts, values otherwise.
///
/// Readings are counts while they are whole numbers of up to about a thousand (ten thousand, where they
/// were declared to be counts) *and* a count law describes them. That law says that they scatter as independent events do, or by a dispersion more,
/// and how often one lies far out. So two things are learned beside what the families do, of the
/// readings and what was expected of them: the index of dispersion, and in how many stretches a reading
/// was strange to the law of that index. A series that scatters more and is strange again and again
/// (tweets, travel times), one that is strange very often (spikes from zero), and one that scatters so
/// much that the law would be deaf (its standard deviation near its mean) is one of values.
///
/// Only the family chosen is kept: under 2 KB. When readings show for long that the other one fits,
/// it takes over. It does not begin blind: it is told what the old one foretold, as readings of the
/// last day with the scatter that was learned, and the shape of the day. So expectation and
/// scores go on as they were, and the first reading after it is judged. Its incidents go over with
/// it, and none is open then; the memory of sizes and the governor begin anew.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    chooser: Chooser,
    state: State,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A series that has read nothing, declared to be one of counts: of rows, or of whole numbers that are added up. It
    /// chooses otherwise where its readings do not bear it out.
    pub const fn new() -> Model {
        Model {
            chooser: Chooser::NEW,
            state: State::Counts(Series::new()),
        }
    }

    /// A series that has read nothing, of numbers of which nothing is said: one of values until enough of them have shown
    /// to be counts.
    pub const fn undeclared() -> Model {
        let mut chooser = Chooser::NEW;
        chooser.undeclared = 1;
        Model {
            chooser,
            state: State::Values(Values::new()),
        }
    }

    /// The family chosen now.
    pub fn family(&self) -> Family {
        match self.state {
            State::Counts(_) => Family::Counts,
            State::Values(_) => Family::Values,
        }
    }

    /// The count family's state, while it is chosen.
    pub fn counts(&self) -> Option<&Series> {
        match &self.state {
            State::Counts(series) => Some(series),
            State::Values(_) => None,
        }
    }

    /// The value family's state, while it is chosen.
    pub fn values(&self) -> Option<&Values> {
        match &self.state {
            State::Counts(_) => None,
            State::Values(values) => Some(values),
        }
    }

    /// The latest incidents: incident `k` (from 0) is at `k % 4`.
    pub fn recent(&self) -> &[Incident; REMEMBERED] {
        match &self.state {
            State::Counts(series) => &series.recent,
            State::Values(values) => &values.recent,
        }
    }

    /// Incidents opened so far, by whatever family.
    pub fn incidents(&self) -> u32 {
        match &self.state {
            State::Counts(series) => series.incidents,
            State::Values(values) => values.incidents,
        }
    }

    /// The latest incident, open or not.
    pub fn last_incident(&self) -> Option<&Incident> {
        incident::latest(self.recent(), self.incidents())
    }

    /// The incident that goes on, if one does.
    pub fn open_incident(&self) -> Option<&Incident> {
        self.last_incident().filter(|incident| incident.is_open())
    }

    /// Readings learned by the family chosen; a hand-over tells it some.
    pub fn readings(&self) -> u64 {
        match &self.state {
            State::Counts(series) => series.readings(),
            State::Values(values) => values.readings(),
        }
    }

    /// The last bucket learned; `i64::MIN` before the first.
    pub fn last_bucket(&self) -> i64 {
        match &self.state {
            State::Counts(series) => series.last_bucket(),
            State::Values(values) => values.last_bucket(),
        }
    }

    /// Whether too little was learned for a verdict.
    pub fn is_learning(&self) -> bool {
        match &self.state {
            State::Counts(series) => series.is_learning(),
            State::Values(values) => values.is_learning(),
        }
    }

    /// Readings that the family chosen learns for before it judges.
    pub fn learns_for(&self) -> u64 {
        match &self.state {
            State::Counts(series) => series.learns_for(),
            State::Values(values) => values.learns_for(),
        }
    }

    /// What its own incident says of the reading last learned, of a bucket.
    pub fn own(&self, bucket: i64) -> Own {
        match &self.state {
            State::Counts(series) => series.own(bucket),
            State::Values(values) => values.own(bucket),
        }
    }

    /// Judges a reading by the family chosen so far, learns it, and chooses again for the next one.
    /// NaN and infinity are no readings: nothing changes. (Nor is a negative number, to the count
    /// family; but it tells which family it is.)
    pub fn step(&mut self, x: f64, at: Moment, pace: Pace) -> Judgement {
        self.step_by(x, at, pace, &Tuning::SHIPPED).0
    }

    /// The same with other constants of the value family than those that ship, for the benchmark, as
    /// [`Values::step_by`]; and what the governor leaves of the surprise, in the same decades.
    pub fn step_by(&mut self, x: f64, at: Moment, pace: Pace, tuning: &Tuning) -> (Judgement, f64) {
        self.begin(x, at, pace);
        let spoken = match &mut self.state {
            State::Counts(series) => {
                let judgement = series.step(x, at, pace);
                (judgement, judgement.surprise)
            }
            State::Values(values) => {
                let judgement = values.step_by(x, at, pace, tuning);
                (
                    judgement.in_decades(),
                    judgement.governed_in_decades(tuning),
                )
            }
        };
        self.conclude(x, &spoken.0, at, pace);
        spoken
    }

    /// The same as [`step`](Model::step); where the verdict under a sensitivity is not normal, also which readings
    /// would have been.
    pub fn step_bounded(
        &mut self,
        x: f64,
        at: Moment,
        pace: Pace,
        sensitivity: &Sensitivity,
    ) -> (Judgement, Option<Bounds>) {
        self.begin(x, at, pace);
        let (judgement, bounds) = match &mut self.state {
            State::Counts(series) => series.step_bounded(x, at, pace, sensitivity),
            State::Values(values) => values.step_bounded(x, at, pace, sensitivity),
        };
        let bounds = bounds.map(|bounds| self.tidy(bounds, Some(x), judgement.expected));
        self.conclude(x, &judgement, at, pace);
        (judgement, bounds)
    }

    /// Moves the clock to a bucket, see [`Series::advance`].
    pub fn advance(&mut self, at: Moment, pace: Pace) {
        self.forget_if_old(at, pace);
        match &mut self.state {
            State::Counts(series) => series.advance(at, pace),
            State::Values(values) => values.advance(at, pace),
        }
    }

    /// Judges a reading of the bucket that was last advanced to. Changes nothing.
    pub fn judge(&self, x: f64) -> Judgement {
        match &self.state {
            State::Counts(series) => series.judge(x),
            State::Values(values) => values.judge(x).in_decades(),
        }
    }

    /// What the state foretells of the bucket that was last advanced to, see [`Series::foretell`].
    pub fn foretell(&self) -> Foretelling {
        match &self.state {
            State::Counts(series) => series.foretell(),
            State::Values(_) => Foretelling::NOTHING,
        }
    }

    /// [`judge`](Model::judge) by what was foretold.
    pub fn judge_by(&self, foretold: &Foretelling, x: f64) -> Judgement {
        match &self.state {
            State::Counts(series) => series.judge_by(foretold, x),
            State::Values(values) => values.judge(x).in_decades(),
        }
    }

    /// Learns a reading of the bucket that was last advanced to, given its judgement and what was foretold, and
    /// chooses the family for the next one: what [`step`](Model::step) does after judging.
    pub fn learn_by(
        &mut self,
        foretold: &Foretelling,
        x: f64,
        j: &Judgement,
        at: Moment,
        pace: Pace,
    ) {
        if self.begin(x, at, pace) {
            self.advance(at, pace);
        }
        match &mut self.state {
            State::Counts(series) => series.learn_by(foretold, x, j, at, pace),
            State::Values(values) => values.learn(x),
        }
        self.conclude(x, j, at, pace);
    }

    /// A series that starts anew chooses anew.
    fn forget_if_old(&mut self, at: Moment, pace: Pace) {
        let gap = at.bucket.saturating_sub(self.last_bucket());
        if self.readings() > 0 && is_forgotten(gap, pace.width()) {
            // Before anything is handed over, the family forgets what it knew.
            match &mut self.state {
                State::Counts(series) => series.advance(at, pace),
                State::Values(values) => values.advance(at, pace),
            }
            self.chooser = Chooser {
                signed: self.chooser.signed,
                undeclared: self.chooser.undeclared,
                ..Chooser::NEW
            };
        }
    }

    /// Takes a reading for the choice, before it is learned. The first one decides at once; gives whether it did so
    /// otherwise than before.
    fn begin(&mut self, x: f64, at: Moment, pace: Pace) -> bool {
        if !x.is_finite() {
            return false;
        }
        self.forget_if_old(at, pace);
        self.chooser.learn(x);
        let family = self.family();
        if self.chooser.readings == 1 {
            self.choose(at, pace);
        }
        family != self.family()
    }

    /// After a reading was learned that was judged so.
    fn conclude(&mut self, x: f64, j: &Judgement, at: Moment, pace: Pace) {
        if x.is_finite() {
            let calm = self.open_incident().is_none();
            let by_law = self.counts().is_some() && self.chooser.is_declared();
            let said = by_law.then(|| j.channels[Channel::Point as usize].abs());
            self.chooser.compare(x, j.expected, said, calm);
            self.choose(at, pace);
        }
    }

    /// Silence that nothing is learned of, see [`Series::stay_silent`].
    pub(crate) fn stay_silent(&mut self, buckets: u32, last: i64) {
        match &mut self.state {
            State::Counts(series) => series.stay_silent(buckets, last),
            State::Values(values) => values.stay_silent(buckets, last),
        }
    }

    /// The readings that would be judged normal under a sensitivity; those that this one is held against, where it is
    /// given (see [`Values::bounds_for`]).
    pub fn bounds_under(&self, x: Option<f64>, sensitivity: &Sensitivity) -> Bounds {
        match &self.state {
            State::Counts(series) => series.bounds_under(sensitivity),
            State::Values(values) => {
                let expected = values.judge(f64::NAN).expected;
                self.tidy(values.bounds_under(x, sensitivity), x, expected)
            }
        }
    }

    /// A series that has never read a number below zero will not be told that one is normal. One that has read nothing
    /// expects what comes first, whatever that is.
    fn tidy(&self, bounds: Bounds, x: Option<f64>, expected: f64) -> Bounds {
        if self.chooser.readings == 0
            || self.chooser.signed != 0
            || x.is_some_and(|x| x < 0.0)
            || expected < 0.0
        {
            return bounds;
        }
        Bounds {
            lower: bounds.lower.max(0.0),
            ..bounds
        }
    }

    /// The readings that would be judged normal in the bucket that was last advanced to.
    pub fn bounds(&self) -> Bounds {
        match &self.state {
            State::Counts(series) => series.bounds(),
            State::Values(values) => values.bounds(),
        }
    }

    /// The bounds that this reading is held against, see [`Values::bounds_for`]; of counts they are
    /// the same for all.
    pub fn bounds_for(&self, x: f64) -> Bounds {
        match &self.state {
            State::Counts(series) => series.bounds(),
            State::Values(values) => values.bounds_for(x),
        }
    }

    /// The readings that surprise by less than this, whether or not an incident is open.
    pub fn bounds_below(&self, surprise: f64) -> Bounds {
        match &self.state {
            State::Counts(series) => series.bounds_below(surprise),
            State::Values(values) => values.bounds_below(surprise),
        }
    }

    /// The part of the reading last learned in the volume of the monitor: values have none.
    pub fn part(&self) -> Part {
        match &self.state {
            State::Counts(series) => series.part(),
            State::Values(_) => Part::default(),
        }
    }

    /// Notes the volume of the monitor, see [`Series::note_volume`]; values are judged alone.
    pub fn note_volume(&mut self, volume: &Sums) {
        if let State::Counts(series) = &mut self.state {
            series.note_volume(volume);
        }
    }

    /// Chooses the family for what comes after the bucket of `at`. While an incident is open the
    /// family stays.
    fn choose(&mut self, at: Moment, pace: Pace) {
        let family = self.chooser.choose(self.family());
        if family == self.family() || self.open_incident().is_some() {
            return;
        }
        self.chooser.held = 0;
        let (recent, incidents) = (*self.recent(), self.incidents());
        self.state = match &self.state {
            State::Counts(series) => {
                let mut values = values_after(series, self.chooser.index(), at, pace);
                values.inherit(recent, incidents);
                State::Values(values)
            }
            State::Values(values) => {
                let mut series = counts_after(values, at, pace);
                series.inherit(recent, incidents);
                State::Counts(series)
            }
        };
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.chooser.is_sound()
            && match &self.state {
                State::Counts(series) => series.is_finite(),
                State::Values(values) => values.is_sound(),
            }
    }
}

/// A series of values that goes on where one of counts ends, with this index of dispersion.
fn values_after(series: &Series, index: f64, at: Moment, pace: Pace) -> Values {
    let mut values = Values::new();
    if series.readings() < u64::from(EARLY) {
        return values;
    }
    for weekend in [false, true] {
        for hour in 0..24 {
            let minute = 60 * hour + 30;
            if let Some((mean, days)) = series.usual(minute, weekend, pace) {
                values.tell_hour(
                    mean,
                    days,
                    Moment {
                        bucket: 0,
                        minute,
                        weekend,
                    },
                    pace,
                );
            }
        }
    }
    for moment in before(at, series.readings(), pace) {
        let (mean, deviation) = series.retold(at, moment, pace);
        let deviation = deviation.max((index * mean).sqrt());
        values.step(mean + deviation * scatter(moment.bucket), moment, pace);
    }
    values
}

/// A series of counts that goes on where one of values ends.
fn counts_after(values: &Values, at: Moment, pace: Pace) -> Series {
    let mut series = Series::new();
    if values.readings() < u64::from(EARLY) {
        return series;
    }
    for moment in before(at, values.readings(), pace) {
        let (mean, deviation) = values.retold(at, moment);
        let x = (mean + deviation * scatter(moment.bucket)).round().max(0.0);
        if is_reading(x) {
            series.step(x, moment, pace);
        }
    }
    series
}

/// The buckets up to and including that of `at`, oldest first. The kind of day is taken to be the
/// same.
fn before(at: Moment, readings: u64, pace: Pace) -> impl Iterator<Item = Moment> {
    let width = pace.width();
    let readings = readings as f64;
    let told = (f64::from(DAY) / width)
        .min(TOLD_MOST)
        .min(TOLD_SHARE * readings)
        .max(TOLD_LEAST.min(readings)) as i64;
    (0..told).rev().map(move |back| {
        let minute = f64::from(at.minute % DAY) - back as f64 * width;
        Moment {
            bucket: at.bucket.saturating_sub(back),
            minute: minute.rem_euclid(f64::from(DAY)) as u16 % DAY,
            weekend: at.weekend,
        }
    })
}

/// A number of mean 0 and variance 1, nearly normal, that is always the same for a bucket: the sum
/// of four uniform ones.
fn scatter(bucket: i64) -> f64 {
    // SplitMix64 (Steele, Lea and Flood 2014), 16 bits at a time.
    let mut z = (bucket as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let sum: u64 = (0..4).map(|part| (z >> (16 * part)) & 0xffff).sum();
    (sum as f64 / 65_536.0 - 2.0) * 3f64.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scatter_has_mean_0_and_variance_1() {
        let numbers: Vec<f64> = (0..10_000).map(scatter).collect();
        let mean = numbers.iter().sum::<f64>() / 1e4;
        let square = numbers.iter().map(|v| v * v).sum::<f64>() / 1e4;
        assert!(
            mean.abs() < 0.05 && (square - 1.0).abs() < 0.05,
            "{mean} {square}"
        );
    }
}
