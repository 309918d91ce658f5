//! Where the channels of an outlook begin to speak, each asked by itself.
//!
//! A count is normal where no channel speaks, so the interval of normal counts is that of the channel that speaks
//! first: it alone is searched, the others are asked once whether they are silent there, and those of which that is
//! plain from how many deviations they are off are not asked at all.

use core::f64::consts::LN_10;

use crate::incident::OPEN;
use crate::judgement::Channel;
use crate::outlook::{Outlook, Window};
use crate::series::LARGEST;
use crate::tail::SCATTERED;

/// Decades that the tail of a law of counts lies beyond its half deviance, at surprises of up to twelve and dispersions of up to
/// [`SCATTERED`].
const BEYOND: f64 = 1.6;
/// Decades at most that doubt about the mean costs, per unit of what it adds to the variance: half of `log10(1 + x)`.
const COST: f64 = 0.2172;

/// A look at the data that can be asked by itself.
#[derive(Clone, Copy)]
enum Look {
    /// The reading.
    Single,
    /// The reading with the one before it.
    Pair,
    Five,
    /// The sum of 20, or of 10.
    Twenty,
    Long,
}

/// The interval of counts in which no channel speaks, given one that lies in it, which is found to be so; None where
/// that is not so. No incident may be open.
pub(crate) fn silence(o: &Outlook, within: f64) -> Option<(f64, f64)> {
    let looks = [
        (Look::Single, Some(&o.point)),
        (Look::Pair, o.pair.as_ref()),
        (Look::Five, o.five.as_ref()),
        (Look::Twenty, o.twenty.as_ref()),
        (Look::Long, None),
    ];
    let is_silent = |look| is_plain(o, look, within) || speaks(o, look, within).abs() < o.open;
    if !looks.iter().all(|(look, _)| is_silent(*look)) || within == 0.0 && zeros_speak(o) {
        return None;
    }
    let mut end = [0.0, LARGEST];
    for (end, high) in end.iter_mut().zip([false, true]) {
        // The channel that is likely to speak first.
        let mut guesses = looks.map(|(_, window)| match window {
            Some(w) if high => estimate(w, o.open, true).min(LARGEST),
            Some(w) => estimate(w, o.open, false).max(0.0),
            None if high => LARGEST,
            None => 0.0,
        });
        let first = (0..looks.len())
            .min_by(|a, b| {
                let order = guesses[*a].total_cmp(&guesses[*b]);
                if high {
                    order
                } else {
                    order.reverse()
                }
            })
            .unwrap_or(0);
        let mut order = [0, 1, 2, 3, 4];
        order.swap(0, first);
        for i in order {
            let look = looks[i].0;
            if *end == within || is_plain(o, look, *end) {
                continue;
            }
            let sign = if high { 1.0 } else { -1.0 };
            let spoken = |x: f64| sign * speaks(o, look, x);
            if i != first && spoken(*end) < o.open {
                continue;
            }
            guesses[i] = guesses[i].clamp(within.min(*end), within.max(*end));
            *end = last_silent(o, within, *end, guesses[i], i != first, &spoken);
        }
    }
    if end[0] == 0.0 && zeros_speak(o) {
        end[0] = 1.0;
    }
    Some((end[0], end[1]))
}

/// Signed surprise of a look, as it is heard.
fn speaks(o: &Outlook, look: Look, x: f64) -> f64 {
    let x = seen(o, look, x);
    let of = |w: &Option<Window>| w.as_ref().map_or(0.0, |w| w.surprise(x).beside);
    let (channel, signed) = match look {
        Look::Single => (Channel::Point, o.single(x).beside),
        Look::Pair => (
            Channel::Point,
            o.pair_surprise(x).map_or(0.0, |both| both.beside),
        ),
        Look::Five => (Channel::Five, of(&o.five)),
        Look::Twenty => {
            let (ten, twenty) = (of(&o.ten), of(&o.twenty));
            let louder = if ten.abs() > twenty.abs() {
                ten
            } else {
                twenty
            };
            (Channel::Twenty, louder)
        }
        Look::Long => (Channel::Long, o.long_surprise(x).beside),
    };
    o.habit.tempered(channel, signed)
}

/// What a look takes a reading for.
fn seen(o: &Outlook, look: Look, x: f64) -> f64 {
    match look {
        Look::Single => x,
        _ => o.for_sums(x),
    }
}

/// The greatest reading that its own law does not tell of.
pub(crate) fn told_from(o: &Outlook) -> f64 {
    let within = o.mean().floor().min(LARGEST);
    let guess = estimate(&o.point, OPEN, true).clamp(within, LARGEST);
    let single = |x: f64| o.single(x).beside;
    last_silent(o, within, LARGEST, guess, true, &single)
}

/// Whether the run of zeros speaks if it goes on.
fn zeros_speak(o: &Outlook) -> bool {
    let zeros = o.run.surprise(o.point_bound);
    o.habit.tempered(Channel::ZeroRun, zeros).abs() >= o.open
}

