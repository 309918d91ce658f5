//! Fixed limits of a rule, beside the statistics.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::judgement::Verdict;

/// Fixed limits, in counts per bucket; NaN where none is set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// A reading of this or more is a warning.
    pub warn_above: f64,
    /// A reading of this or more is critical.
    pub critical_above: f64,
    /// A reading of this or less is a warning.
    pub warn_below: f64,
    /// A reading of this or less is critical.
    pub critical_below: f64,
}

/// A limit that a reading breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Broken {
    /// `Warning` or `Critical`.
    pub verdict: Verdict,
    /// 1 above, -1 below.
    pub direction: i8,
    /// The limit, in counts per bucket.
    pub limit: f64,
}

impl Limits {
    /// No limits.
    pub const NONE: Limits = Limits {
        warn_above: f64::NAN,
        critical_above: f64::NAN,
        warn_below: f64::NAN,
        critical_below: f64::NAN,
    };

    /// Whether no limit is set.
    pub fn is_none(&self) -> bool {
        [
            self.warn_above,
            self.critical_above,
            self.warn_below,
            self.critical_below,
        ]
        .iter()
        .all(|limit| limit.is_nan())
    }

    /// The worst limit a reading breaks; where two are broken on both sides, the upper one.
    pub fn broken(&self, x: f64) -> Option<Broken> {
        let broken = |verdict, direction, limit| {
            Some(Broken {
                verdict,
                direction,
                limit,
            })
        };
        if x >= self.critical_above {
            broken(Verdict::Critical, 1, self.critical_above)
        } else if x <= self.critical_below {
            broken(Verdict::Critical, -1, self.critical_below)
        } else if x >= self.warn_above {
            broken(Verdict::Warning, 1, self.warn_above)
        } else if x <= self.warn_below {
            broken(Verdict::Warning, -1, self.warn_below)
        } else {
            None
        }
    }

    /// What the limits say of a reading: verdict and direction; `None` inside them.
    pub fn verdict(&self, x: f64) -> Option<(Verdict, i8)> {
        self.broken(x)
            .map(|broken| (broken.verdict, broken.direction))
    }

    /// The bounds narrowed to the counts that break no limit. (A limit goes before the
    /// expectation, which may then lie outside.)
    pub fn narrow(&self, bounds: Bounds) -> Bounds {
        // `min` and `max` pass over NaN.
        let top = self.warn_above.min(self.critical_above).ceil() - 1.0;
        let bottom = self.warn_below.max(self.critical_below).floor() + 1.0;
        Bounds {
            lower: bounds.lower.max(bottom),
            upper: bounds.upper.min(top),
        }
    }
}

impl Limits {
    /// The bounds narrowed to the shares that break no limit. (Shares are no whole numbers: a limit itself is outside.)
    pub fn narrow_share(&self, bounds: Bounds) -> Bounds {
        let top = self.warn_above.min(self.critical_above).next_down();
        let bottom = self.warn_below.max(self.critical_below).next_up();
        Bounds {
            lower: bounds.lower.max(bottom),
            upper: bounds.upper.min(top),
        }
    }
}
