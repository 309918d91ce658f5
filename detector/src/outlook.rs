//! What a series foretells of its next reading, and how the reading is judged by that.
//!
//! An [`Outlook`] is taken from the state once per reading; judging, learning and the bounds all
//! use the same one. Given an outlook, the surprise on the high side only rises with the reading
//! and that on the low side only falls.

use core::f64::consts::LN_10;

use crate::elementary::ln_1p;
use crate::habit::Habit;
use crate::incident::{OPEN, QUIET};
use crate::judgement::{Channel, Judgement};
use crate::tail::{self, Asked, Law};
use crate::volume::{Foretold, LENGTHS};
use crate::witness;

/// Readings before a series gives verdicts.
pub(crate) const LEARNING: u64 = 30;
/// A high side with fewer events of excess than this is never reason to alert.
const LEAST_EXCESS: f64 = 3.0;
/// It is capped at this surprise.
const BELOW_OPEN: f64 = OPEN - 1.0;
/// Rate of the long channel's exponential window.
pub(crate) const LONG_RATE: f64 = 1.0 / 60.0;
/// Readings that the long channel counts for: `(2 - r) / r` of an exponential window of rate `r`.
pub(crate) const LONG_EFFECTIVE: f64 = 119.0;
/// Buckets the long channel is said to cover.
const LONG_SPAN: u32 = 120;
/// Decades taken off the long channel.
const LONG_PENALTY: f64 = 0.2;
/// Share of a job by which it may be another size each time.
const JOB_DOUBT: f64 = 0.1;
/// Decades by which a reading may be less surprising beside the others than by itself.
const LEAVE: f64 = 1.5;
/// A surprise up to this is left whole whatever the others say, as none is below [`EVEN`](tail::EVEN): they need not be asked.
const LEFT_WHOLE: f64 = tail::EVEN + LEAVE;
/// Above this, the long channel is held back while the last 20 readings, or a witness, do not agree with it.
const LONG_HELD: f64 = 1.0;
/// Surprise, decades, up to which a reading in an incident is like any other: two of three are.
const EVEN_ODDS: f64 = 0.5;
/// Mean below which a reading by itself does not show that an incident is over.
const THIN: f64 = 1.0;
/// Below this every whole number is a double and an i64.
const LARGEST_WHOLE: f64 = 9e15;
/// Relative variance of the level under a run of zeros, beside what is known of it.
const RUN_DOUBT: f64 = 0.005;

/// A sum of readings that ends in the one in hand, and its law.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// What came before the reading in hand.
    pub before: f64,
    /// Mean of the sum.
    pub mean: f64,
    /// Its dispersion, with all doubt about the mean.
    pub dispersion: f64,
    /// The part of that by which the mean itself wanders.
    pub wander: f64,
    /// Decades taken off.
    pub penalty: f64,
    /// What jobs bring of the mean.
    pub extra: f64,
    /// What the rise of the others foretells of the sum.
    pub others: Foretold,
}

impl Window {
    /// With what jobs brought before, and bring now.
    pub fn with_jobs(mut self, before: f64, now: f64) -> Window {
        self.extra = before + now;
        if self.extra > 0.0 {
            self.before += before;
            self.mean += self.extra;
            let doubt = JOB_DOUBT * self.extra / self.mean;
            self.dispersion += doubt * doubt;
        }
        self
    }

    /// The sum, when this reading ends it: a whole count.
    pub fn sum(&self, x: f64) -> f64 {
        whole(self.before + x + 0.5)
    }

    /// What its law is asked of this reading.
    fn asked(&self, x: f64) -> Asked {
        self.asked_of(self.sum(x), self.before + x)
    }

    /// The same of a whole count; the side is that of `value`, the same before rounding.
    fn asked_of(&self, count: f64, value: f64) -> Asked {
        Asked {
            x: count,
            high: value > self.mean,
            law: law(self.mean, self.dispersion, self.wander),
        }
    }

    /// Signed surprise of this reading.
    pub fn surprise(&self, x: f64) -> Surprise {
        self.heard(x, self.asked(x).decades())
    }

    /// The same, given what its law says.
    fn heard(&self, x: f64, decades: f64) -> Surprise {
        capped(|| self.sum(x), self.before + x, self, decades).less(self.penalty)
    }
}

