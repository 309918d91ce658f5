//! Tail probabilities of the negative binomial law, as decades.
//!
//! `X` has mean `M` and variance `M + φ M²`; `φ = 0` is the Poisson law. Results are
//! `-log10 P`, computed in the log domain throughout, so that they stay right far below the
//! smallest double.

use core::f64::consts::LOG10_E;

use crate::elementary::{exp, exp_m1, exp_of_plain, ln, ln_1p, ln_of_ratio};

/// What is said of a reading on the unsurprising side of the mean: `-log10 (1/2)`.
pub const EVEN: f64 = core::f64::consts::LOG10_2;

/// Means below this are taken for it: no level comes near, and `x / M` must not overflow.
const SMALLEST_MEAN: f64 = 1e-12;
/// Dispersions below this are taken for it, which is the Poisson law to the last bit.
const SMALLEST_DISPERSION: f64 = 1e-100;
/// Half of `ln 2π`.
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;
/// Mills' ratio of the normal law from 0 to 8 as a rational function, by ascending powers: numerator and denominator,
/// fitted by least squares of the relative error, reweighted until the greatest was least (8e-16, in 60 digits).
const MILLS: [f64; 8] = [
    1.253_314_137_315_499_4,
    1.513_400_821_586_754_5,
    0.909_675_572_208_936_5,
    0.337_342_657_309_932_08,
    0.082_224_908_927_687_04,
    0.013_111_156_085_921_852,
    0.001_269_311_291_634_009_2,
    0.000_058_108_629_542_846_67,
];
const MILLS_BELOW: [f64; 9] = [
    1.0,
    2.005_403_710_653_185,
    1.825_896_753_315_611_2,
    0.989_274_991_957_849_8,
    0.350_345_071_045_948_1,
    0.083_493_731_841_285_6,
    0.013_169_287_478_409_13,
    0.001_269_310_618_549_272_3,
    0.000_058_108_639_007_324_82,
];

/// Where [`MILLS`] ends.
const FAR: f64 = 8.0;

/// Dispersions beyond which the saddlepoint does not hold: the law is one of few, great groups.
pub(crate) const SCATTERED: f64 = 6.0;
/// Terms of its tail that are summed one by one.
const TERMS: u32 = 6;
/// Euler's constant, and `π²/6`.
const EULER: f64 = 0.577_215_664_901_532_9;
const ZETA_2: f64 = 1.644_934_066_848_226_4;

/// `-log10 P(X >= x)` for a mean above 0 and a dispersion of 0 or more.
///
/// Exact for `x` up to 2; the saddlepoint above, and for dispersions beyond 6 the sum of the tail, to 0.02 decades; [`EVEN`] where `x` is not above the mean, or so
/// little that the saddlepoint degenerates. From a surprise of 1 to one of 300, and for means
/// from 0.001 to 5000, the error against direct summation is at most 0.03 decades for dispersions
/// up to 0.5 and 0.063 up to 2.
pub fn upper(x: f64, mean: f64, dispersion: f64) -> f64 {
    let mean = mean.max(SMALLEST_MEAN);
    if x <= mean || x <= 0.0 {
        EVEN
    } else if x <= 1.0 {
        decades(ln(-exp_m1(-zero_ln(mean, dispersion))))
    } else if x <= 2.0 {
        decades(ln(two_or_more(mean, dispersion)))
    } else if dispersion > SCATTERED {
        decades(scattered_ln(x, mean, dispersion))
    } else {
        saddlepoint(x, mean, dispersion)
    }
}

/// `-log10 P(X <= x)` for a mean above 0 and a dispersion of 0 or more.
///
/// Exact at 0, the saddlepoint above; [`EVEN`] where `x` is not below the mean, or by too little.
/// The error, as for [`upper`], is at most 0.06 decades.
pub fn lower(x: f64, mean: f64, dispersion: f64) -> f64 {
    let mean = mean.max(SMALLEST_MEAN);
    if x >= mean {
        EVEN
    } else if x <= 0.0 {
        zero_ln(mean, dispersion) * LOG10_E
    } else {
        saddlepoint(x, mean, dispersion)
    }
}

