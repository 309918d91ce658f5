//! The typical size of a residual, and severity: how far beyond it one lies.

use serde::{Deserialize, Serialize};

use super::tuning::Tuning;

/// Standard deviation of a normal law in units of its mean absolute deviation: `√(π/2)`.
const DEVIATION: f64 = 1.253_314_137_315_500_3;

/// The mean size of a residual, over the last 2,000 readings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Scale {
    mean: f64,
}

impl Scale {
    pub const NEW: Scale = Scale { mean: 0.0 };

    /// Probability of a residual of at least this size, as severity sees it:
    /// `(1 + t²/ν)^(-ν/2)` with `t = size/σ`, the order of a Student tail with `ν` degrees of
    /// freedom. Where no residual was ever other than 0, one in as many as there were.
    pub fn severity(&self, size: f64, readings: u64, tuning: &Tuning) -> f64 {
        if self.mean > 0.0 {
            let t = size / (DEVIATION * self.mean);
            (1.0 + t * t / tuning.freedom).powf(-0.5 * tuning.freedom)
        } else if size > 0.0 {
            1.0 / (readings as f64 + 1.0)
        } else {
            1.0
        }
    }

    pub fn learn(&mut self, size: f64, readings: u64, tuning: &Tuning) {
        self.mean += (size - self.mean) * rate(tuning.scale, readings);
    }

    /// The mean size.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation of a normal law of this mean size.
    pub fn deviation(&self) -> f64 {
        DEVIATION * self.mean
    }

    pub fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.mean >= 0.0
    }
}

/// The rate of an exponential mean over `horizon` readings that is the plain mean until it has as
/// many.
pub(super) fn rate(horizon: f64, readings: u64) -> f64 {
    (1.0 / horizon).max(1.0 / (readings as f64 + 1.0))
}
