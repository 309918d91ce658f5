//! How much more than binomial a ratio scatters, learned per window.

use serde::{Deserialize, Serialize};

/// Readings over which what was learned fades by a factor e.
const MEMORY: f64 = 7200.0;
/// Residuals count for at most this many standard deviations.
const CLIP: f64 = 4.0;
/// The clip and the weight of a residual are taken with a correlation of at most this: a correlation learned too high
/// would keep itself there.
const TRUSTED: f64 = 0.05;
/// Information a ratio starts with, and never falls below: of a correlation known to within 0.1.
const PRIOR: f64 = 100.0;
/// Width of the confidence bound, in standard errors.
const CONFIDENCE: f64 = 0.5;
/// The smallest correlation believed.
const FLOOR: f64 = 1e-5;
/// No ratio is believed to scatter more than this.
const LARGEST: f64 = 0.5;

/// A correlation, by the method of moments: `E (X - n p)² = n p (1 - p) (1 + (n - 1) ρ)`, every comparison weighted by
/// the information it holds on `ρ`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// Weighted sum of the single estimates.
    excess: f64,
    /// Sum of the weights.
    information: f64,
}

impl Spread {
    pub const NEW: Spread = Spread {
        excess: 0.0,
        information: PRIOR,
    };

    /// Upper confidence bound of the correlation.
    pub fn bound(&self) -> f64 {
        let information = self.information.max(PRIOR);
        ((self.excess / information).max(FLOOR) + CONFIDENCE / information.sqrt()).min(LARGEST)
    }

    /// Takes a window: `x` of `n` where a share `p` was foretold, which is itself known as by `1 / doubt` events.
    /// Neighbouring windows share `overlap` buckets; `belief` is how far the window is believed, 0 to 1.
    pub fn learn(&mut self, x: f64, n: f64, p: f64, doubt: f64, overlap: f64, belief: f64) {
        self.excess *= 1.0 - 1.0 / MEMORY;
        self.information = (self.information * (1.0 - 1.0 / MEMORY)).max(PRIOR);
        if n < 2.0 {
            return;
        }
        let trusted = self.bound().min(TRUSTED) + doubt;
        let most = CLIP * CLIP * (1.0 + (n - 1.0) * trusted);
        let away = x - n * p;
        let ratio = (away * away / (n * p * (1.0 - p))).min(most);
        let estimate = (ratio - 1.0) / (n - 1.0) - doubt;
        let error = 1.0 / (n - 1.0) + trusted;
        let weight = belief / (2.0 * error * error) / overlap;
        self.excess += weight * estimate;
        self.information += weight;
    }

    pub fn is_finite(&self) -> bool {
        self.excess.is_finite() && self.information.is_finite()
    }
}
