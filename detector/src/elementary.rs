//! Logarithms and exponentials of our own: inlined, so that those of several windows overlap, and of additions,
//! multiplications and divisions only, so that a state is the same, bit for bit, whatever C library and processor made
//! it.
//!
//! Each is within 5.6e-16 of the exact value, relatively (2.5 times 2^-52: what the tests hold them to), and is what the standard
//! library gives at 0, infinity, NaN and outside its domain. The coefficients are those of polynomials nearly minimax:
//! `tests/certified/elementary.py` makes them, by `mpmath.chebyfit` of the function and on the interval that each names.

/// `ln 2`, in two parts: the first has 32 bits, so that it times an exponent is exact.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// 1.5 · 2^52: what is added to it is rounded to a whole number, in its lowest bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Numbers whose logarithm can be taken without regard to overflow.
const PLAIN: core::ops::Range<f64> = 1e-300..1e300;
/// Exponents up to this are taken without regard to overflow.
const LARGEST_EXPONENT: f64 = 700.0;

/// `(2 artanh s - 2 s) / s³` in powers of `z = s²`, 0 to 0.0401: to 3e-17.
const ARTANH: [f64; 8] = [
    0.666_666_666_666_666_6,
    0.400_000_000_000_079_4,
    0.285_714_285_672_759_36,
    0.222_222_230_483_515_9,
    0.181_817_376_263_029_38,
    0.153_888_678_056_137_18,
    0.132_097_082_420_594_62,
    0.136_090_302_628_584_99,
];

/// `(exp(r) - 1 - r) / r²` in powers of `r`, -0.34658 to 0.34658: to 2e-16, where `exp(r) - 1` is about `r`.
const EXP: [f64; 10] = [
    0.500_000_000_000_000_1,
    0.166_666_666_666_666_69,
    0.041_666_666_666_624_16,
    0.008_333_333_333_330_063,
    0.001_388_888_891_719_986_3,
    0.000_198_412_698_630_429_63,
    2.480_152_131_748_408_3e-5,
    2.755_726_847_655_369_5e-6,
    2.762_007_820_380_639_4e-7,
    2.510_037_761_960_637_2e-8,
];

/// `ln x`.
#[inline]
pub(crate) fn ln(x: f64) -> f64 {
    if PLAIN.contains(&x) {
        ln_of_ratio(x, 1.0, x - 1.0)
    } else {
        ln_at_the_ends(x)
    }
}

/// `log10 x`.
#[inline]
pub(crate) fn log10(x: f64) -> f64 {
    ln(x) * core::f64::consts::LOG10_E
}

/// [`ln`] of so many at once, each between 1e-300 and 1e300; of others, that of the nearer end.
#[inline]
pub(crate) fn lns<const N: usize>(x: [f64; N]) -> [f64; N] {
    let mut lns = [0.0; N];
    for i in 0..N {
        let x = x[i].clamp(PLAIN.start, PLAIN.end);
        lns[i] = ln_of_ratio(x, 1.0, x - 1.0);
    }
    lns
}

/// `ln(1 + x)`, as exact for a small `x` as for others.
#[inline]
pub(crate) fn ln_1p(x: f64) -> f64 {
    let sum = 1.0 + x;
    if PLAIN.contains(&sum) {
        ln_of_ratio(sum, 1.0, x)
    } else {
        ln_at_the_ends(sum)
    }
}

/// `ln(a / b)` given `a - b`, which may be known better than from the two: without the division, and where they are
/// close, without what it rounds. Both must lie between 1e-300 and 1e300.
///
/// `b` is scaled by the power of 2 that brings it nearest, so that the ratio left is from 2/3 to 3/2, and its logarithm
/// `2 artanh s`, `s = (a - b) / (a + b)`.
#[inline(always)]
pub(crate) fn ln_of_ratio(a: f64, b: f64, difference: f64) -> f64 {
    // The bits of a number, read as a whole one, are nearly its binary logarithm, times 2^52. The power of 2 is held
    // above 0, by adding `MIDDLE` and one half for rounding: processors of 2003 shift and convert no signed ones two by
    // two.
    const MIDDLE: u64 = 1 << 11;
    const LIFT: u64 = (MIDDLE << 52) + (1 << 51);
    let apart = a.to_bits().wrapping_sub(b.to_bits());
    let lifted = apart.wrapping_add(LIFT) >> 52;
    let power = f64::from_bits(ROUNDER.to_bits() + lifted) - (ROUNDER + MIDDLE as f64);
    let scaled = f64::from_bits(b.to_bits().wrapping_add(lifted.wrapping_sub(MIDDLE) << 52));
    let away = if power == 0.0 { difference } else { a - scaled };
    let s = away / (a + scaled);
    let z = s * s;
    let square = z * z;
    let [c0, c1, c2, c3, c4, c5, c6, c7] = ARTANH;
    let low = (c0 + c1 * z) + square * (c2 + c3 * z);
    let high = (c4 + c5 * z) + square * (c6 + c7 * z);
    let beyond = s * z * (low + square * square * high);
    power * LN_2_HIGH + (2.0 * s + (beyond + power * LN_2_LOW))
}

