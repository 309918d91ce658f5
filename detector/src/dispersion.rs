//! How much more than Poisson a series scatters, learned per channel.

use serde::{Deserialize, Serialize};

/// No channel is believed to scatter more than this.
pub(crate) const LARGEST: f64 = 3.0;
/// Readings over which what was learned fades by a factor e.
const MEMORY: f64 = 7200.0;
/// Residuals count for at most this many standard deviations.
const CLIP: f64 = 4.0;
/// The standard deviation of the clip is taken with a dispersion of at most this.
const CLIP_DISPERSION: f64 = 0.3;
/// The weight of a residual is taken with a dispersion of at most this: weights that fall with a
/// dispersion learned too high would keep it there.
const WEIGHT_DISPERSION: f64 = 0.1;
/// Information that an estimate without confidence is shrunk by.
const SHRINK: f64 = 30.0;
/// Information a series starts with, and never falls below.
const PRIOR: f64 = 1.0;

/// What is fixed of a channel's dispersion.
pub(crate) struct Kind {
    /// Width of the confidence bound, in units of `1 / √information`.
    confidence: f64,
    /// The smallest dispersion believed.
    floor: f64,
    /// Neighbouring windows share readings: one in so many is new.
    overlap: f64,
}

pub(crate) const POINT: Kind = Kind {
    confidence: 0.3,
    floor: 0.0005,
    overlap: 1.0,
};
pub(crate) const FIVE: Kind = Kind {
    confidence: 0.6,
    floor: 0.0005,
    overlap: 5.0,
};
pub(crate) const TWENTY: Kind = Kind {
    confidence: 1.2,
    floor: 0.001,
    overlap: 20.0,
};
pub(crate) const LONG: Kind = Kind {
    confidence: 0.4,
    floor: 0.001,
    overlap: crate::outlook::LONG_EFFECTIVE,
};

/// One comparison of what was seen with what was foretold.
pub(crate) struct Residual {
    pub observed: f64,
    pub mean: f64,
    /// Relative variance of the mean itself: the part of the scatter that is not dispersion.
    pub level_variance: f64,
    /// How far the reading is believed, 0 to 1.
    pub belief: f64,
}

/// A dispersion, estimated by the method of moments: `E (y - M)² = M + (φ + e) M²`, every
/// comparison weighted by the information it holds on `φ`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dispersion {
    /// Weighted sum of `((y - M)² - M - e M²) / M²`.
    excess: f64,
    /// Sum of the weights.
    information: f64,
}

impl Dispersion {
    pub const NEW: Dispersion = Dispersion {
        excess: 0.0,
        information: PRIOR,
    };

    /// Upper confidence bound of the dispersion. It falls by itself as windows carry information
    /// (within minutes at 100 a bucket, hours at 1), which is what makes a cold start both safe
    /// and quick.
    pub fn bound(&self, kind: &Kind) -> f64 {
        let information = self.information.max(PRIOR);
        let estimate = (self.excess / information).max(kind.floor);
        (estimate + kind.confidence / information.sqrt()).min(LARGEST)
    }

    /// The dispersion as estimated, shrunk to none where little is known of it.
    pub fn estimate(&self) -> f64 {
        (self.excess / (self.information + SHRINK)).clamp(0.0, LARGEST)
    }

    /// Takes a residual. `bound` is the dispersion it was judged with; `inflation` by how much
    /// that was raised over what is to be learned (1 where it was not).
    pub fn learn(&mut self, kind: &Kind, seen: &Residual, bound: f64, inflation: f64) {
        let Residual {
            observed,
            mean,
            level_variance,
            belief,
        } = *seen;
        let square = mean * mean;
        let reciprocal = 1.0 / mean;
        let variance = mean + (bound.min(CLIP_DISPERSION) + level_variance) * square;
        let clipped = (observed - mean).abs().min(CLIP * variance.sqrt());
        let excess = clipped * clipped - mean - level_variance * square;
        let relative_variance = reciprocal + bound.min(WEIGHT_DISPERSION) + level_variance;
        let weight = belief / (relative_variance * relative_variance * kind.overlap);
        self.excess += weight * excess * reciprocal * reciprocal / inflation;
        self.information += weight;
    }

    /// One reading passes.
    pub fn fade(&mut self) {
        self.excess *= 1.0 - 1.0 / MEMORY;
        self.information = (self.information * (1.0 - 1.0 / MEMORY)).max(PRIOR);
    }

    pub fn is_finite(&self) -> bool {
        self.excess.is_finite() && self.information.is_finite()
    }
}

/// The dispersion of each channel that sums readings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dispersions {
    pub point: Dispersion,
    pub five: Dispersion,
    pub twenty: Dispersion,
    pub long: Dispersion,
}

impl Dispersions {
    pub const NEW: Dispersions = Dispersions {
        point: Dispersion::NEW,
        five: Dispersion::NEW,
        twenty: Dispersion::NEW,
        long: Dispersion::NEW,
    };

    pub fn fade(&mut self) {
        self.point.fade();
        self.five.fade();
        self.twenty.fade();
        self.long.fade();
    }

    pub fn is_finite(&self) -> bool {
        self.point.is_finite()
            && self.five.is_finite()
            && self.twenty.is_finite()
            && self.long.is_finite()
    }
}
