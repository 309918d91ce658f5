//! The state of a series of values: advance, judge, learn.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::incident::{self, Closing, Event, Incident, OPEN, QUIET, REMEMBERED};
use crate::judgement::{Channel as Speaks, Judgement, Verdict};
use crate::lifecycle::Own;
use crate::moment::{Moment, Pace};
use crate::sensitivity::Sensitivity;
use crate::series::is_forgotten;

use super::channel::{Channel, Opinion};
use super::drift::{self, Drift};
use super::governor::{self, Governor, Ruling};
use super::hours::Hours;
use super::judgement::{weighed, Look, ValueJudgement, LOOKS};
use super::life::{self, Life};
use super::outlook::Outlook;
use super::scale::rate;
use super::tuning::Tuning;

/// Readings beyond this size are read as this: their squares must be numbers.
pub(super) const LARGEST: f64 = 1e140;
/// Readings from which what is learned is clipped.
const CLIPPED: u64 = 20;
/// Gap, in readings, after which the short means begin anew.
const FORGOTTEN_SHORT: i64 = 5;

/// The state of one series of values: fixed size, plain data, deterministic.
///
/// A bucket is read in three steps, as of a [`Series`](crate::Series):
/// [`advance`](Values::advance) moves the clock, [`judge`](Values::judge) says what a reading would
/// mean and changes nothing, [`learn`](Values::learn) takes it; [`step`](Values::step) does all
/// three. NaN and infinity are no readings: nothing changes. Readings may be of any sign and scale;
/// a series scaled by a power of two is judged the same, bit by bit. A bucket that is left out is
/// one without a reading.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// The latest incidents: incident `k` (from 0) is at `k % 4`.
    pub recent: [Incident; REMEMBERED],
    readings: u64,
    last_bucket: i64,
    /// The bucket last advanced to: its number, seconds, place in the calendar.
    now: i64,
    seconds: f64,
    minute: u16,
    weekend: u8,
    spare: u8,
    /// Incidents opened so far.
    pub incidents: u32,
    /// Mean over the last 80 readings.
    level: f64,
    /// Mean over 40 minutes of the readings, and of their distances from their hours.
    short: f64,
    short_off_hour: f64,
    drift: Drift,
    governor: Governor,
    life: Life,
    hours: Hours,
    channels: [Channel; LOOKS],
}

impl Default for Values {
    fn default() -> Self {
        Self::new()
    }
}

/// What one reading looks like from the state before it.
pub(super) struct View {
    residuals: [f64; LOOKS],
    opinions: [Opinion; LOOKS],
    usual: f64,
    short: f64,
    short_off_hour: f64,
    expected: f64,
    apart: u32,
    ruling: Ruling,
    judgement: ValueJudgement,
}

impl Values {
    /// A series that has read nothing.
    pub const fn new() -> Values {
        Values {
            recent: [Incident::NONE; REMEMBERED],
            readings: 0,
            last_bucket: i64::MIN,
            now: i64::MIN,
            seconds: 60.0,
            minute: 0,
            weekend: 0,
            spare: 0,
            incidents: 0,
            level: 0.0,
            short: 0.0,
            short_off_hour: 0.0,
            drift: Drift::NEW,
            governor: Governor::NEW,
            life: Life::NEW,
            hours: Hours::NEW,
            channels: [Channel::NEW; LOOKS],
        }
    }

    /// Readings learned.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// The last bucket learned; `i64::MIN` before the first.
    pub fn last_bucket(&self) -> i64 {
        self.last_bucket
    }

    /// The latest incident, open or not.
    pub fn last_incident(&self) -> Option<&Incident> {
        incident::latest(&self.recent, self.incidents)
    }

    /// The incident that goes on, if one does.
    pub fn open_incident(&self) -> Option<&Incident> {
        self.last_incident().filter(|incident| incident.is_open())
    }

    /// Advances, judges and learns one reading. What is no reading changes nothing.
    pub fn step(&mut self, x: f64, at: Moment, pace: Pace) -> ValueJudgement {
        self.step_by(x, at, pace, &Tuning::SHIPPED)
    }

