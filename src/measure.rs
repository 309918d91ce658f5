//! What the sums of a monitor's buckets count: whole things, or amounts.
//!
//! Sums are kept as i64 either way, since additions have to commute: floating-point numbers would depend on the order of
//! the rows, and a refold would not be the same bit for bit. An amount is added in millionths.

use detector::{Bounds, Family, Limits};

/// What a value column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Whole numbers, or rows: never below zero.
    Count,
    /// Numbers with decimals, of any sign.
    Amount,
}

/// Millionths of one.
const MICRO: f64 = 1e6;
/// A row of amounts counts for this much at most, either way.
pub const MOST_AMOUNT: f64 = 1e12;
/// From here on an amount is no number: as infinity.
pub const ENDLESS: f64 = 1e300;

/// What a series of amounts begins with: nothing is known of it.
static NEW: detector::Model = detector::Model::undeclared();

impl Measure {
    /// A sum as a reading.
    #[inline]
    pub fn reading(self, sum: i64) -> f64 {
        match self {
            Measure::Count => sum.max(0) as f64,
            Measure::Amount => sum as f64 / MICRO,
        }
    }

    /// A reading as a sum, for comparing: what a bucket may hold.
    pub fn sum(self, reading: f64) -> f64 {
        match self {
            Measure::Count => reading,
            Measure::Amount => reading * MICRO,
        }
    }

    /// With what a series begins that is first seen now. A count that was never there was zero; of an amount that is no
    /// expectation.
    #[inline]
    pub fn blank(self, blank: &detector::Model) -> &detector::Model {
        match self {
            Measure::Count => blank,
            Measure::Amount => &NEW,
        }
    }
}

/// An amount in millionths, to the nearest, halves to the even one; None where it is no number. `store::amount` does the
/// same in SQL.
pub fn micros(amount: f64) -> Option<i64> {
    (amount.abs() < ENDLESS).then(|| {
        let bounded = amount.clamp(-MOST_AMOUNT, MOST_AMOUNT);
        (bounded * MICRO).round_ties_even() as i64
    })
}

/// Bounds narrowed to what breaks no fixed limit: whole numbers, or any.
pub fn narrow(limits: &Limits, bounds: Bounds, family: Family) -> Bounds {
    match family {
        Family::Counts => limits.narrow(bounds),
        Family::Values => limits.narrow_share(bounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_in_millionths() {
        assert_eq!(micros(12.34), Some(12_340_000));
        assert_eq!(micros(-0.1), Some(-100_000));
        assert_eq!(micros(0.0000005), Some(0));
        assert_eq!(micros(1e30), Some(1_000_000_000_000_000_000));
        for none in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(micros(none), None);
        }
        assert_eq!(Measure::Amount.reading(-1_500_000), -1.5);
        assert_eq!(Measure::Count.reading(-3), 0.0);
    }
}
