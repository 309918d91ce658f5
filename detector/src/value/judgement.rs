//! What judging a value gives.

use crate::incident::{OPEN, QUIET};
use crate::judgement::{Channel, Judgement, Verdict};

use super::tuning::Tuning;

/// How many looks there are.
pub const LOOKS: usize = 5;

/// A way of looking at a reading. The first two are of the reading itself, the next two of 40
/// minutes, the last of ten readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Look {
    /// The reading less the level.
    Level = 0,
    /// The reading less what is usual at its hour.
    Hour = 1,
    /// The short mean less the level.
    ShortLevel = 2,
    /// The short mean of what the reading is off its hour.
    ShortHour = 3,
    /// The mean of ten readings, each less what was foretold of it.
    Drift = 4,
}

impl Look {
    /// All of them, in the order of [`ValueJudgement::looks`].
    pub const ALL: [Look; LOOKS] = [
        Look::Level,
        Look::Hour,
        Look::ShortLevel,
        Look::ShortHour,
        Look::Drift,
    ];
}

/// What judging one value gave, in the family's own decades.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueJudgement {
    /// Surprise of the reading in decades, at least 0; 0 while learning. No law is assumed, so it is
    /// a bound: at most about once in `10^(S - 0.4)` readings of a series whose readings are
    /// independent. How it compares with that of counts: [`in_decades`](ValueJudgement::in_decades).
    pub surprise: f64,
    /// Surprise of the reading itself, whatever came before it, decades.
    pub itself: f64,
    /// What the governor leaves of the surprise: what decides on alerts, decades.
    pub governed: f64,
    /// What it takes off, decades.
    pub calmed: f64,
    /// Whether an incident may open on that side: it is not the level that was accepted last.
    pub may_open: bool,
    /// 1 more than expected, -1 less, 0 while learning.
    pub direction: i8,
    /// The side on which the reading itself lies.
    pub side: i8,
    /// Side of the incident that is open, 0 where none is.
    pub held: i8,
    /// The look that is the most surprised, of those that speak.
    pub look: Look,
    /// Who speaks: [`Channel::Value`], [`Channel::Short`], [`Channel::Drift`].
    pub channel: Channel,
    /// The reading foretold: the level and the usual value of the hour, each by its precision.
    pub expected: f64,
    /// Whether the series has too few readings for a verdict.
    pub learning: bool,
    /// Whether this reading opens an incident.
    pub opens: bool,
    /// Surprise from which a reading of this width is not normal, decades.
    pub open: f64,
    /// Surprise of each look, decades.
    pub looks: [f64; LOOKS],
    /// Buckets the speaking channel covers.
    pub span: u32,
    /// Mean over the span of what was seen.
    pub span_observed: f64,
    /// Mean over the span of what was expected.
    pub span_expected: f64,
}

/// A surprise of values in the decades of all families, and what it counts for more in a bucket of which `open` is not
/// normal: their sum is [`OPEN`] there, and [`OPEN`] by itself is the threshold that ships.
pub(super) fn to_decades(surprise: f64, open: f64) -> (f64, f64) {
    let decades = scaled(surprise, Tuning::SHIPPED.open);
    (decades, scaled(surprise, open) - decades)
}

/// Such that `open` becomes [`OPEN`]; beyond it both count alike.
fn scaled(surprise: f64, open: f64) -> f64 {
    if surprise < open {
        surprise * (OPEN / open)
    } else {
        OPEN + (surprise - open)
    }
}

/// The surprise as verdicts go by it: [`Judgement::weighed`].
pub(super) fn weighed(surprise: f64, open: f64) -> f64 {
    let (decades, allowance) = to_decades(surprise, open);
    decades + allowance
}

impl ValueJudgement {
    /// The same in the decades of all families, those of [`Judgement::surprise`], so that the score means the same. What
    /// a wide bucket counts for more is its [`allowance`](Judgement::allowance).
    ///
    /// [`Judgement::channels`] are the reading itself, the short means and the drift.
    pub fn in_decades(&self) -> Judgement {
        let decades = |surprise: f64| to_decades(surprise, self.open).0;
        let mut j = Judgement::learning(self.expected, self.span_observed);
        if self.learning {
            return j;
        }
        let signed = |surprise: f64, side: i8| decades(surprise) * f64::from(side);
        j.learning = false;
        (j.surprise, j.allowance) = to_decades(self.surprise, self.open);
        j.calmed = if self.may_open {
            j.weighed() - scaled((self.surprise - self.calmed).max(0.0), self.open)
        } else {
            j.weighed()
        };
        j.alone = j.surprise;
        j.held = self.held;
        j.channels[0] = signed(self.itself, self.side);
        (j.channel, j.direction, j.span) = (self.channel, self.direction, self.span);
        (j.span_observed, j.span_expected) = (self.span_observed, self.span_expected);
        match self.channel {
            Channel::Short => j.channels[1] = signed(self.surprise, self.direction),
            Channel::Drift => j.channels[2] = signed(self.surprise, self.direction),
            _ => {}
        }
        let is_held = self.held != 0 && self.side == self.held;
        let is_held = is_held && weighed(self.itself, self.open) >= QUIET;
        if is_held && j.weighed() < OPEN && j.channel != Channel::Value {
            // Whether the incident goes on is said before what else is unusual.
            (j.channel, j.direction, j.span) = (Channel::Value, self.held, 1);
            (j.surprise, j.allowance) = to_decades(self.itself, self.open);
            j.calmed = j.calmed.min(j.weighed());
        }
        if self.held != 0 && self.side == self.held {
            j.carried = weighed(self.itself, self.open);
        }
        j
    }

    /// What the governor leaves of the surprise, in the decades of all families: what opens incidents
    /// from [`OPEN`](crate::OPEN).
    pub fn governed_in_decades(&self, tuning: &Tuning) -> f64 {
        scaled(self.governed, tuning.open)
    }

    /// The verdict, see [`Judgement::verdict`].
    pub fn verdict(&self) -> Verdict {
        self.in_decades().verdict()
    }

    /// The surprise as 0 to 100, see [`score`](crate::score()).
    pub fn score(&self) -> f64 {
        self.in_decades().score()
    }
}
