//! What a rule asks before it speaks: how unlikely a reading has to be, and how far from what was expected.
//!
//! Nothing here changes what is learned or scored: the same judgement is only heard sooner or later. A higher
//! sensitivity finds everything that a lower one finds.

use crate::bounds::Bounds;
use crate::incident::{EXTREME, OPEN, QUIET};
use crate::judgement::{Judgement, Verdict};

/// Sensitivity where no rule says otherwise.
pub const BUILT_IN: f64 = 50.0;
/// Surprise of a warning at sensitivity 100: what a quiet series shows once in 400 buckets.
const MOST: f64 = 3.0;
/// The same at sensitivity 0: once in 10^11.
const LEAST: f64 = 11.4;

/// From where on something is said.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensitivity {
    /// Surprise of a warning, decades.
    pub warning: f64,
    /// Surprise of what is critical, decades.
    pub critical: f64,
    /// Least distance from what was expected, counts (of a ratio: share), 0 or more.
    pub min_abs: f64,
    /// Least distance from what was expected, percent of it, 0 or more.
    pub min_percent: f64,
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self::BUILT_IN
    }
}

impl Sensitivity {
    /// Where no rule says otherwise.
    pub const BUILT_IN: Sensitivity = Sensitivity {
        warning: OPEN,
        critical: EXTREME,
        min_abs: 0.0,
        min_percent: 0.0,
    };

    /// A sensitivity from 0 to 100 (taken as the nearer of them beyond): 50 is built in, a warning at a surprise of
    /// 5 decades, once in 40,000 buckets of a quiet series; 100 once in 400; 0 once in 10^11. Linear in decades on
    /// either side; what is critical lies 1.3 decades further. NaN is 50.
    ///
    /// | sensitivity | warning from | once in … buckets |
    /// |---|---|---|
    /// | 100 | 3 | 400 |
    /// | 75 | 4 | 4,000 |
    /// | 50 | 5 | 40,000 |
    /// | 25 | 8.2 | 60 million |
    /// | 0 | 11.4 | 10^11 |
    pub fn of(sensitivity: f64) -> Sensitivity {
        let s = if sensitivity.is_nan() {
            BUILT_IN
        } else {
            sensitivity.clamp(0.0, 100.0)
        };
        let warning = if s >= BUILT_IN {
            OPEN - (s - BUILT_IN) / BUILT_IN * (OPEN - MOST)
        } else {
            OPEN + (BUILT_IN - s) / BUILT_IN * (LEAST - OPEN)
        };
        Sensitivity {
            warning,
            critical: warning + (EXTREME - OPEN),
            ..Sensitivity::BUILT_IN
        }
    }

    /// The same with a minimum effect: distances below it are normal however unlikely they are. What is no finite
    /// number above zero asks nothing.
    pub fn with_effect(self, min_abs: f64, min_percent: f64) -> Sensitivity {
        let sound = |x: f64| if x.is_finite() && x > 0.0 { x } else { 0.0 };
        Sensitivity {
            min_abs: sound(min_abs),
            min_percent: sound(min_percent),
            ..self
        }
    }

    /// Surprise from which a reading carries on the incident that is open.
    pub fn held_from(&self) -> f64 {
        QUIET + (self.warning - OPEN).max(0.0)
    }

    /// The verdict on a judgement. `held`: whether a reading that carries on an open incident is a warning.
    pub fn verdict(&self, j: &Judgement, held: bool) -> Verdict {
        if j.learning {
            Verdict::Learning
        } else if !self.is_effect(j.span_observed, j.span_expected) {
            Verdict::Normal
        } else if j.weighed() >= self.critical {
            Verdict::Critical
        } else if j.weighed() >= self.warning || held && j.is_held_from(self.held_from()) {
            Verdict::Warning
        } else {
            Verdict::Normal
        }
    }

    /// Whether what was seen is far enough from what was expected.
    pub fn is_effect(&self, observed: f64, expected: f64) -> bool {
        let away = (observed - expected).abs();
        away >= self.least_effect(expected)
    }

    fn least_effect(&self, expected: f64) -> f64 {
        self.min_abs.max(self.min_percent / 100.0 * expected.abs())
    }

    /// Bounds of counts, widened to those that are no effect.
    pub fn widen(&self, bounds: Bounds, expected: f64) -> Bounds {
        let least = self.least_effect(expected);
        if least <= 0.0 {
            return bounds;
        }
        Bounds {
            lower: bounds.lower.min((expected - least).floor() + 1.0).max(0.0),
            upper: bounds.upper.max((expected + least).ceil() - 1.0),
        }
    }

    /// The same of values.
    pub(crate) fn widen_value(&self, bounds: Bounds, expected: f64) -> Bounds {
        let least = self.least_effect(expected);
        if least <= 0.0 {
            return bounds;
        }
        Bounds {
            lower: bounds.lower.min((expected - least).next_up()),
            upper: bounds.upper.max((expected + least).next_down()),
        }
    }

    /// The same of shares.
    pub fn widen_share(&self, bounds: Bounds, expected: f64) -> Bounds {
        let least = self.least_effect(expected);
        if least <= 0.0 {
            return bounds;
        }
        Bounds {
            lower: bounds.lower.min((expected - least).next_up()).max(0.0),
            upper: bounds.upper.max((expected + least).next_down()),
        }
    }
}