/// Signed surprise: of the series alone, and with the others beside it.
#[derive(Clone, Copy)]
pub(crate) struct Surprise {
    pub alone: f64,
    pub beside: f64,
}

impl Surprise {
    const NONE: Surprise = Surprise {
        alone: 0.0,
        beside: 0.0,
    };

    /// Decades taken off.
    fn less(self, penalty: f64) -> Surprise {
        let off = |s: f64| s.signum() * (s.abs() - penalty).max(0.0);
        Surprise {
            alone: off(self.alone),
            beside: off(self.beside),
        }
    }
}

/// The long window: an exponential mean of readings against one of season times departure.
#[derive(Clone, Copy)]
pub(crate) struct Long {
    /// Mean of the readings before.
    pub before: f64,
    /// Mean foretold, the reading in hand included, for all the readings the window counts for.
    pub mean: f64,
    pub dispersion: f64,
    pub wander: f64,
    /// Level per reading; the last 20 must be 5 % beyond 20 of it.
    pub level: f64,
    /// What the other kind of day foretells of the sum, where it is asked.
    pub witness: Option<f64>,
    /// Whether it is asked of sums that are too high only.
    pub witness_of_rises: bool,
    /// What the rise of the others foretells of the sum.
    pub others: Foretold,
}

impl Long {
    pub fn sum(&self, x: f64) -> f64 {
        whole((self.before + (x - self.before) * LONG_RATE) * LONG_EFFECTIVE + 0.5)
    }

    /// What its law is asked of this reading.
    fn asked(&self, x: f64) -> Asked {
        self.asked_of(self.sum(x), self.mean, self.dispersion)
    }

    fn asked_of(&self, sum: f64, mean: f64, dispersion: f64) -> Asked {
        Asked {
            x: sum,
            high: sum > mean,
            law: law(mean, dispersion, self.wander),
        }
    }

    /// Signed surprise, given what its law says and the sum of the last 20 readings.
    fn heard(&self, x: f64, twenty: f64, decades: f64) -> Surprise {
        let sum = self.sum(x);
        let alone = self.held(sum, self.mean, twenty, decades);
        let beside = if alone > LEAVE && sum > self.mean && self.others.high > self.mean {
            let dispersion = self.dispersion + self.others.doubt;
            let asked = self.asked_of(sum, self.others.high, dispersion);
            let beside = self.held(sum, self.others.high, twenty, asked.decades());
            alone.min(beside.max(0.0) + LEAVE)
        } else {
            alone
        };
        Surprise { alone, beside }
    }

    /// Signed surprise of a sum under a law of this mean, as far as the last 20 readings and the other kind of day agree.
    fn held(&self, sum: f64, mean: f64, twenty: f64, decades: f64) -> f64 {
        let high = sum > mean;
        let mut surprise = decades - LONG_PENALTY;
        let agrees = if high {
            twenty >= 21.0 * self.level
        } else {
            twenty <= 19.0 * self.level
        };
        let asked = self.witness.filter(|_| high || !self.witness_of_rises);
        let denied = asked.is_some_and(|w| !witness::agrees(sum, w, high));
        if !agrees || denied {
            surprise = surprise.min(LONG_HELD);
        }
        if high && sum - mean < LEAST_EXCESS {
            surprise = surprise.min(BELOW_OPEN);
        }
        signed(surprise.max(0.0), high)
    }
}

/// The run of zeros before the reading in hand.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// Its length, in buckets.
    pub length: u32,
    /// Sum of `-ln P(0)` over it.
    pub weight: f64,
    /// What was expected over it, counts.
    pub expected: f64,
    /// Mean of the reading in hand: the lower of the two levels.
    pub level: f64,
    /// Relative variance of the level, shared by the whole run.
    pub doubt: f64,
}

impl Run {
    /// Signed surprise if the run goes on. The zeros are independent given the level; with a gamma
    /// distributed factor of mean 1 and variance `e` on it, `-ln P = ln(1 + e Z) / e`.
    pub fn surprise(&self, dispersion: f64) -> f64 {
        let weight = self.weight + tail::zero_ln(self.level, dispersion);
        -ln_1p(self.doubt * weight) / self.doubt / LN_10
    }
}

