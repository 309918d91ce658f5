//! The governor: which surprises become alerts.
//!
//! It acts on what is notified, never on scores.

use serde::{Deserialize, Serialize};

use super::tuning::Tuning;

/// Seconds of a reading at which the governor takes nothing off and adds nothing.
const USUAL: f64 = 300.0;

/// The alerts of the last weeks, and when the last anomaly was.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Governor {
    /// Alerts, each fading away.
    alerts: f64,
    /// Readings since the last anomaly; the largest number before there was one.
    age: u32,
    spare: u32,
}

/// What the governor says of a reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruling {
    /// Surprise less what the governor takes off, decades, at least 0.
    pub governed: f64,
    /// Whether the reading is not normal.
    pub anomalous: bool,
    /// Whether it is the first one that is not.
    pub opens: bool,
}

/// Readings after which an anomaly is a new one.
pub(super) fn apart(seconds: f64, tuning: &Tuning) -> u32 {
    (tuning.apart / seconds).max(1.0) as u32
}

impl Governor {
    pub const NEW: Governor = Governor {
        alerts: 0.0,
        age: u32::MAX,
        spare: 0,
    };

    /// Alerts that are still remembered once a reading of this width has passed. The memory is
    /// shorter the wider readings are, in readings, and longer, in time: it goes with the root.
    fn remembered(&self, seconds: f64, tuning: &Tuning) -> f64 {
        let memory = (tuning.governor_memory * (USUAL / seconds).sqrt()).max(1.0);
        self.alerts * (1.0 - 1.0 / memory)
    }

    /// Judges a surprise, decades per reading, of a reading that covers so many seconds.
    ///
    /// What matters to who is alerted is how often it happens in a week, not in a thousand
    /// readings: hourly readings are twelve times fewer, so a decade of their surprises counts for
    /// more. (Readings closer than five minutes are too alike to be counted one by one.) And each
    /// decade of alerts that are remembered takes off: a series that alerts every day has shown
    /// that its surprises mean less.
    pub fn rule(&self, surprise: f64, seconds: f64, tuning: &Tuning) -> Ruling {
        let alerts = self.remembered(seconds, tuning);
        let in_time = surprise + (seconds / USUAL).max(1.0).log10();
        let governed = in_time - tuning.governor * (1.0 + alerts).log10();
        let anomalous = governed >= tuning.open;
        Ruling {
            governed: governed.max(0.0),
            anomalous,
            opens: anomalous && self.age > apart(seconds, tuning),
        }
    }

    pub fn learn(&mut self, ruling: Ruling, seconds: f64, tuning: &Tuning) {
        self.alerts = self.remembered(seconds, tuning);
        if ruling.opens {
            self.alerts += 1.0;
        }
        self.age = if ruling.anomalous {
            1
        } else {
            self.age.saturating_add(1)
        };
    }

    pub fn is_sound(&self) -> bool {
        self.alerts.is_finite() && self.alerts >= 0.0
    }
}