    /// [`step`](Values::step) with other constants than those that ship: for the benchmark. A state
    /// has to be read with the same constants all its life.
    pub fn step_by(&mut self, x: f64, at: Moment, pace: Pace, tuning: &Tuning) -> ValueJudgement {
        if !x.is_finite() {
            return self.learning(None, tuning);
        }
        self.advance(at, pace);
        let x = x.clamp(-LARGEST, LARGEST);
        self.start(x);
        let view = self.view(x, tuning);
        self.learn_view(x, &view, tuning);
        view.judgement
    }

    /// [`step`](Values::step) in the decades of all families, as [`Series`](crate::Series) has it: where the verdict under a
    /// sensitivity is not normal, also which values would have been.
    pub(crate) fn step_bounded(
        &mut self,
        x: f64,
        at: Moment,
        pace: Pace,
        sensitivity: &Sensitivity,
    ) -> (Judgement, Option<Bounds>) {
        let tuning = &Tuning::SHIPPED;
        self.advance(at, pace);
        if self.readings == 0 || !x.is_finite() {
            let judgement = self.judge(x).in_decades();
            self.learn(x);
            return (judgement, None);
        }
        let x = x.clamp(-LARGEST, LARGEST);
        let view = self.view(x, tuning);
        let judgement = view.judgement.in_decades();
        let anomalous = sensitivity.verdict(&judgement, true) >= Verdict::Warning;
        let bounds = anomalous.then(|| self.bounds_under(Some(x), sensitivity));
        self.learn_view(x, &view, tuning);
        (judgement, bounds)
    }

    /// Moves the clock to a bucket. To be called once before that bucket is judged or learned.
    /// After a gap the short means begin anew, after one of 100 days (and a week of minutes at
    /// least) the series does: what was learned before says nothing of today.
    pub fn advance(&mut self, at: Moment, pace: Pace) {
        let width = pace.width();
        let gap = at.bucket.saturating_sub(self.last_bucket);
        if self.readings > 0 && gap > FORGOTTEN_SHORT {
            if is_forgotten(gap, width) {
                self.start_anew(at.bucket);
            } else {
                self.short = self.level;
                self.short_off_hour = 0.0;
                self.drift = Drift::NEW;
            }
        }
        self.now = at.bucket;
        self.seconds = 60.0 * width;
        self.minute = at.minute;
        self.weekend = u8::from(at.weekend);
    }

    /// Forgets all but its incidents.
    fn start_anew(&mut self, bucket: i64) {
        if let Some(incident) = self.open_one() {
            incident.close(Closing::Resolved, bucket);
        }
        *self = Values {
            recent: self.recent,
            incidents: self.incidents,
            ..Values::new()
        };
    }

    /// Takes over the incidents of a series that this one goes on from, none of them open.
    pub(crate) fn inherit(&mut self, recent: [Incident; REMEMBERED], incidents: u32) {
        self.recent = recent;
        self.incidents = incidents;
        self.life = Life::NEW;
        self.governor = Governor::NEW;
    }

    fn open_one(&mut self) -> Option<&mut Incident> {
        incident::open_one(&mut self.recent, self.incidents)
    }

    fn moment(&self) -> Moment {
        Moment {
            bucket: self.now,
            minute: self.minute,
            weekend: self.weekend != 0,
        }
    }

    /// Judges a reading of the bucket that was last advanced to. Changes nothing. What is no reading
    /// is judged as by a series that is still learning.
    pub fn judge(&self, x: f64) -> ValueJudgement {
        let tuning = &Tuning::SHIPPED;
        if !x.is_finite() {
            return self.learning(None, tuning);
        }
        let x = x.clamp(-LARGEST, LARGEST);
        if self.readings == 0 {
            return self.learning(Some(x), tuning);
        }
        self.view(x, tuning).judgement
    }

    /// Takes a reading of the bucket last advanced to: opens, carries on and ends incidents, then
    /// learns. What is no reading changes nothing.
    pub fn learn(&mut self, x: f64) {
        if !x.is_finite() {
            return;
        }
        let tuning = &Tuning::SHIPPED;
        let x = x.clamp(-LARGEST, LARGEST);
        self.start(x);
        let view = self.view(x, tuning);
        self.learn_view(x, &view, tuning);
    }