/// What the state of a series foretells of the reading in hand.
#[derive(Clone, Copy)]
pub(crate) struct Outlook {
    /// Readings learned before.
    pub readings: u64,
    /// Side of the incident that is open, 0 where none is; and the shortest channel that has spoken in it.
    pub held: i8,
    pub owner: u8,
    /// Surprise from which a reading is not normal, but on that side.
    pub open: f64,
    /// Surprise from which a reading on that side is not normal.
    pub held_from: f64,
    /// Season known for this time and kind of day; seen on any kind.
    pub known: bool,
    pub seen: bool,
    /// Means of the fast and the slow level, and of season times departure.
    pub fast: f64,
    /// What a job brings besides.
    pub extra: f64,
    pub slow: f64,
    pub long_level: f64,
    /// The level that the other kind of day foretells, where it is asked.
    pub witness: Option<f64>,
    /// The season's factor: `exp` of its path.
    pub factor: f64,
    /// Gains of the three.
    pub fast_gain: f64,
    pub slow_gain: f64,
    pub departure_gain: f64,
    /// Relative variances of the fast and the slow level.
    pub fast_variance: f64,
    pub slow_variance: f64,
    /// Dispersions learned, as upper bounds.
    pub point_bound: f64,
    pub five_bound: f64,
    pub twenty_bound: f64,
    pub long_bound: f64,
    /// By how much the long one is raised while the season is young.
    pub long_inflation: f64,
    pub point: Window,
    pub pair: Option<Window>,
    pub five: Option<Window>,
    /// Judged with the sum of 20, which is slow to notice what has lasted for ten minutes. Known seasons only.
    pub ten: Option<Window>,
    pub twenty: Option<Window>,
    pub long: Option<Long>,
    pub run: Run,
    /// Sum of the last 19 readings.
    pub last_nineteen: f64,
    /// How often the series has surprised before.
    pub habit: Habit,
    /// The greatest reading that is not told of by itself, where greater ones may be usual; else infinite.
    pub told_from: f64,
}

impl Outlook {
    /// Puts what the others foretell beside what the series' own past does: for each window, given its
    /// number and its length (None: the exponential mean).
    pub fn beside(&mut self, foretold: impl Fn(usize, Option<usize>) -> Foretold) {
        let point = Some(&mut self.point);
        let short = [
            point,
            self.pair.as_mut(),
            self.five.as_mut(),
            self.ten.as_mut(),
            self.twenty.as_mut(),
        ];
        for (n, (window, length)) in short.into_iter().zip(LENGTHS).enumerate() {
            if let Some(w) = window {
                w.others = foretold(n, Some(length)).with(w.extra);
            }
        }
        if let Some(long) = &mut self.long {
            long.others = foretold(LENGTHS.len(), None);
        }
    }

    /// Has each sum scatter by this many means beyond its mean at least.
    pub fn scatter(&mut self, excess: f64) {
        let windows = [
            Some(&mut self.point),
            self.pair.as_mut(),
            self.five.as_mut(),
            self.ten.as_mut(),
            self.twenty.as_mut(),
        ];
        for w in windows.into_iter().flatten() {
            w.dispersion = w.dispersion.max(excess / w.mean);
        }
        if let Some(long) = &mut self.long {
            long.dispersion = long.dispersion.max(excess / long.mean);
        }
    }

    /// What sums are to take a reading for. One that is usual though its law does not know it is no more than the greatest
    /// that is not told of: else its sums would tell of it. Several in a row still add up.
    pub fn for_sums(&self, x: f64) -> f64 {
        if x <= self.told_from {
            return x;
        }
        let single = self.single(x).beside;
        if self.habit.tempered(Channel::Point, single) < OPEN {
            self.told_from
        } else {
            x
        }
    }

    /// Judges a reading (a finite count, at least 0).
    pub fn judge(&self, x: f64) -> Judgement {
        let mut j = self.speak(x);
        if self.readings < LEARNING {
            j.learning = true;
            (j.surprise, j.direction, j.channel) = (0.0, 0, Channel::None);
            (j.span, j.span_observed, j.span_expected) = (1, x, self.mean());
        }
        j
    }

