//! Jobs: what a minute of the hour holds beyond the level, hour after hour.
//!
//! Schedulers run on the hour, or every five minutes, and what they bring does not follow the day's curve: it is added
//! to the level, not a factor of it. For each minute of the hour the excess over the level is followed, in counts. What
//! stands out is *in use*: it is foretold, and the level learns only what remains.
//!
//! Each reading counts for at most three standard deviations, or for what is known already, so that one burst is no
//! job; what exceeds that hour after hour moves faster each time (as in Frugal-2U: Ma, Muthukrishnan and Sandler,
//! 2013). A minute teaches only if the one before it was ordinary, so that an incident, which lasts, is none either.

use serde::{Deserialize, Serialize};

/// Minutes of an hour.
const MINUTES: usize = 60;
/// Standard deviations that a reading counts for.
pub(crate) const CLIP: f64 = 3.0;
/// Rate at which an excess is followed, and what each hour in a row beyond the clip adds to it.
const RATE: f64 = 0.1;
const HASTE: f64 = 0.13;
/// Standard deviations of a reading at which an excess comes into use, and below which it goes out again: about
/// six and two of its own.
const IN: f64 = 1.5;
const OUT: f64 = 0.5;
/// Widest bucket, in minutes.
const WIDEST: f64 = 30.0;

/// Rate at which the mean variance follows: so that it forgets as an excess does.
const VARIANCE_RATE: f64 = RATE / MINUTES as f64;
/// Fewest counts that are a job.
const LEAST: f64 = 2.0;

const IN_USE: u8 = 8;
const BELOW: u8 = 4;
const IN_A_ROW: u8 = 3;

/// The width of a bucket in minutes, where jobs are looked for: 0 elsewhere.
pub(crate) fn whole(width: f64) -> u8 {
    let fits = (1.0..=WIDEST).contains(&width) && MINUTES as f64 % width == 0.0;
    if fits {
        width as u8
    } else {
        0
    }
}

/// The excess of each minute of the hour.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hour {
    /// The upper half of an f32 without its sign.
    #[serde(with = "serde_big_array::BigArray")]
    size: [u16; MINUTES],
    /// Four bits a minute: in use; the last was beyond the clip from below; so many in a row.
    state: [u8; MINUTES / 2],
    /// Minutes in use.
    in_use: u8,
    spare: u8,
    /// Mean variance of the readings that taught: at night the noise of the day is a job, or would be.
    variance: f32,
}

/// The place of a bucket in the hour, where it has one.
fn place(minute: u16, width: u8) -> Option<usize> {
    (width > 0).then_some(usize::from(minute) % MINUTES)
}

impl Hour {
    pub const NEW: Hour = Hour {
        size: [0; MINUTES],
        state: [0; MINUTES / 2],
        in_use: 0,
        spare: 0,
        variance: 0.0,
    };

    fn size(&self, i: usize) -> f64 {
        f64::from(f32::from_bits(u32::from(self.size[i]) << 15))
    }

    fn state(&self, i: usize) -> u8 {
        self.state[i / 2] >> (4 * (i % 2)) & 15
    }

    /// What the job of a bucket brings, in counts; 0 where there is none.
    pub fn extra(&self, minute: u16, width: u8) -> f64 {
        if self.in_use == 0 {
            return 0.0;
        }
        place(minute, width).map_or(0.0, |i| self.used(i))
    }

    fn used(&self, i: usize) -> f64 {
        if self.state(i) & IN_USE == 0 {
            0.0
        } else {
            self.size(i)
        }
    }

    /// The same of the buckets just before that one, summed over the last so many, for each of these numbers in turn
    /// (which rise).
    pub fn extras<const N: usize>(&self, minute: u16, width: u8, counts: [usize; N]) -> [f64; N] {
        let mut sums = [0.0; N];
        let Some(mut i) = place(minute, width).filter(|_| self.in_use > 0) else {
            return sums;
        };
        let (mut sum, mut taken) = (0.0, 0);
        for (n, count) in counts.into_iter().enumerate() {
            while taken < count {
                i = (i + MINUTES - usize::from(width)) % MINUTES;
                sum += self.used(i);
                taken += 1;
            }
            sums[n] = sum;
        }
        sums
    }

