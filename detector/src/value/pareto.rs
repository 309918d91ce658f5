//! Rarity: the sizes of a residual as a heavy-tailed law.

use core::f64::consts::LN_10;

use serde::{Deserialize, Serialize};

use super::tuning::Tuning;

/// Least mean size believed, as a share of the size in hand: a constant has no width of its own.
const LEAST: f64 = 1e-12;
/// Shape below which the law is an exponential one.
const EXPONENTIAL: f64 = 1e-6;
/// Least probability.
const RAREST: f64 = 1e-60;
/// Readings from which a size is learned capped.
const CAPPED: u64 = 20;

/// All sizes of a residual so far, as a generalised Pareto law.
///
/// Extreme-value theory knows this law as that of the excesses over a high threshold (Pickands 1975,
/// Balkema and de Haan 1974). Here the threshold is 0. Higher ones were tried: what they gain in
/// purity they lose in data, and the more of the sizes the law was made to fit, the better it
/// judged files that nothing was chosen on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pareto {
    mean: f64,
    /// Mean of the squares.
    square: f64,
}

impl Pareto {
    pub const NEW: Pareto = Pareto {
        mean: 0.0,
        square: 0.0,
    };

    /// Probability of a residual of at least this size: `(1 + ξ z/β)^(-1/ξ)`, with shape and scale
    /// by the method of moments (Hosking and Wallis 1987): `ξ = ½ (1 - m²/v)`, `β = m (1 - ξ)`.
    /// Shapes below 0, laws that end somewhere, are not believed; the method has none above ½.
    pub fn rarity(&self, size: f64) -> f64 {
        if size <= 0.0 {
            return 1.0;
        }
        let mean = self.mean.max(LEAST * size);
        let variance = self.square - self.mean * self.mean;
        let shape = if variance > 0.0 {
            (0.5 * (1.0 - mean * mean / variance)).max(0.0)
        } else {
            0.0
        };
        let z = size / (mean * (1.0 - shape));
        let beyond = if shape < EXPONENTIAL {
            (-z).exp()
        } else {
            (1.0 + shape * z).powf(-1.0 / shape)
        };
        beyond.max(RAREST)
    }

    /// Takes a size, but no larger than what an exponential law calls one in 100,000: that may have
    /// been an incident, and one incident must not hide the next.
    pub fn learn(&mut self, size: f64, readings: u64, tuning: &Tuning) {
        let size = if readings >= CAPPED && self.mean > 0.0 {
            size.min(self.mean * LN_10 * tuning.learned)
        } else {
            size
        };
        let share = 1.0 / (readings as f64 + 1.0);
        self.mean += (size - self.mean) * share;
        self.square += (size * size - self.square) * share;
    }

    /// How nearly the sizes are those of a normal law: 1 where the mean is to the root mean square as
    /// in one (`√(2/π)`), 0 where it is as in an exponential law (`√½`) or less.
    pub fn normality(&self) -> f64 {
        let ratio = self.mean * self.mean / self.square;
        if ratio.is_finite() {
            ((ratio - 0.5) / (core::f64::consts::FRAC_2_PI - 0.5)).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    pub fn is_sound(&self) -> bool {
        [self.mean, self.square]
            .iter()
            .all(|v| v.is_finite() && *v >= 0.0)
    }
}