    /// What is expected of the reading.
    pub fn mean(&self) -> f64 {
        self.fast + self.extra
    }

    /// What the channels say of a reading, whether or not they should be heard yet.
    pub fn speak(&self, x: f64) -> Judgement {
        let mut j = Judgement {
            learning: false,
            held: self.held,
            ..Judgement::learning(self.mean(), x)
        };
        let summed = self.for_sums(x);
        let of = |w: &Option<Window>| w.as_ref().map_or(Asked::NOTHING, |w| w.asked(summed));
        let [by_point, by_pair, by_five, by_long, by_ten, by_twenty] = Law::all::<6, 4>(&[
            self.point.asked_of(x, x),
            of(&self.pair),
            of(&self.five),
            self.long
                .as_ref()
                .map_or(Asked::NOTHING, |l| l.asked(summed - self.extra)),
            of(&self.ten),
            of(&self.twenty),
        ]);
        let single = capped(|| x, x, &self.point, by_point);
        let with_last = self
            .pair_on_its_side(summed)
            .map(|pair| pair.heard(summed, by_pair))
            .filter(|both| both.beside.abs() > single.beside.abs());
        let of = |w: &Option<Window>, decades: f64| {
            w.as_ref()
                .map_or(Surprise::NONE, |w| w.heard(summed, decades))
        };
        let (ten, twenty) = (of(&self.ten, by_ten), of(&self.twenty, by_twenty));
        let ten_decides = ten.beside.abs() > twenty.beside.abs();
        let zeros = if x == 0.0 {
            self.run.surprise(self.point_bound)
        } else {
            0.0
        };
        let said = [
            with_last.unwrap_or(single),
            of(&self.five, by_five),
            if ten_decides { ten } else { twenty },
            self.long_heard(summed, by_long),
            Surprise {
                alone: zeros,
                beside: zeros,
            },
        ];
        j.channels = said.map(|s| s.beside);
        let mut loudest = 0.0_f64;
        for (channel, said) in Channel::ALL.into_iter().zip(said) {
            let alone = self.habit.tempered(channel, said.alone);
            j.alone = j.alone.max(alone.abs());
            let signed = self.habit.tempered(channel, said.beside);
            if signed.abs() > loudest.abs() && !self.is_of_the_past(channel, x, &j.channels) {
                (loudest, j.channel) = (signed, channel);
            }
        }
        j.surprise = loudest.abs();
        j.direction = i8::from(loudest > 0.0) - i8::from(loudest < 0.0);
        if self.held != 0 {
            let itself = j.channels[Channel::Point as usize];
            let towards = self.habit.tempered(Channel::Point, itself) * f64::from(self.held);
            j.carried = towards.max(0.0);
            // Whether the incident goes on is said before what else is unusual.
            if j.surprise < OPEN && towards >= QUIET {
                (j.channel, j.surprise, j.direction) = (Channel::Point, towards, self.held);
            }
        }
        let decided = match j.channel {
            Channel::Point if with_last.is_some() && single.beside.abs() < OPEN => {
                Some((2, self.pair))
            }
            Channel::Five => Some((5, self.five)),
            Channel::Twenty if ten_decides => Some((10, self.ten)),
            Channel::Twenty => Some((20, self.twenty)),
            _ => None,
        };
        let (span, observed, expected) = match decided {
            Some((buckets, Some(w))) => (buckets, w.before + x, w.mean),
            _ => self.span(j.channel, x),
        };
        (j.span, j.span_observed, j.span_expected) = (span, observed, expected);
        j
    }

    /// Whether a channel only tells of what an open incident was, and not of the reading in hand: one on the other side of what
    /// is expected adds nothing to a sum; nor does a sum of more readings than the incident is owned by tell of now, if a
    /// shorter look is calm again.
    fn is_of_the_past(&self, channel: Channel, x: f64, channels: &[f64; 5]) -> bool {
        let side = f64::from(self.held);
        let towards = |channel: Channel| channels[channel as usize] * side;
        let is_sum = matches!(channel, Channel::Five | Channel::Twenty | Channel::Long);
        if !is_sum || towards(channel) <= 0.0 {
            return false;
        }
        // Of a thin series one reading says nothing: most are zero, in incidents too.
        let is_thin = self.mean() < THIN;
        let is_back = !is_thin && (x - self.mean()) * side <= 0.0;
        let is_calm = match channel {
            Channel::Five => !is_thin && towards(Channel::Point) < EVEN_ODDS,
            _ => towards(Channel::Five) < QUIET,
        };
        is_back || channel as u8 > self.owner && is_calm
    }

