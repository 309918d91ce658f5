//! The last 21 readings, and what was foretold when they came.
//!
//! Sums are taken from the ring each time they are needed (19 additions, about 10 ns), never
//! carried: there is nothing that could drift away from the readings it sums.

use serde::{Deserialize, Serialize};

use crate::elementary::exp;
use crate::level::STEEPEST;

/// Readings kept: the longest lag is 20.
pub(crate) const LENGTH: usize = 21;
/// Fast levels kept: their longest lag is 5.
pub(crate) const FAST_LENGTH: usize = 6;

/// Unit of a kept trend: a thirty-thousandth of the steepest.
const TREND: f64 = STEEPEST / i16::MAX as f64;

/// A trend as it is kept.
pub(crate) fn kept_trend(trend: f64) -> i16 {
    // To the nearest, without the call that `round` is on processors of 2003.
    (trend / TREND + 0.5_f64.copysign(trend)) as i16
}

/// What is remembered of one reading.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    /// The count, less what a job brought.
    pub reading: f64,
    /// Season factor: `exp` of the season's path.
    pub factor: f64,
    /// Log of the fast level after the reading, less the path; only of the last 5.
    pub fast: f64,
    /// Log of the slow level after the reading, less the path.
    pub slow: f64,
    /// Trend used at the reading, log per reading.
    pub trend: f64,
}

/// Sums over the readings just before the one in hand.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    pub readings: f64,
    pub factors: f64,
}

/// Rings, by field: reading `n` is at `n % 21`, or `n % 6`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Windows {
    reading: [f32; LENGTH],
    factor: [f32; LENGTH],
    fast: [f32; FAST_LENGTH],
    slow: [f32; LENGTH],
    /// In units of `TREND`.
    trend: [i16; LENGTH],
}

impl Windows {
    pub const NEW: Windows = Windows {
        reading: [0.0; LENGTH],
        factor: [0.0; LENGTH],
        fast: [0.0; FAST_LENGTH],
        slow: [0.0; LENGTH],
        trend: [0; LENGTH],
    };

    /// Where reading number `n - back` lies. `back` is at most 20.
    fn place(n: u64, back: usize) -> usize {
        let i = (n % LENGTH as u64) as usize;
        (if i < back { i + LENGTH } else { i }) - back
    }

    /// The same of fast levels; of one that is kept no more, any.
    fn fast_place(n: u64, back: usize) -> usize {
        let length = FAST_LENGTH as u64;
        ((n % length + length - back as u64 % length) % length) as usize
    }

    /// The reading `back` (1 to 20) before reading number `n`.
    pub fn back(&self, n: u64, back: usize) -> Slot {
        let i = Self::place(n, back);
        Slot {
            reading: f64::from(self.reading[i]),
            factor: f64::from(self.factor[i]),
            fast: f64::from(self.fast[Self::fast_place(n, back)]),
            slow: f64::from(self.slow[i]),
            trend: f64::from(self.trend[i]) * TREND,
        }
    }

    /// Sums over the readings before reading number `n`, newest first, over so many of them (at most 20) for each of these
    /// numbers in turn (which rise).
    pub fn sums<const N: usize>(&self, n: u64, counts: [usize; N]) -> [Sums; N] {
        let mut sum = Sums {
            readings: 0.0,
            factors: 0.0,
        };
        let mut sums = [sum; N];
        let (mut i, mut taken) = (Self::place(n, 0), 0);
        for (sums, count) in sums.iter_mut().zip(counts) {
            for _ in taken..count {
                i = if i == 0 { LENGTH - 1 } else { i - 1 };
                sum.readings += f64::from(self.reading[i]);
                sum.factors += f64::from(self.factor[i]);
            }
            taken = count;
            *sums = sum;
        }
        sums
    }

    /// Stores reading number `n` over the oldest one.
    pub fn put(&mut self, n: u64, slot: Slot) {
        let i = Self::place(n, 0);
        self.reading[i] = slot.reading as f32;
        self.factor[i] = slot.factor as f32;
        self.fast[Self::fast_place(n, 0)] = slot.fast as f32;
        self.slow[i] = slot.slow as f32;
        self.trend[i] = kept_trend(slot.trend);
    }

    /// Makes all readings the same: what was expected, so that what lies before a gap or inside a
    /// closed incident does not speak again.
    pub fn fill(&mut self, slot: Slot) {
        self.reading = [slot.reading as f32; LENGTH];
        self.factor = [slot.factor as f32; LENGTH];
        self.fast = [slot.fast as f32; FAST_LENGTH];
        self.slow = [slot.slow as f32; LENGTH];
        self.trend = [kept_trend(slot.trend); LENGTH];
    }

    /// Lifts the remembered levels (logs), where the present ones were moved by other than a reading.
    pub fn lift(&mut self, fast: f64, slow: f64) {
        self.fast.iter_mut().for_each(|v| *v += fast as f32);
        self.slow.iter_mut().for_each(|v| *v += slow as f32);
    }

    /// Counts the season's path from its present value on.
    pub fn recentre(&mut self, path: f64) {
        let scale = exp(-path) as f32;
        self.factor.iter_mut().for_each(|v| *v *= scale);
        self.lift(path, path);
    }

    pub fn is_finite(&self) -> bool {
        [&self.reading, &self.factor, &self.slow]
            .iter()
            .all(|ring| ring.iter().all(|v| v.is_finite()))
            && self.fast.iter().all(|v| v.is_finite())
    }
}
