//! What judging a value gives.

use crate::judgement::Verdict;
use crate::score::score;

/// How many looks there are.
pub const LOOKS: usize = 4;

/// A way of looking at a reading. The first two are of the reading itself, the others of 40
/// minutes.
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
}

impl Look {
    /// All of them, in the order of [`ValueJudgement::looks`].
    pub const ALL: [Look; LOOKS] = [Look::Level, Look::Hour, Look::ShortLevel, Look::ShortHour];
}

/// By how many decades a critical reading lies beyond one that is just not normal, as for counts.
const CRITICAL: f64 = crate::incident::EXTREME - crate::incident::OPEN;

/// What judging one value gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueJudgement {
    /// Surprise of the reading in decades, at least 0; 0 while learning. Meant as
    /// [`Judgement::surprise`](crate::Judgement::surprise) is, but as no law is assumed, it is a
    /// bound: at most about once in `10^(S - 0.4)` readings. Measured, `S ≥ 3` comes once in 1,000
    /// readings of a heavy tail (log-normal, σ = 1; the bound is 400), and never in a million of
    /// normal noise (`examples/calibration.rs`).
    pub surprise: f64,
    /// What the governor leaves of it: what decides on alerts, decades.
    pub governed: f64,
    /// 1 more than expected, -1 less, 0 while learning.
    pub direction: i8,
    /// The look that is the most surprised.
    pub look: Look,
    /// The reading foretold: the level and the usual value of the hour, each by its precision.
    pub expected: f64,
    /// Whether the series has too few readings for a verdict.
    pub learning: bool,
    /// Whether this reading opens an incident: no other was anomalous for five hours.
    pub opens: bool,
    /// Whether the governor lets it through.
    pub anomalous: bool,
    /// By how far the governed surprise lies beyond what is just not normal, decades; negative
    /// where it is normal.
    pub margin: f64,
    /// Surprise of each look, decades.
    pub looks: [f64; LOOKS],
}

impl ValueJudgement {
    /// The verdict: `Warning` where the governor lets the reading through, `Critical` where it lies
    /// 1.3 decades beyond that.
    pub fn verdict(&self) -> Verdict {
        if self.learning {
            Verdict::Learning
        } else if !self.anomalous {
            Verdict::Normal
        } else if self.margin >= CRITICAL {
            Verdict::Critical
        } else {
            Verdict::Warning
        }
    }

    /// The surprise as 0 to 100, see [`score`].
    pub fn score(&self) -> f64 {
        score(self.surprise)
    }
}
