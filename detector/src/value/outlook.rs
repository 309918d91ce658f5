//! What the state of a series of values foretells of the reading in hand, whatever came before it.

use crate::bounds::Bounds;

use super::channel::Channel;
use super::judgement::weighed;
use super::state::LARGEST;
use super::tuning::Tuning;

/// The two looks at the reading itself.
pub(super) struct Outlook<'a> {
    pub level: f64,
    pub usual: f64,
    /// Between those two.
    pub expected: f64,
    /// Of the level and of the hour.
    pub channels: [&'a Channel; 2],
    pub readings: u64,
    pub apart: u32,
    /// Decades that the reading gives away to the means of many.
    pub handicap: f64,
    /// Surprise from which a reading is not normal.
    pub open: f64,
    /// In the decades of all families, surprise from which a reading is not normal, and from which one on the side of
    /// the open incident is not.
    pub warning: f64,
    pub held_from: f64,
    pub tuning: &'a Tuning,
}

impl Outlook<'_> {
    /// Surprise of the reading itself, decades: both looks speak by their mean. 0 at what is expected.
    pub fn itself(&self, x: f64) -> f64 {
        let [level, hour] = self.channels;
        let of = |channel: &Channel, residual: f64| {
            channel
                .judge(residual, self.readings, self.apart, self.tuning)
                .surprise
        };
        self.both(x, of(level, x - self.level), of(hour, x - self.usual))
    }

    /// The same, given what the two looks say of it.
    pub fn both(&self, x: f64, level: f64, hour: f64) -> f64 {
        if x == self.expected {
            0.0
        } else {
            (0.5 * (level + hour) - self.handicap).max(0.0)
        }
    }

    /// The readings around what is expected that are normal, given the side of the incident that is
    /// open (0: none is).
    pub fn bounds(&self, held: i8) -> Bounds {
        Bounds {
            lower: self.last_below(self.least(-1, held), -LARGEST),
            upper: self.last_below(self.least(1, held), LARGEST),
        }
    }

    /// The same, such that this reading is within exactly if it is normal.
    pub fn bounds_for(&self, x: f64, held: i8) -> Bounds {
        let mut bounds = self.bounds(held);
        if !x.is_finite() {
            return bounds;
        }
        let (side, end) = if x < self.expected {
            (-1, &mut bounds.lower)
        } else {
            (1, &mut bounds.upper)
        };
        let is_within = (*end - x) * f64::from(side) >= 0.0;
        let is_normal = self.is_below(x, self.least(side, held));
        if is_normal && !is_within {
            *end = x;
        } else if is_within && !is_normal {
            *end = self.last_below(self.least(side, held), x);
        }
        bounds
    }

    /// The readings around what is expected that surprise by less, in the decades of all families.
    pub fn bounds_below(&self, surprise: f64) -> Bounds {
        Bounds {
            lower: self.last_below(surprise, -LARGEST),
            upper: self.last_below(surprise, LARGEST),
        }
    }

    /// Surprise from which a reading on a side is not normal, given the side of the open incident.
    fn least(&self, side: i8, held: i8) -> f64 {
        if side == held {
            self.held_from
        } else {
            self.warning
        }
    }

    fn is_below(&self, x: f64, surprise: f64) -> bool {
        weighed(self.itself(x), self.open) < surprise
    }

    /// From what is expected towards `end`, a last reading that surprises by less: by bisection of
    /// all floating-point numbers between.
    fn last_below(&self, surprise: f64, end: f64) -> f64 {
        if self.readings == 0 || self.is_below(end, surprise) {
            return end;
        }
        let (mut within, mut beyond) = (in_order(self.expected), in_order(end));
        while within.abs_diff(beyond) > 1 {
            let middle = ((i128::from(within) + i128::from(beyond)) / 2) as i64;
            if self.is_below(from_order(middle), surprise) {
                within = middle;
            } else {
                beyond = middle;
            }
        }
        from_order(within)
    }
}

/// The number of a floating-point number among all of them, in order of size.
fn in_order(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    if bits < 0 {
        i64::MIN - bits
    } else {
        bits
    }
}

fn from_order(n: i64) -> f64 {
    f64::from_bits((if n < 0 { i64::MIN - n } else { n }) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order() {
        let numbers = [-1e300, -2.0, -1.0, -1e-300, 0.0, 1e-300, 1.0, 1e300];
        assert!(numbers.map(in_order).is_sorted());
        for x in numbers {
            assert_eq!(from_order(in_order(x)), x);
        }
        assert_eq!(in_order(-0.0), in_order(0.0));
    }
}
