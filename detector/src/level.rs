//! Levels and trend of a series, as natural logs of counts per bucket.

use serde::{Deserialize, Serialize};

use crate::elementary::{ln, lns};

/// Lowest level: 0.002 a bucket.
const LOWEST: f64 = -6.2;
/// Highest level: about 3e15 a bucket.
const HIGHEST: f64 = 35.6;
/// Learning a reading moves a level no lower than this many a bucket.
const LEAST: f64 = 1e-3;
/// Longest extra horizon at low counts, in readings: season known, and not.
const EXTRA_KNOWN: f64 = 250.0;
const EXTRA_UNKNOWN: f64 = 90.0;
/// Largest trend and season slope used, log per reading (season: per minute of a bucket).
pub(crate) const STEEPEST: f64 = 0.06;
/// The trend moves by this share of the level's squared gain.
const TREND_GAIN: f64 = 0.25;
/// What is left of the trend after a reading.
const TREND_MEMORY: f64 = 0.985;

/// How quickly a level follows: over `readings`, or longer where these hold fewer than `events`.
pub(crate) struct Horizon {
    readings: f64,
    pub events: f64,
}

pub(crate) const FAST: Horizon = Horizon {
    readings: 10.0,
    events: 20.0,
};
pub(crate) const SLOW: Horizon = Horizon {
    readings: 30.0,
    events: 40.0,
};
pub(crate) const DEPARTURE: Horizon = Horizon {
    readings: 360.0,
    events: 100.0,
};

impl Horizon {
    /// The extra horizon, in readings, that gathers enough events at this mean.
    pub fn extra(&self, mean: f64, known: bool) -> f64 {
        (self.events / mean).min(if known { EXTRA_KNOWN } else { EXTRA_UNKNOWN })
    }

    /// Share of a reading's deviation that the level takes over; after few readings, their mean.
    pub fn gain(&self, mean: f64, known: bool, readings: u64) -> f64 {
        (1.0 / (self.readings + self.extra(mean, known))).max(1.0 / (readings as f64 + 1.0))
    }
}

/// The level of a series and where it is going.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Levels {
    /// Follows within 10 readings or 20 events.
    pub fast: f64,
    /// Follows within 30 readings or 40 events.
    pub slow: f64,
    /// How far the level of the last hours lies above the season; known seasons only.
    pub departure: f64,
    /// Trend, log per reading, as learned.
    pub trend: f64,
    /// The part of the trend that stands out of its own noise: what is used.
    pub drift: f64,
}

impl Levels {
    pub const NEW: Levels = Levels {
        fast: 0.0,
        slow: 0.0,
        departure: 0.0,
        trend: 0.0,
        drift: 0.0,
    };

    /// The first reading.
    pub fn start(&mut self, mean: f64) {
        self.fast = ln(mean);
        self.slow = self.fast;
    }

    /// Both levels move by this much as the clock goes on, within what a level can be.
    pub fn carry(&mut self, by: f64) {
        self.fast = bounded(self.fast + by);
        self.slow = bounded(self.slow + by);
    }

    /// Both levels become this mean, and the trend is forgotten.
    pub fn restart(&mut self, mean: f64) {
        self.fast = bounded(ln(mean.max(0.02)));
        self.slow = self.fast;
        self.trend = 0.0;
    }

    /// The trend shrunk by the share that is its own noise (the positive-part James-Stein form
    /// `b (1 - v/b²)`), for a level that follows with `gain` around `mean`.
    pub fn shrunk_trend(&self, mean: f64, gain: f64, dispersion: f64) -> f64 {
        let variance = TREND_GAIN * gain * gain * gain * (1.0 / mean.max(0.01) + dispersion);
        let kept = (1.0 - variance / (self.trend * self.trend + 1e-18)).max(0.0);
        (self.trend * kept).clamp(-STEEPEST, STEEPEST)
    }

    /// The trend takes the relative deviation of a reading.
    pub fn learn_trend(&mut self, deviation: f64, gain: f64, belief: f64) {
        self.trend += belief * TREND_GAIN * gain * gain * deviation.clamp(-2.0, 2.0);
    }

    /// One reading passes.
    pub fn fade_trend(&mut self) {
        self.trend *= TREND_MEMORY;
    }

    /// The departure takes the relative deviation of a reading from `exp(departure) × season`,
    /// times its gain.
    pub fn learn_departure(&mut self, step: f64, season: f64) {
        self.departure += log_step(step);
        self.departure = bounded(self.departure + season) - season;
    }

    pub fn is_finite(&self) -> bool {
        [self.fast, self.slow, self.departure, self.trend, self.drift]
            .iter()
            .all(|v| v.is_finite())
    }
}

/// What a relative deviation times its gain moves the log of a level by.
pub(crate) fn log_step(step: f64) -> f64 {
    ln((1.0 + step).max(0.05))
}

/// The logs of levels that a reading has moved to these means.
pub(crate) fn log_levels(means: [f64; 2]) -> [f64; 2] {
    lns(means.map(|mean| mean.max(LEAST)))
}

fn bounded(level: f64) -> f64 {
    level.clamp(LOWEST, HIGHEST)
}