/// Whether a look is silent beyond doubt.
fn is_plain(o: &Outlook, look: Look, x: f64) -> bool {
    let x = seen(o, look, x);
    let within = |w: &Option<Window>| w.as_ref().is_none_or(|w| most(w, x) < o.open);
    match look {
        Look::Single => most(&o.point, x) < o.open,
        Look::Pair => within(&o.pair),
        Look::Five => within(&o.five),
        Look::Twenty => within(&o.ten) && within(&o.twenty),
        Look::Long => o.long.as_ref().is_none_or(|l| {
            let sum = l.sum(x - o.extra);
            most_of(sum, l.mean, l.dispersion, l.wander) < o.open
        }),
    }
}

/// No window is surprised by more than this.
fn most(w: &Window, x: f64) -> f64 {
    most_of(w.sum(x), w.mean, w.dispersion, w.wander)
}

/// No sum surprises its law by more than this. The half deviance of a law with variance function `V` is
/// `∫ (t - x) / V(t) dt` between `x` and the mean `M`: above it at most `(x - M)² / 2 V(M)`, since `V` rises; below it at
/// most `(x - M)² / M`, since `ln y <= y - 1`.
fn most_of(sum: f64, mean: f64, dispersion: f64, wander: f64) -> f64 {
    let away = sum - mean;
    let wander = wander.min(dispersion);
    let dispersion = dispersion - wander;
    if dispersion > SCATTERED {
        return f64::INFINITY;
    }
    let scale = 1.0 + dispersion * mean;
    let half_deviance = if away > 0.0 {
        away * away / (2.0 * mean * scale)
    } else {
        away * away / mean
    };
    let information = mean * (1.0 + dispersion * sum.max(mean)) / (scale * scale);
    half_deviance / LN_10 + BEYOND + COST * wander * information
}

/// About where a window begins to speak: the quantile of a law with its mean, variance and skewness, by the first terms
/// of Cornish and Fisher's expansion (Abramowitz and Stegun 26.2.49).
pub(crate) fn estimate(w: &Window, open: f64, high: bool) -> f64 {
    let twice = 2.0 * LN_10 * (open + w.penalty);
    // Leading terms of the normal law's tail.
    let z = (twice - twice.ln() - core::f64::consts::TAU.ln())
        .max(0.25)
        .sqrt();
    let deviation = (w.mean * (1.0 + w.dispersion * w.mean)).sqrt();
    let skew = (z * z - 1.0) / 6.0 * (1.0 + 2.0 * w.dispersion * w.mean);
    let away = if high { z * deviation } else { -z * deviation };
    w.mean + away + skew - w.before
}

/// The last count from `within`, where nothing is said, towards `end` at which less than `o.open` is spoken, which
/// rises that way. `beyond`: whether it is known to be spoken at `end`. Looked for around a guess.
fn last_silent(
    o: &Outlook,
    within: f64,
    end: f64,
    guess: f64,
    beyond: bool,
    spoken: &impl Fn(f64) -> f64,
) -> f64 {
    let sign = if end < within { -1.0 } else { 1.0 };
    // From here on in steps from `within`: `inside` is silent, `outside` is not.
    let most = (end - within).abs();
    let mut inside = 0.0;
    let mut outside = if beyond { most } else { most + 1.0 };
    let mut next = ((guess - within).abs()).floor();
    let mut step = 1.0;
    for tried in 0.. {
        if outside - inside <= 1.0 {
            break;
        }
        next = next.clamp(inside + 1.0, outside - 1.0);
        let said = spoken(within + sign * next);
        let is_silent = said < o.open;
        if is_silent {
            inside = next;
        } else {
            outside = next;
        }
        // Surprise rises about as the square of the distance from the level.
        let likely = (next * (o.open / said.max(0.1)).sqrt()).floor();
        next = match tried {
            0 => likely,
            1 if is_silent => inside + 1.0,
            1 => outside - 1.0,
            _ if tried > 8 => ((inside + outside) / 2.0).floor(),
            _ => {
                step *= 2.0;
                if is_silent {
                    inside + step
                } else {
                    outside - step
                }
            }
        };
    }
    within + sign * inside
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::Law;

    /// What is said to be plain is so, for all surprises that a sensitivity may ask for.
    #[test]
    fn no_law_is_surprised_by_more() {
        let mut asked = 0;
        for mean in [0.001, 0.1, 1.0, 3.3, 10.0, 60.0, 400.0, 5e3, 1e6] {
            for dispersion in [0.0, 1e-4, 0.01, 0.1, 0.5, 2.0, SCATTERED] {
                for wander in [0.0, 1e-4, 0.01, 0.3, 2.0] {
                    let law = Law {
                        mean,
                        dispersion,
                        wander,
                    };
                    let deviation = (mean + (dispersion + wander) * mean * mean).sqrt();
                    for step in -400..400 {
                        let sum = (mean + f64::from(step) * 0.05 * deviation + 0.5).floor();
                        let most = most_of(sum, mean, dispersion + wander, wander);
                        if sum < 0.0 || most > 12.0 {
                            continue;
                        }
                        asked += 1;
                        let surprise = if sum > mean {
                            law.upper(sum)
                        } else {
                            law.lower(sum)
                        };
                        assert!(surprise <= most, "{law:?} {sum}: {surprise} > {most}");
                    }
                }
            }
        }
        assert!(asked > 20_000, "{asked}");
    }
}