    /// The values around what is expected that are normal by themselves in the bucket that was last
    /// advanced to; see [`bounds_for`](Values::bounds_for).
    pub fn bounds(&self) -> Bounds {
        self.outlook(&Tuning::SHIPPED).bounds(self.life.direction())
    }

    /// The bounds that a reading is held against: it lies outside exactly where its own surprise
    /// ([`ValueJudgement::itself`]) is that of a warning, or not quiet while an incident is open on
    /// its side. `lower <= expected <= upper`.
    ///
    /// Sizes that were seen often are normal, where smaller ones that were never seen are not. So
    /// bounds reach from what is expected to the first reading that is not normal; where the reading
    /// in hand is normal all the same, they reach to it.
    pub fn bounds_for(&self, x: f64) -> Bounds {
        self.outlook(&Tuning::SHIPPED)
            .bounds_for(x.clamp(-LARGEST, LARGEST), self.life.direction())
    }

    /// The values around what is expected that surprise by less than this (in the decades of a
    /// [`Judgement`](crate::Judgement)), whether or not an incident is open.
    pub fn bounds_below(&self, surprise: f64) -> Bounds {
        self.outlook(&Tuning::SHIPPED).bounds_below(surprise)
    }

    /// The bounds under a sensitivity; those that a reading is held against, where there is one.
    pub fn bounds_under(&self, x: Option<f64>, sensitivity: &Sensitivity) -> Bounds {
        let outlook = Outlook {
            warning: sensitivity.warning,
            held_from: sensitivity.held_from(),
            ..self.outlook(&Tuning::SHIPPED)
        };
        let held = self.life.direction();
        let bounds = match x {
            Some(x) => outlook.bounds_for(x.clamp(-LARGEST, LARGEST), held),
            None => outlook.bounds(held),
        };
        sensitivity.widen_value(bounds, outlook.expected)
    }

    /// What its own incident says of the reading last learned, of a bucket.
    pub fn own(&self, bucket: i64) -> Own {
        let open = (self.life.direction(), self.life.is_calm());
        Own::after(open, self.last_incident(), bucket)
    }

    /// Whether too little was learned for a verdict.
    pub fn is_learning(&self) -> bool {
        self.readings < self.learns_for()
    }

    /// Readings that it learns for before it judges.
    pub fn learns_for(&self) -> u64 {
        Tuning::SHIPPED.warm as u64
    }

    /// Silence that nothing is learned of: buckets without data up to `last`. The incident that is open counts them.
    pub fn stay_silent(&mut self, buckets: u32, last: i64) {
        if let Some(incident) = self.open_one() {
            incident.stay_silent(buckets, last);
        }
    }

    /// An hour that was read elsewhere: the mean of a reading, over so many days.
    pub(crate) fn tell_hour(&mut self, mean: f64, days: u8, at: Moment, pace: Pace) {
        let readings = f64::from(days) * (60.0 / pace.width()).max(1.0);
        self.hours.tell(mean, readings, at);
    }

    /// What the series would say now of a bucket near that of `now`: mean and standard deviation.
    pub(crate) fn retold(&self, now: Moment, then: Moment) -> (f64, f64) {
        let usual = |at: Moment| self.hours.usual(at, &Tuning::SHIPPED);
        let now_usual = usual(now);
        let rise = usual(then) - now_usual;
        let scale = |look: Look| self.channels[look as usize].scale.deviation();
        let deviation = scale(Look::Level).min(scale(Look::Hour));
        (self.expected(now_usual) + rise, deviation)
    }

    fn start(&mut self, x: f64) {
        if self.readings == 0 {
            self.level = x;
            self.short = x;
            self.hours.start(x);
        }
    }

    fn learning(&self, first: Option<f64>, tuning: &Tuning) -> ValueJudgement {
        let usual = self.hours.usual(self.moment(), tuning);
        let known = (self.readings > 0).then(|| self.expected(usual));
        let expected = known.or(first).unwrap_or(0.0);
        ValueJudgement {
            surprise: 0.0,
            itself: 0.0,
            governed: 0.0,
            calmed: 0.0,
            may_open: true,
            direction: 0,
            side: 0,
            held: 0,
            look: Look::Level,
            channel: Speaks::None,
            expected,
            learning: true,
            opens: false,
            open: governor::open(self.seconds, tuning),
            looks: [0.0; LOOKS],
            span: 1,
            span_observed: first.unwrap_or(expected),
            span_expected: expected,
        }
    }