    /// The reading by itself.
    pub fn single(&self, x: f64) -> Surprise {
        capped(|| x, x, &self.point, self.point.asked_of(x, x).decades())
    }

    /// The exponential mean.
    pub fn long_surprise(&self, x: f64) -> Surprise {
        let asked = self.long.as_ref().map(|l| l.asked(x - self.extra));
        asked.map_or(Surprise::NONE, |asked| self.long_heard(x, asked.decades()))
    }

    /// The same, given what its law says.
    fn long_heard(&self, x: f64, decades: f64) -> Surprise {
        let (own, twenty) = (x - self.extra, self.last_nineteen + x - self.extra);
        self.long
            .as_ref()
            .map_or(Surprise::NONE, |l| l.heard(own, twenty, decades))
    }

    /// The reading with the one before it, where both lie on the side of the reading.
    pub fn pair_surprise(&self, x: f64) -> Option<Surprise> {
        self.pair_on_its_side(x).map(|pair| pair.surprise(x))
    }

    fn pair_on_its_side(&self, x: f64) -> Option<&Window> {
        let pair = self.pair.as_ref()?;
        let above = pair.before + x - pair.mean;
        (above * (x - self.mean()) > 0.0).then_some(pair)
    }

    /// What a channel that is no window covers: buckets, what was seen in them and what was foretold.
    fn span(&self, channel: Channel, x: f64) -> (u32, f64, f64) {
        match channel {
            Channel::Long => self.long.map_or((1, x, self.mean()), |l| {
                let share = f64::from(LONG_SPAN) / LONG_EFFECTIVE;
                (LONG_SPAN, l.sum(x - self.extra) * share, l.mean * share)
            }),
            Channel::ZeroRun => (
                self.run.length.saturating_add(1),
                0.0,
                self.run.expected + self.run.level,
            ),
            _ => (1, x, self.mean()),
        }
    }
}

/// The relative doubt about a run of zeros that a dispersion of five readings adds.
pub(crate) fn run_doubt(known: bool, five_bound: f64) -> f64 {
    RUN_DOUBT + if known { 0.15 } else { 0.5 } * five_bound.min(0.3)
}

/// Signed surprise of a whole count, given what the law of the window says; the side is that of `value`, the same before
/// rounding.
fn capped(count: impl Fn() -> f64, value: f64, w: &Window, decades: f64) -> Surprise {
    let held = |mean: f64, decades: f64| {
        if value - mean < LEAST_EXCESS {
            decades.min(BELOW_OPEN)
        } else {
            decades
        }
    };
    if value <= w.mean {
        let beside = if decades > LEFT_WHOLE && w.others.low < w.mean {
            let below = law(w.others.low, w.dispersion, w.wander).lower(count());
            decades.min(below + LEAVE)
        } else {
            decades
        };
        return Surprise {
            alone: -decades,
            beside: -beside,
        };
    }
    let alone = held(w.mean, decades);
    let beside = if alone > LEFT_WHOLE && w.others.high > w.mean {
        let above = law(w.others.high, w.dispersion + w.others.doubt, w.wander).upper(count());
        alone.min(held(w.others.high, above) + LEAVE)
    } else {
        alone
    };
    Surprise { alone, beside }
}

/// The law of a sum whose dispersion holds `wander` of its mean.
fn law(mean: f64, dispersion: f64, wander: f64) -> Law {
    let wander = wander.min(dispersion);
    Law {
        mean,
        dispersion: dispersion - wander,
        wander,
    }
}

/// The greatest whole number that is not above: without the call that `floor` is on processors of 2003.
fn whole(x: f64) -> f64 {
    if (0.0..LARGEST_WHOLE).contains(&x) {
        x as i64 as f64
    } else {
        x.floor()
    }
}

fn signed(surprise: f64, high: bool) -> f64 {
    if high {
        surprise
    } else {
        -surprise
    }
}