/// The law of a count whose mean is itself uncertain.
///
/// Given its mean `λ` the count is negative binomial with dispersion `φ`; `ln λ` is normal around
/// `ln M` with variance `v`. Uncertainty about the mean stretches the far tail more than the same
/// variance as dispersion would: a mean that was taken a tenth too low makes the count of one in a
/// million ten times as likely.
#[derive(Clone, Copy, Debug)]
pub struct Law {
    /// `M`, above 0, and below 1e100.
    pub mean: f64,
    /// `φ`, at least 0.
    pub dispersion: f64,
    /// `v`, at least 0.
    pub wander: f64,
}

impl Law {
    /// `-log10 P(X >= x)`.
    pub fn upper(&self, x: f64) -> f64 {
        if x <= self.mean {
            return EVEN;
        }
        let (mean, cost) = self.likeliest_mean(x);
        (upper(x, mean, self.dispersion) + cost).max(EVEN)
    }

    /// `-log10 P(X <= x)`.
    pub fn lower(&self, x: f64) -> f64 {
        if x >= self.mean {
            return EVEN;
        }
        let (mean, cost) = self.likeliest_mean(x);
        (lower(x, mean, self.dispersion) + cost).max(EVEN)
    }

    /// [`upper`](Law::upper) where it is asked for the high side, else [`lower`](Law::lower), of so many laws at once: the
    /// same numbers, bit for bit, but two by two, and none waits for the one before. Of all but the first `W` the mean
    /// must not wander.
    pub(crate) fn all<const N: usize, const W: usize>(asked: &[Asked; N]) -> [f64; N] {
        debug_assert!(asked[W..].iter().all(|a| a.law.wander == 0.0));
        let x = asked.map(|a| a.x);
        let dispersion = asked.map(|a| a.law.dispersion);
        let given = asked.map(|a| a.law.mean);
        let wander = asked.map(|a| a.law.wander);
        // Step by step, each for all of them: what one law waits for in a step, the others fill.
        let (mut mean, mut cost) = (given, [0.0; N]);
        for i in 0..W {
            let law = Law {
                mean: given[i],
                dispersion: dispersion[i],
                wander: wander[i],
            };
            (mean[i], cost[i]) = law.likeliest_mean(x[i]);
        }
        for mean in &mut mean {
            *mean = mean.max(SMALLEST_MEAN);
        }
        let (mut deviance, mut root) = ([0.0; N], [0.0; N]);
        for i in 0..N {
            deviance[i] = half_deviance(x[i], mean[i], dispersion[i]);
            root[i] = (2.0 * deviance[i]).sqrt();
        }
        let mut mills = [0.0; N];
        for i in 0..N {
            mills[i] = mills_near(root[i]);
        }
        if root.iter().any(|w| *w > FAR) {
            for (mills, w) in mills.iter_mut().zip(root).filter(|(_, w)| *w > FAR) {
                *mills = mills_far(w);
            }
        }
        let (mut correction, mut decades) = ([0.0; N], [0.0; N]);
        for i in 0..N {
            correction[i] = mills[i] + lattice(x[i], mean[i], dispersion[i]);
        }
        for i in 0..N {
            decades[i] = corrected(deviance[i], correction[i]);
        }
        core::array::from_fn(|i| {
            let Asked { x, high, law } = asked[i];
            let is_beyond = if high { x > law.mean } else { x < law.mean };
            if !is_beyond {
                return EVEN;
            }
            let is_even = if high { x <= mean[i] } else { x >= mean[i] };
            let decades = if is_even {
                EVEN
            } else if high && (x <= 2.0 || law.dispersion > SCATTERED) {
                upper(x, mean[i], law.dispersion)
            } else if !high && x <= 0.0 {
                lower(x, mean[i], law.dispersion)
            } else {
                decades[i]
            };
            (decades + cost[i]).max(EVEN)
        })
    }

    /// The mean `M exp(u)` that explains `x` best, and what it costs in decades: Laplace's
    /// approximation of the integral over the mean, `P(x; M exp u) exp(-u²/2v) / √(1 + v κ)` at the
    /// `u` where `u/v` is the score `(x - λ)/(1 + φ λ)`; `κ` is the information there. One Newton
    /// step from `u = 0`, which does not lead beyond `x`: `M (1 + u) <= x`, since `1 + φ M <= 1 + φ x` where `M <= x`.
    #[inline(always)]
    fn likeliest_mean(&self, x: f64) -> (f64, f64) {
        let Law {
            mean,
            dispersion,
            wander,
        } = *self;
        let scale = 1.0 + dispersion * mean;
        // `1 + v κ` and `u/v` after the step, with what both are divided by multiplied out.
        let square = scale * scale;
        let doubt = wander * mean * (1.0 + dispersion * x);
        let spread = square + doubt;
        let pull = (x - mean) * scale / spread;
        let u = wander * pull;
        let cost = u * pull + ln_of_ratio(spread, square, doubt);
        (mean * exp_of_plain(u), 0.5 * LOG10_E * cost)
    }
}

