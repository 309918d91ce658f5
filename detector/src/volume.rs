//! The volume of a monitor: how all of its series together stand against what is usual of them.
//!
//! On the day of a sale everything rises. A series that rises no further than the others do is not
//! above normal, however surprising that is to its own history. So where the others have risen, the
//! high side is asked twice: against what the series' own past foretells, and against its usual level
//! times the rise of the others over the same buckets. And where a series has run above its usual
//! level, coming back to that with the others is no fall; below it, an outage that takes all series
//! down together is told as ever.
//!
//! The rise of the others is a ratio of sums, so that each counts by what is usual of it: a status of
//! five a minute that breaks out to a hundred is no rise of a volume of three hundred. What it adds
//! is limited besides.

use core::iter::Sum;
use core::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::outlook::{LONG_EFFECTIVE, LONG_RATE};

/// Windows in which channels look for too much: one reading, two, 5, 10, 20, and the exponential mean.
pub(crate) const WINDOWS: usize = 6;
/// The lengths of the first five.
pub(crate) const LENGTHS: [usize; WINDOWS - 1] = [1, 2, 5, 10, 20];
/// Buckets kept.
const KEPT: usize = 20;
/// Buckets for which the rise last noted is still that of the reading in hand.
const FRESH: i64 = 32;
/// A series adds at most this many times what is usual of it: what breaks out alone is no volume.
const LARGEST_PART: f64 = 4.0;
/// Rise of the others from which it is one.
const LEAST_RISE: f64 = 1.1;

/// Units of a count in a [`Part`].
const UNITS: f64 = 1_048_576.0;

/// What one bucket held and what would have been usual: of one series, or summed over several. Whole
/// numbers of millionths, so that the sum is the same in whatever order the series come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    observed: i128,
    usual: i128,
}

impl AddAssign for Part {
    fn add_assign(&mut self, other: Part) {
        self.observed += other.observed;
        self.usual += other.usual;
    }
}

impl Sum for Part {
    fn sum<I: Iterator<Item = Part>>(parts: I) -> Part {
        parts.fold(Part::default(), |mut all, part| {
            all += part;
            all
        })
    }
}

impl Part {
    /// Of a reading, or a sum of them, of one series.
    pub(crate) fn of(observed: f64, usual: f64) -> Part {
        Part {
            observed: (observed.min(LARGEST_PART * usual) * UNITS) as i128,
            usual: (usual * UNITS) as i128,
        }
    }

    /// Counts held.
    fn observed(self) -> f64 {
        self.observed as f64 / UNITS
    }

    /// Counts that are usual.
    fn usual(self) -> f64 {
        self.usual as f64 / UNITS
    }
}

/// What the series of a monitor held together in the last buckets that counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Bucket number `n` counted is at `n % 20`.
    observed: [f32; KEPT],
    usual: [f32; KEPT],
    /// Exponential means.
    long_observed: f32,
    long_usual: f32,
    /// Place of the next bucket.
    next: u32,
    spare: u32,
}

impl Volume {
    /// Of a monitor that has seen nothing.
    pub(crate) const NEW: Volume = Volume {
        observed: [0.0; KEPT],
        usual: [0.0; KEPT],
        long_observed: 0.0,
        long_usual: 0.0,
        next: 0,
        spare: 0,
    };

    /// The next bucket that counted.
    pub(crate) fn put(&mut self, all: Part) {
        let i = self.next as usize % KEPT;
        self.next = (i as u32 + 1) % KEPT as u32;
        self.observed[i] = all.observed() as f32;
        self.usual[i] = all.usual() as f32;
        let follow = |mean: &mut f32, x: f64| {
            *mean = (f64::from(*mean) + (x - f64::from(*mean)) * LONG_RATE) as f32;
        };
        follow(&mut self.long_observed, all.observed());
        follow(&mut self.long_usual, all.usual());
    }

