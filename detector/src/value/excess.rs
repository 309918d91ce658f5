//! Rarity: the tail of a residual by extreme-value theory.

use serde::{Deserialize, Serialize};

use super::tuning::Tuning;

/// Least mean excess believed, as a share of the mean size of all residuals and of the size in
/// hand: tails of constants and of series rounded to a few values have no width of their own.
const LEAST_OF_MEAN: f64 = 1e-3;
const LEAST_OF_SIZE: f64 = 1e-12;
/// Shape below which the tail is an exponential one.
const EXPONENTIAL: f64 = 1e-6;
/// Excesses from which one is learned capped.
const FEW: u32 = 3;
/// Least probability.
const LEAST: f64 = 1e-60;

/// The excesses of a residual over a threshold, as a generalised Pareto tail.
///
/// The threshold is the third largest of the first readings and never moves: as the tail is of all
/// readings beyond it, where it lies matters little (Pickands 1975, Balkema and de Haan 1974).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Excess {
    /// While the series is warming up: its largest residuals, the first one first. The third is the
    /// threshold from then on.
    largest: [f64; 3],
    /// Mean excess, and mean square.
    mean: f64,
    square: f64,
    /// Mean size of all residuals.
    typical: f64,
    /// Excesses so far.
    number: u32,
    spare: u32,
}

impl Excess {
    pub const NEW: Excess = Excess {
        largest: [0.0; 3],
        mean: 0.0,
        square: 0.0,
        typical: 0.0,
        number: 0,
        spare: 0,
    };

    fn threshold(&self) -> f64 {
        self.largest[2]
    }

    /// Share of the readings that lie beyond the threshold.
    fn share(&self, readings: u64) -> f64 {
        f64::from(self.number.max(1)) / (readings as f64 + 1.0)
    }

    /// Probability of a residual of at least this size: `ζ (1 + ξ y/β)^(-1/ξ)` for an excess of
    /// `y`, with the share `ζ` beyond the threshold, and shape and scale by the method of moments
    /// (Hosking and Wallis 1987): `ξ = ½ (1 - m²/v)`, `β = m (1 - ξ)`. Shapes below 0, tails with
    /// an end, are not believed. 1 up to the threshold.
    pub fn rarity(&self, size: f64, readings: u64) -> f64 {
        let excess = size - self.threshold();
        if excess <= 0.0 {
            return 1.0;
        }
        let mean = self
            .mean
            .max(LEAST_OF_MEAN * self.typical)
            .max(LEAST_OF_SIZE * size);
        let variance = self.square - self.mean * self.mean;
        let shape = if variance > 0.0 {
            (0.5 * (1.0 - mean * mean / variance)).max(0.0)
        } else {
            0.0
        };
        let y = excess / (mean * (1.0 - shape));
        let beyond = if shape < EXPONENTIAL {
            (-y).exp()
        } else {
            (1.0 + shape * y).powf(-1.0 / shape)
        };
        (self.share(readings) * beyond).clamp(LEAST, 1.0)
    }

    pub fn learn(&mut self, size: f64, readings: u64, tuning: &Tuning) {
        self.typical += (size - self.typical) / (readings as f64 + 1.0);
        if (readings as f64) < tuning.warm {
            self.rank(size);
            if readings as f64 + 1.0 >= tuning.warm {
                for largest in [self.largest[0], self.largest[1]] {
                    self.take(largest - self.threshold());
                }
            }
            return;
        }
        let excess = size - self.threshold();
        if excess > 0.0 {
            self.take(excess.min(self.cap(readings, tuning)));
        }
    }

    /// The largest excess that is learned: what an exponential tail calls one in 100,000.
    fn cap(&self, readings: u64, tuning: &Tuning) -> f64 {
        if self.number < FEW {
            return f64::INFINITY;
        }
        let decades = tuning.learned + self.share(readings).log10();
        self.mean * (core::f64::consts::LN_10 * decades).max(1.0)
    }

    fn take(&mut self, excess: f64) {
        if excess <= 0.0 {
            return;
        }
        self.number = self.number.saturating_add(1);
        let share = 1.0 / f64::from(self.number);
        self.mean += (excess - self.mean) * share;
        self.square += (excess * excess - self.square) * share;
    }

    fn rank(&mut self, size: f64) {
        let [first, second, third] = self.largest;
        self.largest = if size > first {
            [size, first, second]
        } else if size > second {
            [first, size, second]
        } else if size > third {
            [first, second, size]
        } else {
            return;
        };
    }

    pub fn is_sound(&self) -> bool {
        [self.mean, self.square, self.typical]
            .iter()
            .chain(&self.largest)
            .all(|v| v.is_finite() && *v >= 0.0)
    }
}
