//! Which counts would be normal.

use core::cmp::Ordering;

use crate::outlook::Outlook;
use crate::sensitivity::Sensitivity;
use crate::series::LARGEST;

/// The counts that are normal in a bucket: `{x : S(x) < OPEN}` (on the side of an open incident
/// `QUIET` takes the place of `OPEN` for the point channel), an interval of whole numbers.
///
/// Given the state, surprise falls and then rises with the reading, so this is an interval, and a
/// reading is outside it exactly when its verdict is not normal. Two things widen it, so that
/// `lower <= expected <= upper` always holds: where the interval does not contain the expectation
/// (a real number) it is stretched to it, and where no count would be normal (the windows already
/// speak, whatever comes) it is the expectation alone. Neither happens where the point channel
/// speaks. While a series is learning the bounds are those of its channels, though no reading is
/// held against them; before the first reading they are 0 to 10^15.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Least normal count.
    pub lower: f64,
    /// Greatest normal count.
    pub upper: f64,
}

impl Bounds {
    /// Whether a count lies within.
    pub fn contains(&self, x: f64) -> bool {
        self.lower <= x && x <= self.upper
    }

    /// Under a sensitivity.
    pub(crate) fn under(mut o: Outlook, sensitivity: &Sensitivity) -> Bounds {
        (o.open, o.held_from) = (sensitivity.warning, sensitivity.held_from());
        sensitivity.widen(Bounds::of(&o), o.fast)
    }

    pub(crate) fn of(o: &Outlook) -> Bounds {
        match Bounds::normal(o) {
            Some(b) => Bounds {
                lower: b.lower.min(o.fast),
                upper: b.upper.max(o.fast),
            },
            None => Bounds {
                lower: o.fast,
                upper: o.fast,
            },
        }
    }

    /// The interval itself, by bisection of the judgement: some 40 of them.
    fn normal(o: &Outlook) -> Option<Bounds> {
        let within = some_normal(o)?;
        let (mut below, mut lower) = (-1.0, within);
        while lower - below > 1.0 {
            let middle = ((below + lower) / 2.0).floor();
            if side(o, middle) == Ordering::Equal {
                lower = middle;
            } else {
                below = middle;
            }
        }
        let (mut upper, mut step) = (within, 1.0);
        while upper < LARGEST && side(o, upper + step) == Ordering::Equal {
            upper += step;
            step *= 2.0;
        }
        if upper >= LARGEST {
            return Some(Bounds {
                lower,
                upper: LARGEST.max(within),
            });
        }
        let mut above = upper + step;
        while above - upper > 1.0 {
            let middle = ((upper + above) / 2.0).floor();
            if side(o, middle) == Ordering::Equal {
                upper = middle;
            } else {
                above = middle;
            }
        }
        Some(Bounds { lower, upper })
    }
}

/// Whether a count is too low, normal or too high.
fn side(o: &Outlook, x: f64) -> Ordering {
    let j = o.speak(x);
    if j.surprise < o.open && !j.is_held_from(o.held_from) {
        Ordering::Equal
    } else if j.direction < 0 {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

/// A normal count, if there is one: from the level towards the side that calms.
fn some_normal(o: &Outlook) -> Option<f64> {
    let start = o.fast.floor().min(LARGEST);
    let (mut low, mut high, mut step) = (start, start, 1.0);
    match side(o, start) {
        Ordering::Equal => return Some(start),
        Ordering::Less => loop {
            high = low + step;
            match side(o, high) {
                Ordering::Equal => return Some(high),
                Ordering::Greater => break,
                Ordering::Less if high >= LARGEST => return None,
                Ordering::Less => low = high,
            }
            step *= 2.0;
        },
        Ordering::Greater => loop {
            low = high - step;
            if low < 0.0 {
                low = -1.0;
                break;
            }
            match side(o, low) {
                Ordering::Equal => return Some(low),
                Ordering::Less => break,
                Ordering::Greater => high = low,
            }
            step *= 2.0;
        },
    }
    while high - low > 1.0 {
        let middle = ((low + high) / 2.0).floor();
        match side(o, middle) {
            Ordering::Equal => return Some(middle),
            Ordering::Less => low = middle,
            Ordering::Greater => high = middle,
        }
    }
    None
}