/// What a law is asked: its surprise at a count, on one side.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub x: f64,
    pub high: bool,
    pub law: Law,
}

impl Asked {
    /// Of nobody: what is said is [`EVEN`].
    pub const NOTHING: Asked = Asked {
        x: 1.0,
        high: true,
        law: Law {
            mean: 1.0,
            dispersion: 0.0,
            wander: 0.0,
        },
    };

    /// The answer.
    pub fn decades(&self) -> f64 {
        if self.high {
            self.law.upper(self.x)
        } else {
            self.law.lower(self.x)
        }
    }
}

/// `-ln P(X = 0) = ln(1 + φ M) / φ`: what one empty bucket weighs, in natural units.
pub(crate) fn zero_ln(mean: f64, dispersion: f64) -> f64 {
    let dispersion = dispersion.max(SMALLEST_DISPERSION);
    ln_1p(dispersion * mean) / dispersion
}

fn decades(ln_probability: f64) -> f64 {
    -ln_probability * LOG10_E
}

/// `P(X >= 2)`: one less the first two terms, or the sum of the rest where that cancels.
fn two_or_more(mean: f64, dispersion: f64) -> f64 {
    let none = exp(-zero_ln(mean, dispersion));
    let scale = 1.0 + dispersion * mean;
    let one = none * mean / scale;
    let rest = 1.0 - none - one;
    if rest > 1e-5 {
        return rest;
    }
    // p(k + 1) / p(k) = M (1 + φ k) / ((k + 1)(1 + φ M))
    let mut term = one * mean * (1.0 + dispersion) / (2.0 * scale);
    let mut sum = term;
    for k in 3..40 {
        let k = f64::from(k);
        term *= mean * (1.0 + dispersion * (k - 1.0)) / (k * scale);
        sum += term;
        if term < 1e-9 * sum {
            break;
        }
    }
    sum.max(f64::MIN_POSITIVE)
}

/// `ln P(X >= x)` where the shape `r = 1 / φ` is small: the first term of the tail times the sum of the others to it.
///
/// `Γ(x + r) / (Γ(r) x!)` is `r/x` times the product of `1 + r/j` for `j < x`, whose log is `r H - r²/2 H₂` to the third
/// order, with the harmonic numbers from the asymptotic series of the digamma and trigamma functions (Abramowitz and
/// Stegun 6.3.18, 6.4.12). A term is `q (k + r)/(k + 1)` of the one before; after [`TERMS`] of them the rest is
/// taken for a geometric series.
#[cold]
fn scattered_ln(x: f64, mean: f64, dispersion: f64) -> f64 {
    let (r, odds) = (1.0 / dispersion, dispersion * mean);
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let harmonic = ln(x) - inverse * (0.5 + inverse * (1.0 / 12.0 - square / 120.0)) + EULER;
    let of_squares = ZETA_2 - inverse * (1.0 + inverse * (0.5 + inverse / 6.0));
    let rising = ln(r * inverse) + r * (harmonic - 0.5 * r * of_squares);
    let q = odds / (1.0 + odds);
    let ratio = |k: f64| q * (k + r) / (k + 1.0);
    let mut sum = 1.0 / (1.0 - ratio(x + f64::from(TERMS))).max(f64::EPSILON);
    for term in (0..TERMS).rev() {
        sum = 1.0 + ratio(x + f64::from(term)) * sum;
    }
    rising - r * ln_1p(odds) - x * ln_1p(1.0 / odds) + ln(sum)
}

