//! The governor: which surprises become alerts.
//!
//! It acts on what is notified, never on scores.

use serde::{Deserialize, Serialize};

use super::tuning::Tuning;

/// Seconds of a reading at which the governor takes nothing off and adds nothing, and from which it
/// adds no more.
const USUAL: f64 = 300.0;
const WIDEST: f64 = 3600.0;

/// The alerts of the last weeks, each fading away.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Governor {
    alerts: f64,
}

/// What the governor says of a reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruling {
    /// Surprise less what the governor takes off, decades, at least 0.
    pub governed: f64,
    /// What it takes off, decades.
    pub calmed: f64,
    /// Whether the governor lets it through: it opens an incident, or belongs to one.
    pub anomalous: bool,
}

impl Ruling {
    pub const NONE: Ruling = Ruling {
        governed: 0.0,
        calmed: 0.0,
        anomalous: false,
    };
}

/// Readings after which an anomaly is a new one.
pub(super) fn apart(seconds: f64, tuning: &Tuning) -> u32 {
    (tuning.apart / seconds).max(1.0) as u32
}

/// Decades that a surprise of a reading so wide counts more.
///
/// What matters to who is alerted is how often it happens in a week, not in a thousand readings:
/// hourly readings are twelve times fewer, so a decade of their surprises counts for more. (Readings
/// closer than five minutes are too alike to be counted one by one; and wider than an hour there are
/// so few that every surprise would count.)
fn width(seconds: f64) -> f64 {
    (seconds.min(WIDEST) / USUAL).max(1.0).log10()
}

/// Surprise from which a reading of this width is not normal, decades.
pub(super) fn open(seconds: f64, tuning: &Tuning) -> f64 {
    (tuning.open - width(seconds)).max(0.5)
}

impl Governor {
    pub const NEW: Governor = Governor { alerts: 0.0 };

    /// Alerts that are still remembered once a reading of this width has passed. The memory is
    /// shorter the wider readings are, in readings, and longer, in time: it goes with the root.
    fn remembered(&self, seconds: f64, tuning: &Tuning) -> f64 {
        let memory = (tuning.governor_memory * (USUAL / seconds).sqrt()).max(1.0);
        self.alerts * (1.0 - 1.0 / memory)
    }

    /// Rules on a surprise, decades per reading, of a reading that covers so many seconds. Each
    /// decade of alerts that are remembered takes off: a series that alerts every day has shown that
    /// its surprises mean less. The surprise itself stays what it is.
    pub fn rule(&self, surprise: f64, seconds: f64, tuning: &Tuning) -> Ruling {
        let calmed = tuning.governor * (1.0 + self.remembered(seconds, tuning)).log10();
        Ruling {
            governed: (surprise + width(seconds) - calmed).max(0.0),
            calmed,
            anomalous: surprise - calmed >= open(seconds, tuning),
        }
    }

    pub fn learn(&mut self, opened: bool, seconds: f64, tuning: &Tuning) {
        self.alerts = self.remembered(seconds, tuning);
        if opened {
            self.alerts += 1.0;
        }
    }

    pub fn is_sound(&self) -> bool {
        self.alerts.is_finite() && self.alerts >= 0.0
    }
}
