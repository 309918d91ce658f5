//! Counts or values: a series that chooses its family itself, and chooses again.

use serde::{Deserialize, Serialize};

use crate::judgement::Verdict;
use crate::moment::{Moment, Pace, DAY};
use crate::score::score;
use crate::series::{is_reading, Series};
use crate::value::Values;

/// Readings over which what kind of numbers they are is forgotten.
const HORIZON: f64 = 1000.0;
/// Share of readings that are no counts from which a series is one of values, and below which it may
/// be one of counts again.
const ODD: f64 = 0.02;
const WHOLE: f64 = 0.001;
/// Typical reading above which counts are read as values, and below which they may be counts again:
/// the negative binomial law holds to about 300, and is usable to 1,000.
const LARGE: f64 = 1000.0;
const SMALL: f64 = 500.0;
/// A reading moves the log of the typical one as if it were off by no more than this: an incident
/// does not change what a series is.
const FARTHEST: f64 = 1.0;
/// Readings that a choice holds, once the series judges.
const HELD: u64 = 1000;
/// Readings before any family judges: until then, choosing again costs nothing.
const EARLY: u64 = 30;
/// Readings that the new family is told of at a hand-over: a day of them, but no fewer and no more
/// than this. A day of minutes takes about a millisecond, at most once in [`HELD`] readings.
const TOLD_LEAST: f64 = 160.0;
const TOLD_MOST: f64 = 1440.0;

/// A family of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Whole numbers, at least 0, typically up to 1,000: [`Series`].
    Counts,
    /// All others: [`Values`].
    Values,
}

/// What a series knows of its kind of numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chooser {
    readings: u64,
    /// Readings since the family was chosen.
    held: u64,
    /// Share of readings that are no counts.
    odd: f64,
    /// `ln(1 + |x|)` of the typical reading.
    typical: f64,
}

impl Chooser {
    const NEW: Chooser = Chooser {
        readings: 0,
        held: 0,
        odd: 0.0,
        typical: 0.0,
    };

    fn learn(&mut self, x: f64) {
        let rate = (1.0 / HORIZON).max(1.0 / (self.readings as f64 + 1.0));
        let odd = if x < 0.0 || x.fract() != 0.0 {
            1.0
        } else {
            0.0
        };
        self.odd += (odd - self.odd) * rate;
        let off = x.abs().ln_1p() - self.typical;
        self.typical += rate
            * if self.readings < EARLY {
                off
            } else {
                off.clamp(-FARTHEST, FARTHEST)
            };
        self.readings = self.readings.saturating_add(1);
        self.held = self.held.saturating_add(1);
    }

    fn choose(&self, now: Family) -> Family {
        if self.readings > EARLY && self.held < HELD {
            return now;
        }
        let typical = self.typical.exp() - 1.0;
        if self.odd > ODD || typical > LARGE {
            Family::Values
        } else if self.odd < WHOLE && typical < SMALL {
            Family::Counts
        } else {
            now
        }
    }
}

/// The state of the family chosen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "states live in place, in slots of one size"
)]
enum State {
    Counts(Series),
    Values(Values),
}

/// One series of any kind: counts while its readings are counts, values otherwise.
///
/// Only the family chosen is kept: under 2 KB. When readings show for long that the other one fits,
/// it takes over. It does not begin blind: it is told what the old one foretold, as readings of the
/// last day with the scatter that was learned, and the shape of the day. So expectation and
/// scores go on as they were, and the first reading after it is judged. Incidents that the count
/// family remembers end with it, and the memory of sizes begins anew.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    chooser: Chooser,
    state: State,
}

/// What judging a reading gave, of either family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assessment {
    /// The family that judged.
    pub family: Family,
    /// Its verdict.
    pub verdict: Verdict,
    /// Surprise in decades: a count like this comes about once in `10^(S - 0.4)`, a value at most.
    pub surprise: f64,
    /// 1 more than expected, -1 less, 0 while learning.
    pub direction: i8,
    /// The reading foretold.
    pub expected: f64,
    /// Whether this reading opened an incident.
    pub opens: bool,
}

impl Assessment {
    /// The surprise as 0 to 100, see [`score`].
    pub fn score(&self) -> f64 {
        score(self.surprise)
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A series that has read nothing.
    pub const fn new() -> Model {
        Model {
            chooser: Chooser::NEW,
            state: State::Counts(Series::new()),
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

    /// Judges a reading by the family chosen so far, learns it, and chooses again for the next one.
    /// NaN and infinity are no readings: nothing changes. (Nor is a negative number, to the count
    /// family; but it tells which family it is.)
    pub fn step(&mut self, x: f64, at: Moment, pace: Pace) -> Assessment {
        if x.is_finite() {
            self.chooser.learn(x);
            if self.chooser.readings == 1 {
                self.choose(at, pace);
            }
        }
        let assessment = self.read(x, at, pace);
        if x.is_finite() {
            self.choose(at, pace);
        }
        assessment
    }

    fn read(&mut self, x: f64, at: Moment, pace: Pace) -> Assessment {
        match &mut self.state {
            State::Counts(series) => {
                let incidents = series.incidents;
                let j = series.step(x, at, pace);
                Assessment {
                    family: Family::Counts,
                    verdict: j.verdict(),
                    surprise: j.surprise,
                    direction: j.direction,
                    expected: j.expected,
                    opens: series.incidents != incidents,
                }
            }
            State::Values(values) => {
                let j = values.step(x, at, pace);
                Assessment {
                    family: Family::Values,
                    verdict: j.verdict(),
                    surprise: j.surprise,
                    direction: j.direction,
                    expected: j.expected,
                    opens: j.opens,
                }
            }
        }
    }

    /// Chooses the family for what comes after the bucket of `at`.
    fn choose(&mut self, at: Moment, pace: Pace) {
        let family = self.chooser.choose(self.family());
        if family == self.family() {
            return;
        }
        self.chooser.held = 0;
        self.state = match &self.state {
            State::Counts(series) => State::Values(values_after(series, at, pace)),
            State::Values(values) => State::Counts(counts_after(values, at, pace)),
        };
    }

    pub(crate) fn is_sound(&self) -> bool {
        let Chooser { odd, typical, .. } = self.chooser;
        odd.is_finite()
            && typical.is_finite()
            && match &self.state {
                State::Counts(series) => series.is_finite(),
                State::Values(values) => values.is_sound(),
            }
    }
}

/// A series of values that goes on where one of counts ends.
fn values_after(series: &Series, at: Moment, pace: Pace) -> Values {
    let mut values = Values::new();
    if series.readings() < EARLY {
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
    for moment in before(at, pace) {
        let (mean, deviation) = series.retold(at, moment, pace);
        values.step(mean + deviation * scatter(moment.bucket), moment, pace);
    }
    values
}

/// A series of counts that goes on where one of values ends.
fn counts_after(values: &Values, at: Moment, pace: Pace) -> Series {
    let mut series = Series::new();
    if values.readings() < EARLY {
        return series;
    }
    for moment in before(at, pace) {
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
fn before(at: Moment, pace: Pace) -> impl Iterator<Item = Moment> {
    let width = pace.width();
    let told = (f64::from(DAY) / width).clamp(TOLD_LEAST, TOLD_MOST) as i64;
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