/// The Lugannani-Rice saddlepoint approximation in its lattice form (Lugannani and Rice 1980,
/// Adv. Appl. Probab. 12; Daniels 1987, Int. Stat. Rev. 55, eq. 6.4), with the distribution
/// function written by Mills' ratio so that `exp(-h)` stays outside:
/// `P = exp(-h) / √(2π) · (Mills(w) - 1/w + 1/u)`, `w = √(2h)`.
///
/// `h` is half the deviance of `x` and `u` the lattice-corrected standardised saddlepoint. Both
/// tails have the same form. Needs `x > 0`.
fn saddlepoint(x: f64, mean: f64, dispersion: f64) -> f64 {
    let deviance = half_deviance(x, mean, dispersion);
    let w = (2.0 * deviance).sqrt();
    let mills = if w > FAR { mills_far(w) } else { mills_near(w) };
    corrected(deviance, mills + lattice(x, mean, dispersion))
}

/// `h` of the [`saddlepoint`].
#[inline(always)]
fn half_deviance(x: f64, mean: f64, dispersion: f64) -> f64 {
    let away = x - mean;
    let dispersion = dispersion.max(SMALLEST_DISPERSION);
    let (scale, scale_of_x) = (1.0 + dispersion * mean, 1.0 + dispersion * x);
    let log_ratio = ln_of_ratio(x, mean, away);
    let tilt = ln_of_ratio(scale_of_x, scale, dispersion * away);
    (x * log_ratio - (x * tilt + tilt / dispersion)).max(0.0)
}

/// `1/u` of the [`saddlepoint`].
#[inline(always)]
fn lattice(x: f64, mean: f64, dispersion: f64) -> f64 {
    let away = x - mean;
    let (scale, scale_of_x) = (1.0 + dispersion * mean, 1.0 + dispersion * x);
    // u is 1 - exp(-|log_ratio - tilt|), which is `|away| / far` by the ratio of the two odds, times a deviation.
    let far = if away > 0.0 {
        x * scale
    } else {
        mean * scale_of_x
    };
    let near = away.abs() * (x * scale_of_x).sqrt();
    far / near
}

/// Decades of the [`saddlepoint`].
#[inline(always)]
fn corrected(half_deviance: f64, correction: f64) -> f64 {
    let correction_ln = if correction > 0.0 {
        ln_of_ratio(correction, 1.0, correction - 1.0)
    } else {
        HALF_LN_TWO_PI
    };
    // Where `w` is this small nothing is left of `1/u - 1/w` but what rounding made of it.
    if half_deviance < 0.5 * 0.15 * 0.15 {
        EVEN
    } else {
        ((half_deviance + (HALF_LN_TWO_PI - correction_ln)) * LOG10_E).max(EVEN)
    }
}

/// Mills' ratio of the normal law less `1/w`, up to [`FAR`].
#[inline(always)]
fn mills_near(w: f64) -> f64 {
    let (above, below) = mills(w);
    (w * above - below) / (w * below)
}

/// The same beyond it, where the two parts cancel, by the asymptotic series (Abramowitz and Stegun 7.1.23).
#[cold]
fn mills_far(w: f64) -> f64 {
    let square = w * w;
    let i = 1.0 / square;
    let series = 1.0 - 3.0 * i * (1.0 - 5.0 * i * (1.0 - 7.0 * i));
    -series / (w * square)
}