    /// The level and the usual value of the hour, weighted by their precision.
    fn expected(&self, usual: f64) -> f64 {
        let level = self.channels[Look::Level as usize].scale.mean();
        let hour = self.channels[Look::Hour as usize].scale.mean();
        let largest = level.max(hour);
        if largest == 0.0 {
            return self.level;
        }
        let (level, hour) = ((level / largest).powi(2), (hour / largest).powi(2));
        let expected = self.level + (usual - self.level) * (level / (level + hour));
        expected.clamp(self.level.min(usual), self.level.max(usual))
    }

    /// Readings that a short mean holds.
    fn held(&self, tuning: &Tuning) -> f64 {
        (tuning.short / self.seconds)
            .min(tuning.short_most)
            .max(1.0)
    }

    fn outlook<'a>(&'a self, tuning: &'a Tuning) -> Outlook<'a> {
        let usual = self.hours.usual(self.moment(), tuning);
        Outlook {
            level: self.level,
            usual,
            expected: self.expected(usual),
            channels: [
                &self.channels[Look::Level as usize],
                &self.channels[Look::Hour as usize],
            ],
            readings: self.readings,
            apart: governor::apart(self.seconds, tuning),
            handicap: tuning.handicap * self.held(tuning).log10(),
            open: governor::open(self.seconds, tuning),
            warning: OPEN,
            held_from: QUIET,
            tuning,
        }
    }

    fn view(&self, x: f64, tuning: &Tuning) -> View {
        let n = self.readings;
        let held = self.held(tuning);
        let outlook = self.outlook(tuning);
        let (usual, expected, apart) = (outlook.usual, outlook.expected, outlook.apart);
        let gain = rate(held, n);
        let short = self.short + (x - self.short) * gain;
        let short_off_hour = self.short_off_hour + (x - usual - self.short_off_hour) * gain;
        let residuals = [
            x - self.level,
            x - usual,
            short - self.level,
            short_off_hour,
            self.drift.with(x - expected),
        ];
        let mut view = View {
            residuals,
            opinions: [Opinion::NONE; LOOKS],
            usual,
            short,
            short_off_hour,
            expected,
            apart,
            ruling: Ruling::NONE,
            judgement: self.learning(Some(x), tuning),
        };
        if (n as f64) < tuning.warm {
            return view;
        }
        for (look, opinion) in Look::ALL.into_iter().zip(&mut view.opinions) {
            let (channel, residual) = (&self.channels[look as usize], residuals[look as usize]);
            *opinion = if look == Look::Drift {
                channel.judge_mean(residual, n, apart, tuning)
            } else {
                channel.judge(residual, n, apart, tuning)
            };
        }
        let looks = view.opinions.map(|opinion| opinion.surprise);
        let itself = outlook.both(x, looks[Look::Level as usize], looks[Look::Hour as usize]);
        let sustained = sustained(&looks, tuning);
        let drift = if self.drift.is_steady_with(x - expected) {
            (looks[Look::Drift as usize] - tuning.drift).max(0.0)
        } else {
            0.0
        };
        let surprise = itself.max(sustained).max(drift);
        let louder = if looks[Look::ShortHour as usize] > looks[Look::ShortLevel as usize] {
            Look::ShortHour
        } else {
            Look::ShortLevel
        };
        let side = sign(x - expected);
        let j = &mut view.judgement;
        (j.learning, j.surprise, j.itself, j.looks) = (false, surprise, itself, looks);
        (j.side, j.held) = (side, self.life.direction());
        if itself >= surprise || itself >= j.open {
            // A reading that is not normal speaks for itself.
            j.channel = Speaks::Value;
            j.direction = side;
            j.look = if looks[Look::Hour as usize] > looks[Look::Level as usize] {
                Look::Hour
            } else {
                Look::Level
            };
        } else if sustained >= surprise {
            j.channel = Speaks::Short;
            j.look = louder;
            j.span = held.round() as u32;
            j.span_observed = short;
            j.span_expected = short - residuals[louder as usize];
        } else {
            j.channel = Speaks::Drift;
            j.look = Look::Drift;
            j.span = drift::LENGTH as u32;
            j.span_expected = self.drift.expected_with(expected);
            j.span_observed = j.span_expected + residuals[Look::Drift as usize];
        }
        if j.channel != Speaks::Value {
            j.direction = sign(residuals[j.look as usize]);
        }
        view.ruling = self.governor.rule(surprise, self.seconds, tuning);
        (j.governed, j.calmed) = (view.ruling.governed, view.ruling.calmed);
        j.may_open = !self.life.is_accepted(j.direction);
        j.opens = view.ruling.anomalous && self.life.may_open(j.direction);
        view
    }