    /// Takes the excess of a bucket over its level, given the standard deviation of such a bucket.
    pub fn learn(&mut self, minute: u16, width: u8, excess: f64, deviation: f64) {
        let Some(i) = place(minute, width) else {
            return;
        };
        let (size, state) = (self.size(i), self.state(i));
        let most = CLIP * deviation;
        let off = excess - size;
        let below = if off < 0.0 { BELOW } else { 0 };
        let in_a_row = if off.abs() < most {
            0
        } else if state & BELOW == below {
            (state & IN_A_ROW).saturating_add(1).min(IN_A_ROW)
        } else {
            1
        };
        let rate = RATE + HASTE * f64::from(in_a_row.saturating_sub(1));
        let size = (size + rate * off.clamp(-most - size, most + size)).max(0.0);
        let variance = f64::from(self.variance);
        let variance = variance + VARIANCE_RATE * (deviation * deviation - variance);
        self.variance = variance as f32;
        let scatter = deviation.max(variance.sqrt());
        let was = state & IN_USE;
        let is = size > (if was == 0 { IN } else { OUT } * scatter).max(LEAST);
        let now = if is { IN_USE } else { 0 };
        self.in_use = self.in_use - was / IN_USE + now / IN_USE;
        // To the nearest that can be kept.
        self.size[i] = (((size as f32).to_bits() + (1 << 14)) >> 15) as u16;
        let shift = 4 * (i % 2);
        self.state[i / 2] = self.state[i / 2] & !(15 << shift) | (now | below | in_a_row) << shift;
    }

    /// Whether every number in it is finite, and those in use are as many as it says.
    pub fn is_sound(&self) -> bool {
        let in_use = (0..MINUTES)
            .filter(|i| self.state(*i) & IN_USE != 0)
            .count();
        self.variance.is_finite()
            && in_use == usize::from(self.in_use)
            && (0..MINUTES).all(|i| self.size(i).is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours in which every minute has this excess.
    fn hours(hour: &mut Hour, count: usize, excess: impl Fn(usize, u16) -> f64) {
        for h in 0..count {
            (0..60).for_each(|minute| hour.learn(minute, 1, excess(h, minute), 10.0));
        }
    }

    #[test]
    fn a_job_is_known_within_half_a_day() {
        let mut hour = Hour::NEW;
        hours(
            &mut hour,
            12,
            |_, minute| if minute == 30 { 500.0 } else { 0.0 },
        );
        assert!(
            (hour.extra(30, 1) - 500.0).abs() < 50.0,
            "{}",
            hour.extra(30, 1)
        );
        assert_eq!((hour.extra(29, 1), hour.extra(31, 1)), (0.0, 0.0));
        assert_eq!(hour.extra(90, 1), hour.extra(30, 1));
        let [one, four, nine] = hour.extras(35, 1, [1, 4, 9]);
        assert_eq!((one, four, nine), (0.0, 0.0, hour.extra(30, 1)));
        assert!(hour.is_sound());

        // When it runs no more, it is forgotten within a day.
        hours(&mut hour, 24, |_, _| 0.0);
        assert_eq!((hour.extra(30, 1), hour.in_use), (0.0, 0));
    }

    #[test]
    fn one_burst_and_noise_are_no_job() {
        let mut hour = Hour::NEW;
        hours(&mut hour, 100, |h, minute| match (h, minute) {
            (50 | 52, 10..20) => 1000.0,
            _ => 12.0 * (h as f64 * 1.7 + f64::from(minute) * 2.3).sin(),
        });
        assert_eq!(hour.in_use, 0);
    }

    #[test]
    fn the_noise_of_the_day_is_no_job_at_night() {
        let mut hour = Hour::NEW;
        hours(&mut hour, 10, |_, minute| f64::from(minute % 2) * 10.0);
        (0..60).for_each(|minute| hour.learn(minute, 1, 0.0, 1.0));
        assert_eq!(hour.in_use, 0);
    }

    #[test]
    fn only_buckets_that_fit_into_an_hour() {
        assert_eq!(
            [0.5, 1.0, 5.0, 7.0, 30.0, 60.0].map(whole),
            [0, 1, 5, 0, 30, 0]
        );
        let mut hour = Hour::NEW;
        (0..20).for_each(|_| hour.learn(0, 0, 500.0, 10.0));
        assert_eq!(hour, Hour::NEW);
    }
}