/// Mills' ratio from 0 to 8 as a fraction, even and odd powers apart, so that they can be had at once.
#[inline(always)]
fn mills(w: f64) -> (f64, f64) {
    let square = w * w;
    let [a0, a1, a2, a3, a4, a5, a6, a7] = MILLS;
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8] = MILLS_BELOW;
    let even = a0 + square * (a2 + square * (a4 + square * a6));
    let odd = a1 + square * (a3 + square * (a5 + square * a7));
    let even_below = b0 + square * (b2 + square * (b4 + square * (b6 + square * b8)));
    let odd_below = b1 + square * (b3 + square * (b5 + square * b7));
    (even + w * odd, even_below + w * odd_below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::f64::consts::LN_10;
    use proptest::prelude::*;
    use statrs::function::gamma::ln_gamma;

    /// `ln P(X = k)`, and the law's parameters, for summing tails term by term.
    struct Law {
        mean: f64,
        dispersion: f64,
    }

    impl Law {
        fn ln_pmf(&self, k: f64) -> f64 {
            let Law { mean, dispersion } = *self;
            if dispersion == 0.0 {
                return k * mean.ln() - mean - ln_gamma(k + 1.0);
            }
            let shape = 1.0 / dispersion;
            // ln Γ(k + r) - ln Γ(r) as a product where r is large and the difference would cancel.
            let rising = if k <= 400.0 {
                (0..k as u32).map(|i| (shape + f64::from(i)).ln()).sum()
            } else {
                ln_gamma(k + shape) - ln_gamma(shape)
            };
            rising - ln_gamma(k + 1.0) - shape * (dispersion * mean).ln_1p()
                + k * (dispersion * mean / (1.0 + dispersion * mean)).ln()
        }

        /// `p(k + 1) / p(k)`.
        fn ratio(&self, k: f64) -> f64 {
            let Law { mean, dispersion } = *self;
            mean * (1.0 + dispersion * k) / ((k + 1.0) * (1.0 + dispersion * mean))
        }

        fn upper(&self, x: f64) -> f64 {
            let (mut term, mut sum, mut k) = (1.0, 1.0, x);
            while term > 1e-14 * sum {
                term *= self.ratio(k);
                sum += term;
                k += 1.0;
            }
            -(self.ln_pmf(x) + f64::ln(sum)) / LN_10
        }

        fn lower(&self, x: f64) -> f64 {
            let (mut term, mut sum, mut k) = (1.0, 1.0, x);
            while k > 0.0 && term > 1e-14 * sum {
                k -= 1.0;
                term /= self.ratio(k);
                sum += term;
            }
            -(self.ln_pmf(x) + f64::ln(sum)) / LN_10
        }
    }

    const MEANS: [f64; 11] = [
        0.001, 0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 40.0, 200.0, 1000.0, 5000.0,
    ];
    const DISPERSIONS: [f64; 7] = [0.0, 0.0005, 0.01, 0.1, 0.5, 1.0, 2.0];

    /// The worst error of a side, in decades, over all laws, for surprises from 1 to 300.
    fn worst_error(dispersions: &[f64], high: bool) -> (f64, f64, f64, f64) {
        let mut worst = (0.0, 0.0, 0.0, 0.0);
        for mean in MEANS {
            for &dispersion in dispersions {
                let law = Law { mean, dispersion };
                let deviation = (mean + dispersion * mean * mean).sqrt();
                for step in 1..400 {
                    let away = 0.1 * f64::from(step) * deviation * (1.0 + 0.02 * f64::from(step));
                    let x = if high {
                        (mean + away).ceil()
                    } else {
                        (mean - away).floor()
                    };
                    if x < 0.0 {
                        break;
                    }
                    let exact = if high { law.upper(x) } else { law.lower(x) };
                    if exact > 300.0 {
                        break;
                    }
                    if exact < 1.0 {
                        continue;
                    }
                    let ours = if high {
                        upper(x, mean, dispersion)
                    } else {
                        lower(x, mean, dispersion)
                    };
                    let error = (ours - exact).abs();
                    if error > worst.0 {
                        worst = (error, x, mean, dispersion);
                    }
                }
            }
        }
        worst
    }

    #[test]
    fn upper_tail_is_the_sum() {
        let little = worst_error(&DISPERSIONS[..5], true);
        assert!(little.0 <= 0.03, "{little:?}");
        let all = worst_error(&DISPERSIONS, true);
        assert!(all.0 <= 0.065, "{all:?}");
    }

    /// Few, great groups: variances of 1.1 to 10 times means of 0.002 to 1.
    #[test]
    fn upper_tail_of_groups_is_the_sum() {
        let (mut compared, mut worst) = (0, (0.0, 0.0, 0.0, 0.0));
        for mean in [0.002, 0.01, 0.05, 0.2, 0.5, 1.0] {
            for excess in [0.1, 0.5, 1.0, 2.0, 5.0, 9.0] {
                let dispersion = excess / mean;
                if dispersion <= SCATTERED {
                    continue;
                }
                let (law, mut last) = (Law { mean, dispersion }, 0.0);
                for x in (1..=300).map(f64::from) {
                    let (exact, ours) = (law.upper(x), upper(x, mean, dispersion));
                    assert!(ours >= last, "{x} {mean} {dispersion}");
                    last = ours;
                    if exact >= 1.0 && (ours - exact).abs() > worst.0 {
                        worst = ((ours - exact).abs(), x, mean, dispersion);
                    }
                    compared += 1;
                }
            }
        }
        assert!(compared > 5_000, "{compared}");
        assert!(worst.0 <= 0.02, "{worst:?}");
    }

    #[test]
    fn lower_tail_is_the_sum() {
        let worst = worst_error(&DISPERSIONS, false);
        assert!(worst.0 <= 0.06, "{worst:?}");
    }

    #[test]
    fn small_counts_are_exact() {
        for mean in MEANS {
            for dispersion in DISPERSIONS {
                let law = Law { mean, dispersion };
                let near = |ours: f64, exact: f64| (ours - exact).abs() <= 1e-6 * exact.max(1.0);
                assert!(
                    near(lower(0.0, mean, dispersion), law.lower(0.0)),
                    "0, {mean}, {dispersion}"
                );
                for x in [1.0, 2.0] {
                    if x > mean {
                        let exact = law.upper(x);
                        assert!(
                            near(upper(x, mean, dispersion), exact),
                            "{x}, {mean}, {dispersion}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn mills_ratio_is_that_of_the_normal_law() {
        // mpmath 1.3, 60 digits: sqrt(pi/2) exp(w²/2) erfc(w/sqrt(2)).
        for (w, exact) in [
            (0.0, 1.2533141373155003),
            (0.15, 1.1163634520881576),
            (0.3, 1.0018374009921558),
            (0.5, 0.8763644564536923),
            (0.7, 0.7748938487793906),
            (0.71, 0.7703407362162267),
            (1.0, 0.6556795424187984),
            (1.5, 0.5158156382179634),
            (2.0, 0.4213692292880545),
            (3.0, 0.3045902987101033),
            (4.0, 0.23665238291356067),
            (5.0, 0.19280810471531576),
            (6.0, 0.16237766089686745),
            (7.0, 0.14010418345305023),
            (8.0, 0.1231319632579323),
        ] {
            let (above, below) = mills(w);
            let error = (above / below / exact - 1.0_f64).abs();
            assert!(error <= 2e-15, "{w}: {error:e}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Laws that are asked together say what each says by itself, to the last bit: bounds and verdicts agree.
        #[test]
        fn together_as_alone(
            laws in prop::array::uniform6((-7.0..35.0, -9.0..5.0, -9.0..1.5, -8.0..40.0, 0..4)),
        ) {
            let mut asked = laws.map(|(mean, dispersion, wander, deviations, kind): (f64, f64, f64, f64, i32)| {
                let mean = exp(mean);
                let dispersion = if kind == 0 { 0.0 } else { exp(dispersion) };
                let wander = if kind == 1 { 0.0 } else { exp(wander) };
                let x = mean + deviations * (mean + (dispersion + wander) * mean * mean).sqrt();
                let x = if kind == 2 { (x % 4.0).floor() } else { x.floor() }.max(0.0);
                let law = super::Law { mean, dispersion, wander };
                Asked { x, high: x > mean, law }
            });
            let alone = |asked: [Asked; 6]| asked.map(|a| a.decades().to_bits());
            prop_assert_eq!(super::Law::all::<6, 6>(&asked).map(f64::to_bits), alone(asked));
            asked[4..].iter_mut().for_each(|a| a.law.wander = 0.0);
            prop_assert_eq!(super::Law::all::<6, 4>(&asked).map(f64::to_bits), alone(asked));
        }
    }

    #[test]
    fn unsurprising_side_is_even() {
        assert_eq!(upper(3.0, 5.0, 0.1), EVEN);
        assert_eq!(lower(7.0, 5.0, 0.1), EVEN);
        assert_eq!(upper(0.0, 5.0, 0.1), EVEN);
    }

    #[test]
    fn far_tails_are_finite() {
        for mean in [1e-300, 1e-9, 0.002, 1.0, 1e15, 1e17] {
            for dispersion in [0.0, 1e-10, 0.0005, 5.0, 300.0] {
                for x in [0.0, 1.0, 2.0, 3.0, 1e6, 1e15, 1e17] {
                    assert!(
                        upper(x, mean, dispersion).is_finite(),
                        "{x} {mean} {dispersion}"
                    );
                    assert!(
                        lower(x, mean, dispersion).is_finite(),
                        "{x} {mean} {dispersion}"
                    );
                }
            }
        }
    }
}
