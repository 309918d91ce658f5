//! Whether what is counted comes one by one or several at a time: a customer who tries again, a job that sends three.
//!
//! Then the variance is a multiple of the mean, `c M` (compound Poisson), and a dispersion learned around one mean says too
//! little where the mean is lower. It cannot be learned there from squares either: of few arrivals the ones that tell
//! are the same that an incident would show, and are clipped. But groups leave more buckets empty than arrivals one by
//! one do, whatever their sizes: a negative binomial count of variance `c M` is zero with probability
//! `exp(-M h)`, `h = ln c / (c - 1)`. So `h` is learned, from how many buckets were not empty and how many were to be.

use serde::{Deserialize, Serialize};

use crate::elementary::exp;

/// Means beyond which hardly a bucket is empty; and below which the level is more of what it began with.
const LARGEST_MEAN: f64 = 2.0;
const SMALLEST_MEAN: f64 = 0.02;
/// Buckets not empty, seen and foretold, that a series starts with: as of arrivals one by one.
const PRIOR: u16 = 4;
/// Foretold buckets are kept in such parts,
const PARTS: f64 = 64.0;
/// and both numbers are halved before one goes beyond this.
const FULL: u16 = 60_000;
/// Buckets not empty beyond which they are believed in part, and in full: of fewer, the mean itself is hardly known.
const FEW: f64 = 10.0;
const MANY: f64 = 20.0;
/// `h` below which groups are believed in part, and in full: a level that is not followed leaves buckets empty too.
const PLAIN: f64 = 0.95;
const MARKED: f64 = 0.85;
/// Least `h` believed: of a variance of six times the mean.
const LEAST: f64 = 0.358;

/// How many buckets were not empty, of those with a small mean.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clumps {
    seen: u16,
    /// The same if arrivals came one by one, at the mean foretold.
    foretold: u16,
}

/// `c - 1` where `h = ln c / (c - 1)`, within 2 % up to `c = 10`.
fn excess_of(h: f64) -> f64 {
    let rarer = 1.0 / h - 1.0;
    rarer * (2.0 + 0.58 * rarer / (1.0 + 0.18 * rarer))
}

impl Clumps {
    pub const NEW: Clumps = Clumps {
        seen: PRIOR,
        foretold: PRIOR * PARTS as u16,
    };

    /// `h`, if no larger than 1.
    fn thinned(&self) -> f64 {
        (f64::from(self.seen) * PARTS / f64::from(self.foretold).max(1.0)).clamp(LEAST, 1.0)
    }

    /// By how much the variance exceeds the mean, in means: `c - 1`.
    pub fn excess(&self) -> f64 {
        // As nearly always.
        if f64::from(self.seen) * PARTS >= f64::from(self.foretold) {
            return 0.0;
        }
        let known = (f64::from(self.seen) - FEW) / (MANY - FEW);
        let h = self.thinned();
        let marked = (PLAIN - h) / (PLAIN - MARKED);
        known.clamp(0.0, 1.0) * marked.clamp(0.0, 1.0) * excess_of(h)
    }

    /// Takes reading number `n`, of which `mean` was foretold. Others than small means say nothing.
    pub fn learn(&mut self, x: f64, mean: f64, n: u64) {
        if !(SMALLEST_MEAN..LARGEST_MEAN).contains(&mean) {
            return;
        }
        if self.foretold.max(self.seen) >= FULL {
            self.seen /= 2;
            self.foretold /= 2;
        }
        // P(x > 0) as it is, in terms of h, over h: so the ratio of the sums is h.
        let h = self.thinned();
        let parts = PARTS * (1.0 - exp(-mean * h)) / h;
        // Rounded up as often as its fraction says, by a sequence that fills the unit evenly.
        let even = f64::from((n as u32).wrapping_mul(0x9e37_79b9)) / 4_294_967_296.0;
        self.foretold = self.foretold.saturating_add((parts + even) as u16);
        self.seen = self.seen.saturating_add(u16::from(x > 0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buckets of a mean, groups of a size in so many of 100.
    fn read(mean: f64, groups: u64, size: f64) -> Clumps {
        let mut clumps = Clumps::NEW;
        for n in 0..20_000 {
            let x = if n * 37 % 100 < groups { size } else { 0.0 };
            clumps.learn(x, mean, n);
        }
        clumps
    }

    #[test]
    fn arrivals_one_by_one_have_no_excess() {
        // Of Poisson counts of mean 0.2 and 1.05, 18 and 65 of 100 buckets are not empty.
        assert!(read(0.2, 18, 1.0).excess() < 0.1);
        assert!(read(1.05, 65, 1.0).excess() < 0.1);
        assert_eq!(Clumps::NEW.excess(), 0.0);
    }

    #[test]
    fn groups_are_known_by_the_buckets_they_leave_empty() {
        // ln 5 / 4 = 0.402: of a mean of 0.25 one bucket in ten.
        let excess = read(0.25, 10, 2.5).excess();
        assert!((3.4..4.2).contains(&excess), "{excess}");
        // However great the groups are: an incident tells nothing.
        assert_eq!(read(0.25, 10, 2.5), read(0.25, 10, 1e9));
    }

    #[test]
    fn the_inverse_is_one() {
        for c in [1.05_f64, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0] {
            let inverse = excess_of(c.ln() / (c - 1.0));
            assert!((inverse / (c - 1.0) - 1.0).abs() < 0.02, "{c}: {inverse}");
        }
    }

    #[test]
    fn parts_are_rounded_evenly() {
        // A mean of 0.025 is one part and a half.
        let clumps = read(0.025, 0, 0.0);
        let (mut foretold, mut parts) = (4.0, 0.0);
        for _ in 0..20_000_u32 {
            let h = (4.0_f64 / foretold).clamp(LEAST, 1.0);
            parts = (1.0 - (-0.025 * h).exp()) / h;
            foretold += parts;
        }
        let kept = f64::from(clumps.foretold) / PARTS;
        assert!(
            (kept / foretold - 1.0).abs() < 0.02,
            "{kept}, {foretold}, {parts}"
        );
    }
}
