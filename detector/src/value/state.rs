//! The state of a series of values: judge, learn.

use serde::{Deserialize, Serialize};

use crate::moment::{Moment, Pace};

use super::channel::{Channel, Opinion};
use super::governor::{self, Governor, Ruling};
use super::hours::Hours;
use super::judgement::{Look, ValueJudgement, LOOKS};
use super::scale::rate;
use super::tuning::Tuning;

/// Readings beyond this size are read as this: their squares must be numbers.
const LARGEST: f64 = 1e140;
/// Readings from which what is learned is clipped.
const CLIPPED: u64 = 20;

/// The state of one series of values: fixed size, plain data, deterministic.
///
/// [`judge`](Values::judge) says what a reading would mean and changes nothing,
/// [`learn`](Values::learn) takes it, [`step`](Values::step) does both. NaN and infinity are no
/// readings: nothing changes. Readings may be of any sign and scale; a series scaled by a power of
/// two is judged the same, bit by bit.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Values {
    readings: u64,
    /// Mean over the last 80 readings.
    level: f64,
    /// Mean over 40 minutes of the readings, and of their distances from their hours.
    short: f64,
    short_off_hour: f64,
    governor: Governor,
    hours: Hours,
    channels: [Channel; LOOKS],
}

impl Default for Values {
    fn default() -> Self {
        Self::new()
    }
}

/// What one reading looks like from the state before it.
struct View {
    residuals: [f64; LOOKS],
    opinions: [Opinion; LOOKS],
    usual: f64,
    short: f64,
    short_off_hour: f64,
    apart: u32,
    ruling: Ruling,
    judgement: ValueJudgement,
}

impl Values {
    /// A series that has read nothing.
    pub const fn new() -> Values {
        Values {
            readings: 0,
            level: 0.0,
            short: 0.0,
            short_off_hour: 0.0,
            governor: Governor::NEW,
            hours: Hours::NEW,
            channels: [Channel::NEW; LOOKS],
        }
    }

    /// Readings learned.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// Judges and learns one reading. What is no reading changes nothing.
    pub fn step(&mut self, x: f64, at: Moment, pace: Pace) -> ValueJudgement {
        self.step_by(x, at, pace, &Tuning::SHIPPED)
    }

    /// [`step`](Values::step) with other constants than those that ship: for the benchmark. A state
    /// has to be read with the same constants all its life.
    pub fn step_by(&mut self, x: f64, at: Moment, pace: Pace, tuning: &Tuning) -> ValueJudgement {
        if !x.is_finite() {
            return self.learning(None, at, tuning);
        }
        let x = x.clamp(-LARGEST, LARGEST);
        self.start(x);
        let view = self.view(x, at, pace, tuning);
        self.learn_view(x, &view, at, pace, tuning);
        view.judgement
    }

    /// Judges a reading. Changes nothing. What is no reading is judged as by a series that is still
    /// learning.
    pub fn judge(&self, x: f64, at: Moment, pace: Pace) -> ValueJudgement {
        let tuning = &Tuning::SHIPPED;
        if !x.is_finite() {
            return self.learning(None, at, tuning);
        }
        let x = x.clamp(-LARGEST, LARGEST);
        if self.readings == 0 {
            return self.learning(Some(x), at, tuning);
        }
        self.view(x, at, pace, tuning).judgement
    }

    /// Takes a reading. What is no reading changes nothing.
    pub fn learn(&mut self, x: f64, at: Moment, pace: Pace) {
        self.step(x, at, pace);
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

    fn learning(&self, first: Option<f64>, at: Moment, tuning: &Tuning) -> ValueJudgement {
        let known = (self.readings > 0).then(|| self.expected(self.hours.usual(at, tuning)));
        ValueJudgement {
            surprise: 0.0,
            governed: 0.0,
            direction: 0,
            look: Look::Level,
            expected: known.or(first).unwrap_or(0.0),
            learning: true,
            opens: false,
            anomalous: false,
            margin: -tuning.open,
            looks: [0.0; LOOKS],
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
        self.level + (usual - self.level) * (level / (level + hour))
    }

    fn view(&self, x: f64, at: Moment, pace: Pace, tuning: &Tuning) -> View {
        let seconds = 60.0 * pace.width();
        let n = self.readings;
        let held = (tuning.short / seconds).min(tuning.short_most).max(1.0);
        let usual = self.hours.usual(at, tuning);
        let gain = rate(held, n);
        let short = self.short + (x - self.short) * gain;
        let short_off_hour = self.short_off_hour + (x - usual - self.short_off_hour) * gain;
        let residuals = [
            x - self.level,
            x - usual,
            short - self.level,
            short_off_hour,
        ];
        let apart = governor::apart(seconds, tuning);
        let learning = (n as f64) < tuning.warm;
        let mut opinions = [Opinion::NONE; LOOKS];
        if !learning {
            for ((opinion, channel), residual) in
                opinions.iter_mut().zip(&self.channels).zip(residuals)
            {
                *opinion = channel.judge(residual, n, apart, tuning);
            }
        }
        let looks = opinions.map(|opinion| opinion.surprise);
        let surprise = combine(&looks, held, tuning);
        let ruling = if learning {
            Ruling {
                governed: 0.0,
                anomalous: false,
                opens: false,
            }
        } else {
            self.governor.rule(surprise, seconds, tuning)
        };
        let look = loudest(&looks);
        let judgement = if learning {
            self.learning(Some(x), at, tuning)
        } else {
            ValueJudgement {
                surprise,
                governed: ruling.governed,
                direction: sign(residuals[look as usize]),
                look,
                expected: self.expected(usual),
                learning,
                opens: ruling.opens,
                anomalous: ruling.anomalous,
                margin: ruling.governed - tuning.open,
                looks,
            }
        };
        View {
            residuals,
            opinions,
            usual,
            short,
            short_off_hour,
            apart,
            ruling,
            judgement,
        }
    }

    fn learn_view(&mut self, x: f64, view: &View, at: Moment, pace: Pace, tuning: &Tuning) {
        let n = self.readings;
        self.governor
            .learn(view.ruling, 60.0 * pace.width(), tuning);
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
        self.hours.learn(at_hour, at, n, tuning);
        self.short = view.short;
        self.short_off_hour = view.short_off_hour;
        self.readings = n.saturating_add(1);
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
            && self.governor.is_sound()
            && self.hours.is_sound()
            && self.channels.iter().all(Channel::is_sound)
    }
}

/// The surprise of a reading from those of its looks. The two at the reading itself speak by their
/// mean, less a handicap; of the two at the short mean, the louder one speaks for three quarters.
fn combine(looks: &[f64; LOOKS], held: f64, tuning: &Tuning) -> f64 {
    let [level, hour, short_level, short_hour] = *looks;
    let itself = 0.5 * (level + hour) - tuning.handicap * held.log10();
    let louder = short_level.max(short_hour);
    let quieter = short_level.min(short_hour);
    let sustained = louder + tuning.quieter * (quieter - louder);
    itself.max(sustained).max(0.0)
}

fn loudest(looks: &[f64; LOOKS]) -> Look {
    Look::ALL.into_iter().fold(Look::Level, |best, look| {
        if looks[look as usize] > looks[best as usize] {
            look
        } else {
            best
        }
    })
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
