//! The memory of sizes: how often a surprising residual of this size was seen before.

use serde::{Deserialize, Serialize};
use serde_big_array::BigArray;

/// Sizes told apart: three an octave, coming round after 21 octaves.
const BINS: usize = 64;
/// `2^(1/3)` and `2^(2/3)`: where the bins of an octave meet.
const THIRDS: [f64; 2] = [1.259_921_049_894_873_2, 1.587_401_051_968_199_4];
/// Bits of a number's fraction, and of a one.
const FRACTION: u64 = (1 << 52) - 1;
const ONE: u64 = 1023 << 52;

/// Excursions of a channel, counted by the sizes they reached. An excursion is a stretch of
/// memorable readings, however many; it counts once for each size it reached as a new maximum.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sizes {
    /// The largest residual of the latest excursion.
    largest: f64,
    #[serde(with = "BigArray")]
    excursions: [u8; BINS],
    /// Readings since the latest memorable one; the largest number before there was one.
    age: u32,
    /// The bin that the latest excursion counted in last.
    bin: u8,
    spare: [u8; 3],
}

/// The bin of a size: exactly three on per octave, so that the scale of a series does not matter.
fn bin_of(size: f64) -> u8 {
    let bits = size.to_bits();
    let octave = (bits >> 52) & 0x7ff;
    let mantissa = f64::from_bits((bits & FRACTION) | ONE);
    let third = u64::from(mantissa >= THIRDS[0]) + u64::from(mantissa >= THIRDS[1]);
    ((3 * octave + third) % BINS as u64) as u8
}

fn neighbours(a: u8, b: u8) -> bool {
    let distance = (usize::from(a) + BINS - usize::from(b)) % BINS;
    distance <= 1 || distance == BINS - 1
}

impl Sizes {
    pub const NEW: Sizes = Sizes {
        largest: 0.0,
        excursions: [0; BINS],
        age: u32::MAX,
        bin: 0,
        spare: [0; 3],
    };

    /// Other excursions that came to about this size (within a third of an octave to two).
    /// `apart`: readings after which an excursion is over.
    pub fn seen(&self, size: f64, apart: u32) -> u32 {
        let bin = bin_of(size);
        let at = |offset: usize| {
            let bin = (usize::from(bin) + offset) % BINS;
            u32::from(self.excursions[bin])
        };
        let seen = at(BINS - 1) + at(0) + at(1);
        let is_itself = self.age <= apart && neighbours(bin, self.bin);
        seen.saturating_sub(u32::from(is_itself))
    }

    /// One reading passes; `size` if it was memorable.
    pub fn learn(&mut self, size: Option<f64>, apart: u32) {
        let Some(size) = size else {
            self.age = self.age.saturating_add(1);
            return;
        };
        let bin = bin_of(size);
        let is_new = self.age > apart;
        if is_new || size > self.largest {
            if is_new || bin != self.bin {
                if !is_new && neighbours(bin, self.bin) {
                    // It has grown into the next bin, and would be taken for two of about this size.
                    let before = &mut self.excursions[usize::from(self.bin)];
                    *before = before.saturating_sub(1);
                }
                let count = &mut self.excursions[usize::from(bin)];
                *count = count.saturating_add(1);
            }
            self.bin = bin;
            self.largest = size;
        }
        self.age = 1;
    }

    pub fn is_sound(&self) -> bool {
        self.largest.is_finite() && self.largest >= 0.0 && usize::from(self.bin) < BINS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_thirds_of_octaves() {
        for power in -40..40 {
            for step in 0..30 {
                let log = f64::from(step) / 30.0 + 0.01;
                let size = log.exp2() * f64::from(power).exp2();
                let expected = (3.0 * log).floor() as i32 + 3 * (power + 1023);
                assert_eq!(i32::from(bin_of(size)), expected.rem_euclid(64), "{size}");
            }
        }
    }

    #[test]
    fn an_excursion_counts_once_per_new_maximum() {
        let mut sizes = Sizes::NEW;
        for size in [1.0, 1.1, 1.0, 8.0, 2.0] {
            sizes.learn(Some(size), 10);
        }
        assert_eq!(sizes.seen(1.0, 10), 1, "of other size than its last");
        assert_eq!(sizes.seen(8.0, 10), 0, "itself");
        for _ in 0..11 {
            sizes.learn(None, 10);
        }
        assert_eq!(sizes.seen(8.0, 10), 1);
        assert_eq!(sizes.seen(9.5, 10), 1);
        assert_eq!(sizes.seen(2.5, 10), 0);
        sizes.learn(Some(8.0), 10);
        assert_eq!(sizes.seen(8.0, 10), 1);
    }
}
