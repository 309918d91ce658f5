//! Which counts would be normal.

use core::cmp::Ordering;

use crate::edge;
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
        sensitivity.widen(Bounds::of(&o), o.mean())
    }

    pub(crate) fn of(o: &Outlook) -> Bounds {
        match Bounds::normal(o) {
            Some(b) => Bounds {
                lower: b.lower.min(o.mean()),
                upper: b.upper.max(o.mean()),
            },
            None => Bounds {
                lower: o.mean(),
                upper: o.mean(),
            },
        }
    }

    /// The interval itself: by channel where that is possible, else by whole judgements.
    fn normal(o: &Outlook) -> Option<Bounds> {
        if o.held == 0 {
            let level = o.mean().floor().min(LARGEST);
            if let Some((lower, upper)) = edge::silence(o, level) {
                return Some(Bounds { lower, upper });
            }
        }
        Bounds::judged(o)
    }

    /// The same by whole judgements, from where a normal law with the same three moments would have its ends, so that
    /// some six are enough.
    fn judged(o: &Outlook) -> Option<Bounds> {
        let within = some_normal(o)?;
        let (low, high) = estimate(o);
        let down = furthest(within - low, within, &|d| is_normal(o, within - d));
        let most = (LARGEST - within).max(0.0);
        let up = furthest(high - within, most, &|d| is_normal(o, within + d));
        Some(Bounds {
            lower: within - down,
            upper: within + up,
        })
    }
}

fn is_normal(o: &Outlook, x: f64) -> bool {
    side(o, x) == Ordering::Equal
}

/// The greatest whole number up to `most` of which `ok` is true, as it is of all below it and of 0; looked for around an
/// estimate.
fn furthest(estimate: f64, most: f64, ok: &impl Fn(f64) -> bool) -> f64 {
    let start = estimate.floor().clamp(0.0, most);
    let (mut inside, mut outside, mut step) = (start, start, 1.0);
    if start == 0.0 || ok(start) {
        loop {
            if inside >= most {
                return most;
            }
            outside = (inside + step).min(most);
            if !ok(outside) {
                break;
            }
            inside = outside;
            step *= 2.0;
        }
    } else {
        loop {
            inside = (outside - step).max(0.0);
            if inside == 0.0 || ok(inside) {
                break;
            }
            outside = inside;
            step *= 2.0;
        }
    }
    while outside - inside > 1.0 {
        let middle = ((inside + outside) / 2.0).floor();
        if ok(middle) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    inside
}

/// About where the windows would begin to speak.
fn estimate(o: &Outlook) -> (f64, f64) {
    let windows = [Some(o.point), o.pair, o.five, o.ten, o.twenty];
    let (mut low, mut high) = (0.0_f64, LARGEST);
    for w in windows.iter().flatten() {
        high = high.min(edge::estimate(w, o.open, true));
        low = low.max(edge::estimate(w, o.open, false));
    }
    (low, high)
}

/// Whether a count is too low, normal or too high.
fn side(o: &Outlook, x: f64) -> Ordering {
    let j = o.speak(x);
    let speaks = j.surprise >= o.open;
    if !speaks && !j.is_held_from(o.held_from) {
        return Ordering::Equal;
    }
    let side = if speaks { j.direction } else { j.held };
    if side < 0 {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

/// A normal count, if there is one: from the level towards the side that calms.
fn some_normal(o: &Outlook) -> Option<f64> {
    let start = o.mean().floor().min(LARGEST);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::{Moment, Pace};
    use crate::series::Series;

    /// A little generator: xorshift.
    fn random(seed: &mut u64) -> f64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed >> 11) as f64 / (1u64 << 53) as f64
    }

    fn poisson(mean: f64, seed: &mut u64) -> f64 {
        let (mut n, mut left) = (0.0, mean);
        while left > 0.0 {
            left += random(seed).max(1e-300).ln();
            if left > 0.0 {
                n += 1.0;
            }
        }
        n
    }

    /// Asking each channel by itself finds what asking all of them does.
    #[test]
    fn channels_by_themselves_have_the_same_bounds() {
        let mut compared = 0;
        for (run, mean) in [0.02, 0.2, 1.0, 4.0, 20.0, 120.0, 800.0]
            .into_iter()
            .cycle()
            .take(14)
            .enumerate()
        {
            let mut seed = 0x9e37_79b9_7f4a_7c15 ^ run as u64;
            let mut series = Series::new();
            let mut factor = 1.0;
            for bucket in 0..3000 {
                if random(&mut seed) < 0.01 {
                    factor =
                        [1.0, 1.0, 0.1, 0.5, 1.6, 3.0, 9.0][(random(&mut seed) * 7.0) as usize];
                }
                let at = Moment {
                    bucket,
                    minute: (bucket % 1440) as u16,
                    weekend: false,
                };
                let day = 1.0 + 0.6 * (bucket as f64 / 1440.0 * core::f64::consts::TAU).sin();
                let scatter = if run % 2 == 0 {
                    1.0
                } else {
                    0.5 + random(&mut seed)
                };
                let x = poisson(mean * day * factor * scatter, &mut seed);
                for degree in [100.0, 50.0, 0.0] {
                    let sensitivity = Sensitivity::of(degree);
                    let mut o = series.outlook_at(at);
                    (o.open, o.held_from) = (sensitivity.warning, sensitivity.held_from());
                    let level = o.mean().floor().min(LARGEST);
                    if o.held != 0 {
                        continue;
                    }
                    if let Some((lower, upper)) = edge::silence(&o, level) {
                        compared += 1;
                        assert_eq!(
                            Some(Bounds { lower, upper }),
                            Bounds::judged(&o),
                            "mean {mean}, bucket {bucket}"
                        );
                    }
                }
                series.step(x, at, Pace { minutes: 1.0 });
            }
        }
        assert!(compared > 50_000, "{compared}");
    }
}
