//! Where a bucket lies in the calendar, and how wide buckets are.

/// Minutes of a day.
pub(crate) const DAY: u16 = 1440;

/// Where a bucket lies in the local calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Number of the bucket: `floor(epoch / width)`. Neighbouring buckets differ by one.
    pub bucket: i64,
    /// Local minute of the day at the bucket's start, 0 to 1439 (taken modulo 1440).
    pub minute: u16,
    /// Whether the local day is a Saturday or a Sunday.
    pub weekend: bool,
}

/// Width of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Minutes, above zero. What is not a positive finite number is read as one minute.
    pub minutes: f64,
}

impl Pace {
    /// The width in minutes, between a millisecond and ten years whatever the field holds.
    pub(crate) fn width(self) -> f64 {
        if self.minutes.is_finite() && self.minutes > 0.0 {
            self.minutes.clamp(1.0 / 60_000.0, 5_256_000.0)
        } else {
            1.0
        }
    }
}
