//! One way of looking at a reading: a residual, and all that is known of its size.

use serde::{Deserialize, Serialize};

use super::pareto::Pareto;
use super::scale::Scale;
use super::sizes::Sizes;
use super::tuning::Tuning;

/// What is known of the size of one residual.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Channel {
    pub scale: Scale,
    pareto: Pareto,
    sizes: Sizes,
}

/// How a residual is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opinion {
    /// Decades.
    pub surprise: f64,
    /// Whether its size is to be remembered.
    pub memorable: bool,
}

impl Opinion {
    pub const NONE: Opinion = Opinion {
        surprise: 0.0,
        memorable: false,
    };
}

impl Channel {
    pub const NEW: Channel = Channel {
        scale: Scale::NEW,
        pareto: Pareto::NEW,
        sizes: Sizes::NEW,
    };

    /// How surprising a residual is. Severity and rarity are averaged as probabilities, so that the
    /// smaller surprise decides, and what is memorable is at most as surprising as its size is rare.
    pub fn judge(&self, residual: f64, readings: u64, apart: u32, tuning: &Tuning) -> Opinion {
        let size = residual.abs();
        let severity = self.scale.severity(size, readings, tuning);
        let rarity = self.pareto.rarity(size);
        let both = tuning.severity * severity + (1.0 - tuning.severity) * rarity;
        let surprise = -both.max(f64::MIN_POSITIVE).log10();
        if surprise < tuning.memorable || size <= 0.0 {
            return Opinion {
                surprise: surprise.max(0.0),
                memorable: false,
            };
        }
        let seen = f64::from(self.sizes.seen(size, apart));
        let as_seen = if seen > 0.0 {
            ((readings as f64 + 1.0) / seen).log10().max(0.0)
        } else {
            surprise
        };
        Opinion {
            surprise: surprise.min(as_seen),
            memorable: true,
        }
    }

    /// Surprise of a mean of many residuals, decades: as [`judge`](Channel::judge) says, but as far as
    /// all sizes so far are those of a normal law, which means of many tend to, that law's tail.
    pub fn judge_mean(&self, residual: f64, readings: u64, apart: u32, tuning: &Tuning) -> Opinion {
        let opinion = self.judge(residual, readings, apart, tuning);
        let normality = self.pareto.normality();
        let deviation = self.scale.deviation();
        if normality <= 0.0 || deviation <= 0.0 {
            return opinion;
        }
        let normal = normal_surprise(residual.abs() / deviation);
        let more = (normal - opinion.surprise).max(0.0) * normality;
        Opinion {
            surprise: opinion.surprise + more,
            ..opinion
        }
    }

    /// Takes a residual.
    pub fn learn(
        &mut self,
        residual: f64,
        opinion: Opinion,
        readings: u64,
        apart: u32,
        tuning: &Tuning,
    ) {
        let size = residual.abs();
        self.scale.learn(size, readings, tuning);
        self.pareto.learn(size, readings, tuning);
        self.sizes.learn(opinion.memorable.then_some(size), apart);
    }

    pub fn is_sound(&self) -> bool {
        self.scale.is_sound() && self.pareto.is_sound() && self.sizes.is_sound()
    }
}

/// Decades of the probability that a normal number lies `z` standard deviations or more from its
/// mean, on either side; from above by at most a tenth of a decade (Abramowitz and Stegun 1964,
/// 7.1.13: `erfc x ≤ 2/√π · exp(-x²) / (x + √(x² + 4/π))`).
fn normal_surprise(z: f64) -> f64 {
    use core::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_10, PI};
    let x = z * FRAC_1_SQRT_2;
    let factor = FRAC_2_SQRT_PI / (x + (x * x + 4.0 / PI).sqrt());
    (x * x / LN_10 - factor.log10()).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::normal_surprise;

    #[test]
    fn normal_tail() {
        // Two-sided probabilities of a normal law: Python 3 math.erfc(z / sqrt(2)), doubles.
        for (z, p) in [
            (0.0, 1.0),
            (1.0, 0.317_310_5),
            (3.0, 2.699_796e-3),
            (5.0, 5.733_031e-7),
        ] {
            let off = normal_surprise(z) + f64::log10(p);
            assert!(off.abs() < 0.1, "{z}: {off}");
        }
    }
}
