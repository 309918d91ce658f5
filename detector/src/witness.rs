//! What the other kind of day says, as long as this kind has been seen no more than twice or has just begun.
//!
//! The mean of two hours is held against the season of its kind of day. Of a first weekend that season is one day, and
//! what went wrong on that day without being noticed is in it: the next day, on which all is well, would stand out the
//! other way. Weekdays know nothing of that Saturday. So for as long as a kind of day is young the other kind is asked
//! too: its shape, and a departure from it that is followed as that of the season is, from where both agreed when it was
//! called. Where the two hours lie no further out than a *share* of what it foretells, they are not told of. It only
//! takes away. A weekend that is quieter all day long does not disturb it, since its departure follows; where its shape is
//! so different that it foretells more than twice what the season does, or less than half, it is not heard.
//!
//! In the first hours of a Monday it is asked as well, of what is too high: of a series that grows, the season of weekdays
//! is that of Friday, and Sunday knows better.

use serde::{Deserialize, Serialize};

use crate::elementary::exp;
use crate::level::log_step;
use crate::outlook::LONG_RATE;

/// Share of what the witness foretells that two hours have to lie beyond it to be told of. (Far above what a curve an
/// hour late amounts to, far below an incident that matters.)
const SHARE: f64 = 0.3;
/// Times, up or down, that it may differ from the season to be heard: what an incident leaves in a season is less.
const APART: f64 = 2.0;
/// A reading moves its departure as if it were off by no more than its own level.
const FARTHEST: f64 = 1.0;

/// The other kind of day, called as a witness. All zero where it is not.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Witness {
    /// How far the level of the last hours lies above its season, log.
    departure: f32,
    /// Exponential mean of what it foretold, counts per bucket; 0 where it is not called.
    expected: f32,
}

impl Witness {
    /// Not called.
    pub const NONE: Witness = Witness {
        departure: 0.0,
        expected: 0.0,
    };

    fn is_called(&self) -> bool {
        self.expected > 0.0
    }

    /// The next bucket, given the log of the other kind's season there (none: it is not to be asked). One that is called
    /// begins where the season of this kind is: at the log of its level, and the mean of what that foretold.
    pub fn advance(&mut self, log: Option<f64>, level: f64, expected: f64) {
        match log {
            None => *self = Witness::NONE,
            Some(log) if !self.is_called() => {
                self.departure = (level - log) as f32;
                self.expected = expected as f32;
            }
            Some(_) => {}
        }
    }

    /// The level it foretells of a bucket, counts; none where it is not called.
    pub fn level(&self, log: Option<f64>) -> Option<f64> {
        log.filter(|_| self.is_called())
            .map(|log| exp(log + f64::from(self.departure)))
    }

    /// The mean that it foretells, a bucket of this level included.
    fn mean(&self, level: f64) -> f64 {
        let expected = f64::from(self.expected);
        expected + (level - expected) * LONG_RATE
    }

    /// The same, where it may be heard beside what the season foretells.
    pub fn foretell(&self, level: f64, season: f64) -> Option<f64> {
        let mean = self.mean(level);
        (season / APART..=season * APART)
            .contains(&mean)
            .then_some(mean)
    }

    /// Takes a bucket of which it foretold this level.
    pub fn follow(&mut self, level: f64) {
        self.expected = self.mean(level) as f32;
    }

    /// Its departure follows a reading, with this gain.
    pub fn learn(&mut self, x: f64, level: f64, gain: f64) {
        let off = ((x - level) / level).clamp(-FARTHEST, FARTHEST);
        self.departure += log_step(gain * off) as f32;
    }

    /// What was seen before says nothing any more: it foretold what the season did.
    pub fn begin_anew(&mut self, expected: f64) {
        if self.is_called() {
            self.expected = expected as f32;
        }
    }

    pub fn is_finite(&self) -> bool {
        self.departure.is_finite() && self.expected.is_finite()
    }
}

/// Whether a sum lies beyond what the witness foretells of it, on a side.
pub(crate) fn agrees(sum: f64, foretold: f64, high: bool) -> bool {
    if high {
        sum >= (1.0 + SHARE) * foretold
    } else {
        sum * (1.0 + SHARE) <= foretold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_called_where_the_season_is_and_sent_away() {
        let mut witness = Witness::NONE;
        assert_eq!(witness.level(Some(3.0)), None);
        let level = |witness: &Witness, log| witness.level(Some(log)).expect("it is called");
        witness.advance(Some(3.0), 4.0, 50.0);
        assert!((level(&witness, 3.0) - exp(4.0)).abs() < 1e-4);
        assert_eq!(witness.mean(50.0), 50.0);
        // Called already, it goes on by itself.
        witness.advance(Some(3.5), 9.0, 90.0);
        assert!((level(&witness, 3.5) - exp(4.5)).abs() < 1e-4);
        witness.advance(None, 4.0, 50.0);
        assert_eq!(witness, Witness::NONE);
    }

    #[test]
    fn its_departure_follows() {
        let mut witness = Witness::NONE;
        witness.advance(Some(2.0), 2.0, exp(2.0));
        for _ in 0..2000 {
            let level = witness.level(Some(2.0)).expect("it is called");
            witness.learn(20.0, level, 0.01);
            witness.follow(level);
        }
        let level = witness.level(Some(2.0)).expect("it is called");
        assert!((level - 20.0).abs() < 0.1);
        assert!((witness.mean(20.0) - 20.0).abs() < 0.2);
    }

    #[test]
    fn agrees_beyond_a_share_only() {
        for (sum, above, below) in [
            (131.0, true, false),
            (129.0, false, false),
            (78.0, false, false),
            (76.0, false, true),
        ] {
            assert_eq!(agrees(sum, 100.0, true), above, "{sum}");
            assert_eq!(agrees(sum, 100.0, false), below, "{sum}");
        }
    }

    #[test]
    fn one_of_another_shape_is_not_heard() {
        let mut witness = Witness::NONE;
        witness.advance(Some(3.0), 3.0, 100.0);
        assert_eq!(witness.foretell(100.0, 60.0), Some(100.0));
        assert_eq!(witness.foretell(100.0, 40.0), None);
        assert_eq!(witness.foretell(100.0, 210.0), None);
    }
}
