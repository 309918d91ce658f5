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
