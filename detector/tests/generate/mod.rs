//! Data for the tests: seeded, the same on every machine.
#![allow(dead_code)] // each test binary uses its own part

use detector::{Judgement, Moment, Pace, Series};

pub const MINUTE: Pace = Pace { minutes: 1.0 };
/// Minutes of a day.
pub const DAY: i64 = 1440;

/// The moment of a minute, counted from a Monday's midnight.
pub fn minute(bucket: i64) -> Moment {
    moment(bucket, 1.0)
}

/// The moment of a bucket of `width` minutes, counted from a Monday's midnight.
pub fn moment(bucket: i64, width: f64) -> Moment {
    let minutes = (bucket as f64 * width).floor() as i64;
    Moment {
        bucket,
        minute: minutes.rem_euclid(DAY) as u16,
        weekend: minutes.div_euclid(DAY).rem_euclid(7) >= 5,
    }
}

/// A xorshift64* generator.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A Poisson count, by multiplication (Knuth), in parts of 30.
    pub fn poisson(&mut self, mean: f64) -> f64 {
        let (mut left, mut count) = (mean, 0.0);
        while left > 0.0 {
            let part = left.min(30.0);
            left -= part;
            let mut product = self.uniform();
            while product > (-part).exp() {
                count += 1.0;
                product *= self.uniform();
            }
        }
        count
    }
}

/// The mean at a minute of the day: a curve with its peak at 14 h and a ratio of e² to its trough.
pub fn daily(mean: f64, minute: i64) -> f64 {
    let angle = core::f64::consts::TAU * (minute.rem_euclid(DAY) - 840) as f64 / DAY as f64;
    mean * angle.cos().exp() / 1.266
}

/// A series that has read a Poisson stream of `mean` until minute `until`.
pub fn quiet(random: &mut Random, mean: f64, until: i64) -> Series {
    let mut series = Series::new();
    for bucket in 0..until {
        step(&mut series, random.poisson(mean), bucket);
    }
    series
}

pub fn step(series: &mut Series, x: f64, bucket: i64) -> Judgement {
    series.step(x, minute(bucket), MINUTE)
}
