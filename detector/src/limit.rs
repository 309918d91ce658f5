//! Fixed limits of a rule, beside the statistics.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::incident::{Closing, Incident, EXTREME, OPEN, REMEMBERED};
use crate::judgement::{Channel, Verdict};
use crate::series::{is_reading, LARGEST};

/// Readings in a row inside the limits after which an incident is resolved.
const QUIET_READINGS: u32 = 5;

/// Fixed limits, in counts per bucket; NaN where none is set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// A reading of this or more is a warning.
    pub warn_above: f64,
    /// A reading of this or more is critical.
    pub critical_above: f64,
    /// A reading of this or less is a warning.
    pub warn_below: f64,
    /// A reading of this or less is critical.
    pub critical_below: f64,
}

/// A limit that a reading breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Broken {
    /// `Warning` or `Critical`.
    pub verdict: Verdict,
    /// 1 above, -1 below.
    pub direction: i8,
    /// The limit, in counts per bucket.
    pub limit: f64,
}

impl Limits {
    /// No limits.
    pub const NONE: Limits = Limits {
        warn_above: f64::NAN,
        critical_above: f64::NAN,
        warn_below: f64::NAN,
        critical_below: f64::NAN,
    };

    /// Whether no limit is set.
    pub fn is_none(&self) -> bool {
        [
            self.warn_above,
            self.critical_above,
            self.warn_below,
            self.critical_below,
        ]
        .iter()
        .all(|limit| limit.is_nan())
    }

    /// The worst limit a reading breaks; where two are broken on both sides, the upper one.
    pub fn broken(&self, x: f64) -> Option<Broken> {
        let broken = |verdict, direction, limit| {
            Some(Broken {
                verdict,
                direction,
                limit,
            })
        };
        if x >= self.critical_above {
            broken(Verdict::Critical, 1, self.critical_above)
        } else if x <= self.critical_below {
            broken(Verdict::Critical, -1, self.critical_below)
        } else if x >= self.warn_above {
            broken(Verdict::Warning, 1, self.warn_above)
        } else if x <= self.warn_below {
            broken(Verdict::Warning, -1, self.warn_below)
        } else {
            None
        }
    }

    /// What the limits say of a reading: verdict and direction; `None` inside them.
    pub fn verdict(&self, x: f64) -> Option<(Verdict, i8)> {
        self.broken(x)
            .map(|broken| (broken.verdict, broken.direction))
    }

    /// The bounds narrowed to the counts that break no limit. (A limit goes before the
    /// expectation, which may then lie outside.)
    pub fn narrow(&self, bounds: Bounds) -> Bounds {
        // `min` and `max` pass over NaN.
        let top = self.warn_above.min(self.critical_above).ceil() - 1.0;
        let bottom = self.warn_below.max(self.critical_below).floor() + 1.0;
        Bounds {
            lower: bounds.lower.max(bottom),
            upper: bounds.upper.min(top),
        }
    }
}

impl Limits {
    /// The bounds narrowed to the shares that break no limit. (Shares are no whole numbers: a limit itself is outside.)
    pub fn narrow_share(&self, bounds: Bounds) -> Bounds {
        let top = self.warn_above.min(self.critical_above).next_down();
        let bottom = self.warn_below.max(self.critical_below).next_up();
        Bounds {
            lower: bounds.lower.max(bottom),
            upper: bounds.upper.min(top),
        }
    }
}

/// The incidents of the fixed limits: one opens at the first reading that breaks a limit, and is
/// resolved after five readings in a row that do not.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitWatch {
    /// The latest incidents: incident `k` (from 0) is at `k % 4`.
    pub recent: [Incident; REMEMBERED],
    /// Incidents opened so far.
    pub incidents: u32,
    /// Readings in a row inside the limits.
    quiet: u32,
}

impl Default for LimitWatch {
    fn default() -> Self {
        Self::new()
    }
}

impl LimitWatch {
    /// A watch that has seen nothing.
    pub const fn new() -> LimitWatch {
        LimitWatch {
            recent: [Incident::NONE; REMEMBERED],
            incidents: 0,
            quiet: 0,
        }
    }

    /// The incident that goes on, if one does.
    pub fn open_incident(&self) -> Option<&Incident> {
        let last = self.incidents.checked_sub(1)?;
        self.recent
            .get(last as usize % REMEMBERED)
            .filter(|incident| incident.is_open())
    }

    /// Takes a reading, with what the statistics expected of it. What is no reading (NaN, infinite,
    /// negative) changes nothing. A reading that breaks a limit on the other side ends the open
    /// incident and opens one of its own.
    ///
    /// In the incident, `surprise` is [`OPEN`] for a warning and [`EXTREME`] for critical, so that
    /// its score agrees with its verdict; `span_expected` is the limit; `lower` and `upper` are the
    /// counts that break none.
    pub fn step(&mut self, x: f64, limits: &Limits, expected: f64, bucket: i64) {
        if !is_reading(x) {
            return;
        }
        let broken = limits.broken(x);
        let last = self.incidents.saturating_sub(1) as usize % REMEMBERED;
        let open = &mut self.recent[last];
        if self.incidents > 0 && open.is_open() {
            match broken {
                Some(broken) if broken.direction == open.direction => {
                    goes_on(open, &broken, x, expected, bucket);
                    self.quiet = 0;
                    return;
                }
                Some(_) => open.close(Closing::Resolved, bucket),
                None => {
                    self.quiet = self.quiet.saturating_add(1);
                    if self.quiet >= QUIET_READINGS {
                        open.close(Closing::Resolved, bucket);
                    }
                    return;
                }
            }
        }
        if let Some(broken) = broken {
            let incident = opened_by(&broken, limits, x, expected, bucket);
            self.recent[self.incidents as usize % REMEMBERED] = incident;
            self.incidents = self.incidents.saturating_add(1);
            self.quiet = 0;
        }
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.recent.iter().all(Incident::is_finite)
    }
}

/// A surprise that has the verdict's score.
fn nominal(verdict: Verdict) -> f64 {
    if verdict == Verdict::Critical {
        EXTREME
    } else {
        OPEN
    }
}

fn opened_by(broken: &Broken, limits: &Limits, x: f64, expected: f64, bucket: i64) -> Incident {
    let expected = if expected.is_finite() { expected } else { 0.0 };
    let inside = limits.narrow(Bounds {
        lower: 0.0,
        upper: LARGEST,
    });
    Incident {
        opened: bucket,
        last_seen: bucket,
        direction: broken.direction,
        severity: broken.verdict as u8,
        channel: Channel::Limit as u8,
        buckets: 1,
        empty: u32::from(x == 0.0),
        span: 1,
        observed: x,
        expected,
        lower: inside.lower.clamp(0.0, LARGEST),
        upper: inside.upper.clamp(0.0, LARGEST),
        surprise: nominal(broken.verdict),
        span_observed: x,
        span_expected: broken.limit.clamp(-LARGEST, LARGEST),
        peak_observed: x,
        peak_expected: expected,
        peak_surprise: nominal(broken.verdict),
        ..Incident::NONE
    }
}

fn goes_on(open: &mut Incident, broken: &Broken, x: f64, expected: f64, bucket: i64) {
    open.last_seen = bucket;
    open.buckets = open.buckets.saturating_add(1);
    open.empty = open.empty.saturating_add(u32::from(x == 0.0));
    open.severity = open.severity.max(broken.verdict as u8);
    open.peak_surprise = open.peak_surprise.max(nominal(broken.verdict));
    open.peak_by(x, if expected.is_finite() { expected } else { 0.0 });
}