    /// Held and usual, over each window.
    pub(crate) fn sums(&self) -> Sums {
        let mut sums = [(0.0, 0.0); WINDOWS];
        let (mut observed, mut usual) = (0.0, 0.0);
        let mut i = self.next as usize % KEPT;
        for count in 1..=KEPT {
            i = if i == 0 { KEPT - 1 } else { i - 1 };
            observed += f64::from(self.observed[i]);
            usual += f64::from(self.usual[i]);
            if let Some(w) = LENGTHS.iter().position(|l| *l == count) {
                sums[w] = (observed, usual);
            }
        }
        sums[WINDOWS - 1] = (
            f64::from(self.long_observed) * LONG_EFFECTIVE,
            f64::from(self.long_usual) * LONG_EFFECTIVE,
        );
        Sums(sums)
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.long_observed.is_finite()
            && self.long_usual.is_finite()
            && self
                .observed
                .iter()
                .chain(&self.usual)
                .all(|v| v.is_finite())
    }
}

/// What the series of a monitor held together, and what was usual of them, over each window.
#[derive(Clone, Copy, Debug)]
pub struct Sums([(f64, f64); WINDOWS]);

/// By how much the other series have risen.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Others {
    /// Over each window: what they held to what was usual of them; 0 where nothing is.
    stand: [f32; WINDOWS],
    /// Relative variance of that, where it is a rise that this series is held against; else negative.
    doubt: [f32; WINDOWS],
    /// The bucket it is of.
    bucket: i64,
}

/// What the rise of the others foretells of a sum.
#[derive(Clone, Copy)]
pub(crate) struct Foretold {
    /// Mean of the sum for the high side; 0 where they have not risen.
    pub high: f64,
    /// Its relative variance, beside that of the series itself.
    pub doubt: f64,
    /// Mean of the sum for the low side; infinite where nothing is known of them.
    pub low: f64,
}

impl Foretold {
    pub const NOTHING: Foretold = Foretold {
        high: 0.0,
        doubt: 0.0,
        low: f64::INFINITY,
    };

    /// With what a job brings besides, of which the others say nothing.
    pub fn with(self, extra: f64) -> Foretold {
        Foretold {
            high: if self.high > 0.0 {
                self.high + extra
            } else {
                0.0
            },
            low: self.low + extra,
            ..self
        }
    }
}

impl Others {
    pub const NEW: Others = Others {
        stand: [0.0; WINDOWS],
        doubt: [0.0; WINDOWS],
        bucket: i64::MIN,
    };

    /// Notes the volume of a bucket, of which `own` is this series' part, over each window.
    pub fn note(&mut self, volume: &Sums, own: &[Part; WINDOWS], bucket: i64) {
        self.bucket = bucket;
        for (w, (all, own)) in volume.0.iter().zip(own).enumerate() {
            let usual = all.1 - own.usual();
            let observed = all.0 - own.observed();
            // A series that is most of the volume is not held against the rest.
            let risen = usual > own.usual() && observed > LEAST_RISE * usual;
            self.stand[w] = if usual > 0.0 {
                (observed / usual) as f32
            } else {
                0.0
            };
            self.doubt[w] = if risen { (1.0 / observed) as f32 } else { -1.0 };
        }
    }

    /// Whether what was noted last is still that of a reading of `bucket`.
    pub fn is_fresh(&self, bucket: i64) -> bool {
        bucket.saturating_sub(self.bucket) <= FRESH
    }

    /// What the others foretell of sums that end in a reading of `bucket`, given what is usual of them.
    pub fn foretell(&self, bucket: i64, window: usize, usual: f64) -> Foretold {
        if !self.is_fresh(bucket) {
            return Foretold::NOTHING;
        }
        let (stand, doubt) = (f64::from(self.stand[window]), f64::from(self.doubt[window]));
        if stand <= 0.0 || usual <= 0.0 {
            return Foretold::NOTHING;
        }
        Foretold {
            high: if doubt >= 0.0 { stand * usual } else { 0.0 },
            doubt: doubt.max(0.0),
            low: stand.max(1.0) * usual,
        }
    }

    pub fn is_finite(&self) -> bool {
        self.stand.iter().chain(&self.doubt).all(|v| v.is_finite())
    }
}
