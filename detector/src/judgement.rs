//! What judging one reading gives.

use crate::incident::{EXTREME, OPEN, QUIET};

/// How a reading is judged, from the least to the most serious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// The series has too few readings to be judged.
    Learning = 0,
    /// Nothing unusual: surprise below [`OPEN`].
    Normal = 1,
    /// Surprise of [`OPEN`] or more; of [`QUIET`] or more on the side of an open incident.
    Warning = 2,
    /// Surprise of [`EXTREME`] or more.
    Critical = 3,
}

impl Verdict {
    /// The verdict stored as this number; what is no verdict is read as `Learning`.
    pub const fn from_u8(code: u8) -> Verdict {
        match code {
            1 => Verdict::Normal,
            2 => Verdict::Warning,
            3 => Verdict::Critical,
            _ => Verdict::Learning,
        }
    }
}

/// Which look at the data spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Channel {
    /// The reading itself, or with the one before it.
    Point = 0,
    /// The sum of the last 5 readings.
    Five = 1,
    /// The sum of the last 20 readings, or of the last 10.
    Twenty = 2,
    /// The mean of about the last 120 readings.
    Long = 3,
    /// A run of zeros.
    ZeroRun = 4,
    /// A fixed limit.
    Limit = 5,
    /// Of a series of values, the reading itself.
    Value = 6,
    /// The mean of 40 minutes of values.
    Short = 7,
    /// The mean of ten values, each a little off.
    Drift = 8,
    /// None.
    None = 255,
}

impl Channel {
    /// The statistical channels of counts, in the order of [`Judgement::channels`].
    pub const ALL: [Channel; 5] = [
        Channel::Point,
        Channel::Five,
        Channel::Twenty,
        Channel::Long,
        Channel::ZeroRun,
    ];

    /// The channel stored as this number; what is no channel is read as `None`.
    pub const fn from_u8(code: u8) -> Channel {
        match code {
            0 => Channel::Point,
            1 => Channel::Five,
            2 => Channel::Twenty,
            3 => Channel::Long,
            4 => Channel::ZeroRun,
            5 => Channel::Limit,
            6 => Channel::Value,
            7 => Channel::Short,
            8 => Channel::Drift,
            _ => Channel::None,
        }
    }

    /// Whether this channel gathers so many readings that it is believed at once: one reading
    /// beyond [`OPEN`] opens an incident, where the short ones need two in a row.
    pub(crate) const fn is_sustained(self) -> bool {
        matches!(
            self,
            Channel::Twenty | Channel::Long | Channel::ZeroRun | Channel::Short | Channel::Drift
        )
    }
}

/// What judging one reading gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Surprise of the channel that speaks loudest, in decades: `-log10` of the probability of
    /// something at least as extreme. At least 0; 0 while learning.
    pub surprise: f64,
    /// Decades that the surprise counts for more when it is decided whether the reading is normal: what matters then is
    /// how often such a thing happens in a week, and wide buckets are few. Always 0 of counts.
    pub allowance: f64,
    /// Decades that it counts for less when it is decided whether an incident opens: what the governor of a noisy
    /// series takes off. Always 0 of counts.
    pub calmed: f64,
    /// Side of the surprise: 1 more than expected, -1 less, 0 while learning.
    pub direction: i8,
    /// The channel that speaks loudest.
    pub channel: Channel,
    /// Mean of the reading foretold, in counts per bucket.
    pub expected: f64,
    /// Whether the series has too few readings for a verdict.
    pub learning: bool,
    /// Side of the incident that is open, 0 where none is.
    pub held: i8,
    /// Surprise of the reading itself on that side, as verdicts go by it, in decades, whatever else speaks louder; 0 where
    /// it lies on the other.
    pub carried: f64,
    /// Buckets the speaking channel covers: 1 for the reading itself, 2 where only the reading
    /// together with the one before it is surprising.
    pub span: u32,
    /// What was seen over the span, in counts.
    pub span_observed: f64,
    /// What was foretold for the span, in counts.
    pub span_expected: f64,
    /// The loudest surprise of the series by itself: greater than `surprise` where the others of its
    /// monitor have risen as well, see [`volume`](crate::volume).
    pub alone: f64,
    /// Surprise of each channel as its law has it, in decades (of one whose surprises come often, more than it is
    /// worth), negative below expectation, in the order of
    /// [`Channel::ALL`]; 0 where a channel has nothing to say yet. Also filled while learning.
    pub channels: [f64; 5],
}

impl Judgement {
    /// What a series says of a reading it cannot judge.
    pub(crate) const fn learning(expected: f64, observed: f64) -> Judgement {
        Judgement {
            surprise: 0.0,
            allowance: 0.0,
            calmed: 0.0,
            direction: 0,
            channel: Channel::None,
            expected,
            learning: true,
            held: 0,
            carried: 0.0,
            span: 1,
            span_observed: observed,
            span_expected: expected,
            alone: 0.0,
            channels: [0.0; 5],
        }
    }

    /// The verdict: `Warning` from [`OPEN`], while an incident is open from [`QUIET`] on its side (of the
    /// reading itself); `Critical` from [`EXTREME`].
    pub fn verdict(&self) -> Verdict {
        if self.learning {
            Verdict::Learning
        } else if self.weighed() >= EXTREME {
            Verdict::Critical
        } else if self.weighed() >= OPEN || self.is_held_from(QUIET) {
            Verdict::Warning
        } else {
            Verdict::Normal
        }
    }

    /// Whether the reading itself carries on the incident that is open. (The sums do not count: they still hold what
    /// came before.)
    pub(crate) fn is_held_from(&self, surprise: f64) -> bool {
        self.held != 0 && self.carried >= surprise
    }

    /// The surprise as verdicts go by it, decades.
    pub fn weighed(&self) -> f64 {
        self.surprise + self.allowance
    }

    /// The judgement as it decides whether an incident opens.
    pub(crate) fn calm(&self) -> Judgement {
        Judgement {
            allowance: self.allowance - self.calmed,
            ..*self
        }
    }

    /// The surprise as 0 to 100, see [`score`](crate::score::score).
    pub fn score(&self) -> f64 {
        crate::score::score(self.surprise)
    }

    /// The surprise towards one side (1 or -1): 0 where the reading lies on the other.
    pub fn surprise_towards(&self, direction: i8) -> f64 {
        if self.direction == direction {
            self.surprise
        } else {
            0.0
        }
    }
}