/// `exp x`.
#[inline]
pub(crate) fn exp(x: f64) -> f64 {
    if x.abs() < LARGEST_EXPONENT {
        let (power, less_one) = parts_of_exp(x);
        power + power * less_one
    } else {
        exp_at_the_ends(x)
    }
}

/// `exp x` of an `x` between -700 and 700; of others, that of the nearer end.
#[inline(always)]
pub(crate) fn exp_of_plain(x: f64) -> f64 {
    let (power, less_one) = parts_of_exp(x.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT));
    power + power * less_one
}

/// [`exp_of_plain`] of so many at once.
#[inline]
pub(crate) fn exps<const N: usize>(x: [f64; N]) -> [f64; N] {
    let mut exps = [0.0; N];
    for i in 0..N {
        exps[i] = exp_of_plain(x[i]);
    }
    exps
}

/// `exp(x) - 1`, as exact for a small `x` as for others.
#[inline]
pub(crate) fn exp_m1(x: f64) -> f64 {
    if x.abs() < LARGEST_EXPONENT {
        let (power, less_one) = parts_of_exp(x);
        (power - 1.0) + power * less_one
    } else {
        exp_at_the_ends(x) - 1.0
    }
}

/// `exp x` as `p (1 + q)`: `p` a power of 2, `q` from -0.3 to 0.42.
#[inline(always)]
fn parts_of_exp(x: f64) -> (f64, f64) {
    let rounded = x * core::f64::consts::LOG2_E + ROUNDER;
    let power = rounded - ROUNDER;
    let r = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    let square = r * r;
    let fourth = square * square;
    let [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9] = EXP;
    let low = (c0 + c1 * r) + square * (c2 + c3 * r);
    let middle = (c4 + c5 * r) + square * (c6 + c7 * r);
    let high = c8 + c9 * r;
    let less_one = r + square * (low + fourth * (middle + fourth * high));
    // The power's lowest bits, moved to where an exponent lies, times 1.
    let power = f64::from_bits((rounded.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    (power, less_one)
}

#[cold]
fn ln_at_the_ends(x: f64) -> f64 {
    const SCALE: f64 = (1_u64 << 60) as f64;
    if x == 0.0 {
        f64::NEG_INFINITY
    } else if x < 0.0 {
        f64::NAN
    } else if x < 1.0 {
        ln_of_ratio(x * SCALE, 1.0, x * SCALE) - ln(SCALE)
    } else if x < f64::INFINITY {
        ln(x / SCALE) + ln(SCALE)
    } else {
        x
    }
}

#[cold]
fn exp_at_the_ends(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let half = exp(x.clamp(-1500.0, 1500.0) / 4.0);
    let half = half * half;
    half * half
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Relative error allowed, in units of 2^-52.
    const ALLOWED: f64 = 2.5;

    fn error(ours: f64, exact: f64) -> f64 {
        if ours == exact {
            0.0
        } else {
            ((ours - exact) / exact).abs() / f64::EPSILON
        }
    }

    fn function(name: &str) -> fn(f64) -> f64 {
        match name {
            "ln" => ln,
            "ln_1p" => ln_1p,
            "exp" => exp,
            "exp_m1" => exp_m1,
            _ => panic!("{name}"),
        }
    }

    /// Against values of 50 digits, made with mpmath: `tests/certified/elementary.py`.
    #[test]
    fn certified_values() {
        let mut worst = std::collections::BTreeMap::new();
        for line in include_str!("../tests/certified/elementary.csv")
            .lines()
            .skip(1)
        {
            let fields: Vec<&str> = line.split(',').collect();
            let [name, x, exact] = fields[..] else {
                panic!("{line}");
            };
            let (x, exact): (f64, f64) = (x.parse().unwrap(), exact.parse().unwrap());
            let error = error(function(name)(x), exact);
            let entry = worst.entry(name).or_insert((0.0, 0.0, 0));
            entry.2 += 1;
            if error > entry.0 {
                (entry.0, entry.1) = (error, x);
            }
        }
        println!("{worst:?}");
        assert_eq!(worst.len(), 4);
        for (name, (error, x, count)) in worst {
            assert!(count >= 300, "{name}: {count} values");
            assert!(error <= ALLOWED, "{name} {x}: {error}");
        }
    }

    #[test]
    fn at_the_ends() {
        for x in [
            0.0,
            -0.0,
            5e-324,
            1e-310,
            f64::MIN_POSITIVE,
            1e-300,
            1e300,
            f64::MAX,
            f64::INFINITY,
            1.0,
        ] {
            assert!(error(ln(x), x.ln()) <= ALLOWED, "ln {x}: {}", ln(x));
            // Of a subnormal number the last bit may go.
            if x == 0.0 || x >= f64::MIN_POSITIVE {
                assert!(error(ln_1p(x), x.ln_1p()) <= ALLOWED, "ln_1p {x}");
            }
        }
        assert_eq!(ln_1p(-1.0), f64::NEG_INFINITY);
        for x in [-1.5, f64::NEG_INFINITY, f64::NAN] {
            assert!(ln(x).is_nan() && ln_1p(x).is_nan());
        }
        for x in [0.0, 699.9, -699.9, 700.0, -700.0, 709.7, -708.3] {
            assert!(error(exp(x), f64::exp(x)) <= 4.0, "exp {x}: {}", exp(x));
            assert!(error(exp_m1(x), f64::exp_m1(x)) <= 4.0, "exp_m1 {x}");
        }
        for x in [710.0, -746.0, 1e9, -1e300, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(exp(x), x.exp());
            assert_eq!(exp_m1(x), x.exp_m1());
        }
        assert!(exp(f64::NAN).is_nan() && exp_m1(f64::NAN).is_nan());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn logarithms_are_those_of_the_standard_library(
            power in -690.0..690.0,
            near in 0.5..2.0,
            small in -50.0..0.0,
            negative in any::<bool>(),
        ) {
            for x in [f64::exp(power), near] {
                prop_assert!(error(log10(x), x.log10()) <= ALLOWED + 1.0, "log10 {}", x);
                prop_assert!(error(ln(x), x.ln()) <= ALLOWED, "ln {}", x);
                prop_assert_eq!(lns([x, near]), [ln(x), ln(near)]);
            }
            let small = if negative { -f64::exp(small) } else { f64::exp(small) };
            for x in [f64::exp(power), small, near - 1.0] {
                prop_assert!(error(ln_1p(x), x.ln_1p()) <= ALLOWED, "ln_1p {}", x);
            }
        }

        #[test]
        fn exponentials_are_those_of_the_standard_library(
            x in -700.0..700.0,
            near in -2.0..2.0,
            small in -50.0..0.0,
        ) {
            let small = f64::exp(small);
            for x in [x, near, small, -small] {
                prop_assert!(error(exp(x), x.exp()) <= ALLOWED, "exp {}", x);
                prop_assert!(error(exp_m1(x), x.exp_m1()) <= ALLOWED, "exp_m1 {}", x);
            }
            prop_assert_eq!(exps([x, near, small]), [exp(x), exp(near), exp(small)]);
        }

        #[test]
        fn ratios_are_those_of_their_logarithms(
            (log_a, log_b) in (-30.0..36.0, -30.0..36.0),
            share in -0.9..4.0,
        ) {
            let (a, b) = (f64::exp(log_a), f64::exp(log_b));
            for a in [a, b * (1.0 + share)] {
                let exact = (a / b).ln();
                // What the quotient rounds is not ours.
                let allowed = ALLOWED * exact.abs().max(1.0) * f64::EPSILON;
                prop_assert!((ln_of_ratio(a, b, a - b) - exact).abs() <= allowed, "{} {}", a, b);
            }
        }
    }
}
