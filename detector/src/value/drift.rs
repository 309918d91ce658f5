//! The drift: ten readings, each a little off, that no reading and no short mean shows.

use serde::{Deserialize, Serialize};

/// Readings it sums.
pub(super) const LENGTH: usize = 10;
/// How many of them must lie on one side.
const STEADY: usize = 9;

/// What the last ten readings were off what was foretold of each.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drift {
    off: [f64; LENGTH],
    expected: [f64; LENGTH],
    next: u32,
    held: u32,
}

impl Drift {
    pub const NEW: Drift = Drift {
        off: [0.0; LENGTH],
        expected: [0.0; LENGTH],
        next: 0,
        held: 0,
    };

    /// The mean of the last ten readings less what was foretold of them, with a reading that is off
    /// by so much as the last of them. 0 until there are ten.
    pub fn with(&self, off: f64) -> f64 {
        if (self.held as usize) < LENGTH - 1 {
            return 0.0;
        }
        (self.sum(&self.off) + off) / LENGTH as f64
    }

    /// Whether nearly all of the ten lie on one side: it is no drift if some are far off.
    pub fn is_steady_with(&self, off: f64) -> bool {
        let of = |side: f64| {
            let before = (1..LENGTH).map(|back| self.off[(self.next as usize + back) % LENGTH]);
            before.chain([off]).filter(|&off| off * side > 0.0).count()
        };
        of(1.0).max(of(-1.0)) >= STEADY
    }

    /// What was foretold of the ten, on average, this of the last of them.
    pub fn expected_with(&self, expected: f64) -> f64 {
        (self.sum(&self.expected) + expected) / LENGTH as f64
    }

    /// The sum of all but the oldest, whose place the next one takes.
    fn sum(&self, of: &[f64; LENGTH]) -> f64 {
        (1..LENGTH)
            .map(|back| of[(self.next as usize + back) % LENGTH])
            .sum()
    }

    pub fn learn(&mut self, off: f64, expected: f64) {
        let place = self.next as usize % LENGTH;
        self.off[place] = off;
        self.expected[place] = expected;
        self.next = (place as u32 + 1) % LENGTH as u32;
        self.held = (self.held + 1).min(LENGTH as u32);
    }

    pub fn is_sound(&self) -> bool {
        self.off.iter().chain(&self.expected).all(|v| v.is_finite()) && self.held as usize <= LENGTH
    }
}