    fn learn_view(&mut self, x: f64, view: &View, tuning: &Tuning) {
        let n = self.readings;
        let event = self.life.observe(
            view.ruling,
            view.judgement.direction,
            life::quiet_after(view.apart),
            self.seconds,
        );
        let j = &view.judgement;
        let quiet = j.side != self.life.direction() || weighed(j.itself, j.open) < QUIET;
        self.life.note(event, j.channel == Speaks::Value, quiet);
        self.record(event, x, view, tuning);
        self.governor
            .learn(event == Event::Opens, self.seconds, tuning);
        for ((channel, residual), opinion) in self
            .channels
            .iter_mut()
            .zip(view.residuals)
            .zip(view.opinions)
        {
            channel.learn(residual, opinion, n, view.apart, tuning);
        }
        self.level += self.clipped(x - self.level, Look::Level, tuning) * rate(tuning.level, n);
        let at_hour = view.usual + self.clipped(x - view.usual, Look::Hour, tuning);
        self.hours.learn(at_hour, self.moment(), n, tuning);
        self.short = view.short;
        self.short_off_hour = view.short_off_hour;
        self.drift.learn(x - view.expected, view.expected);
        if event == Event::Closes(Closing::Accepted) {
            // What the short mean shows is the new level; the hours follow within days.
            self.level = view.short;
            self.drift = Drift::NEW;
        }
        self.readings = n.saturating_add(1);
        self.last_bucket = self.now;
    }

    /// Keeps the figures of incidents.
    fn record(&mut self, event: Event, x: f64, view: &View, tuning: &Tuning) {
        let bucket = self.now;
        if event == Event::Opens {
            // The bounds of before: no incident was open.
            let bounds = self.outlook(tuning).bounds_for(x, 0);
            let incident = Incident::opened_by(&view.judgement.in_decades(), x, bounds, bucket);
            self.recent[self.incidents as usize % REMEMBERED] = incident;
            self.incidents = self.incidents.saturating_add(1);
            return;
        }
        let Some(incident) = self.open_one() else {
            return;
        };
        incident.goes_on(&view.judgement.in_decades(), x, bucket);
        if let Event::Closes(closing) = event {
            incident.close(closing, bucket);
        }
    }

    /// A residual as a level learns it: an incident moves it, but not by any amount.
    fn clipped(&self, residual: f64, look: Look, tuning: &Tuning) -> f64 {
        let most = tuning.clip * self.channels[look as usize].scale.mean();
        if self.readings > CLIPPED && most > 0.0 {
            residual.clamp(-most, most)
        } else {
            residual
        }
    }

    /// Whether the numbers are such as a state can hold.
    pub(crate) fn is_sound(&self) -> bool {
        [self.level, self.short, self.short_off_hour]
            .iter()
            .all(|v| v.is_finite())
            && self.seconds.is_finite()
            && self.seconds > 0.0
            && self.recent.iter().all(Incident::is_finite)
            && self.drift.is_sound()
            && self.governor.is_sound()
            && self.hours.is_sound()
            && self.channels.iter().all(Channel::is_sound)
    }
}

/// Of the looks at the short mean, the louder one speaks for three quarters.
fn sustained(looks: &[f64; LOOKS], tuning: &Tuning) -> f64 {
    let (level, hour) = (
        looks[Look::ShortLevel as usize],
        looks[Look::ShortHour as usize],
    );
    let louder = level.max(hour);
    (louder + tuning.quieter * (level.min(hour) - louder)).max(0.0)
}

fn sign(residual: f64) -> i8 {
    if residual > 0.0 {
        1
    } else if residual < 0.0 {
        -1
    } else {
        0
    }
}
