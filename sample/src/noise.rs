//! Counts that scatter as real ones do: a little more than Poisson's, and a little like their neighbours.

use rand_distr::{Distribution, Gamma, Poisson, StandardNormal};
use rand_xoshiro::rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Variance of the gamma factor of mean 1 that is drawn anew for every minute.
const DISPERSION: f64 = 0.004;

/// Standard deviation of the logarithm of the slow factor, and the minutes between its knots.
const SLOW_SD: f64 = 0.03;
const SLOW_MINUTES: i64 = 20;

/// Which use a random number is for; each has numbers of its own.
#[derive(Clone, Copy)]
enum Purpose {
    Count = 0,
    Slow = 1,
}

/// The noise of one stream. Any minute can be asked for, in any order.
#[derive(Debug, Clone)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Noise(seed)
    }

    /// A negative binomial count (a Poisson one of a gamma-distributed rate) around `rate`.
    pub(crate) fn count(&self, status: usize, minute: i64, rate: f64) -> i32 {
        if rate <= 0.0 {
            return 0;
        }
        let slow = (SLOW_SD * self.slow(status, minute)).exp();
        let mut rng = self.at(Purpose::Count, status, minute);
        let gamma = Gamma::new(1.0 / DISPERSION, DISPERSION).expect("shape and scale are positive");
        let scattered = rate * slow * gamma.sample(&mut rng);
        match Poisson::new(scattered) {
            Ok(poisson) => poisson.sample(&mut rng) as i32,
            // A rate too near to zero, or beyond what the sampler can do.
            Err(_) => scattered as i32,
        }
    }

    /// A standard normal variable at each knot, and a straight line between two.
    fn slow(&self, status: usize, minute: i64) -> f64 {
        let (knot, way) = (
            minute.div_euclid(SLOW_MINUTES),
            minute.rem_euclid(SLOW_MINUTES) as f64 / SLOW_MINUTES as f64,
        );
        let value =
            |knot| -> f64 { StandardNormal.sample(&mut self.at(Purpose::Slow, status, knot)) };
        value(knot) * (1.0 - way) + value(knot + 1) * way
    }

    /// The random numbers of one minute (or knot).
    fn at(&self, purpose: Purpose, status: usize, index: i64) -> Xoshiro256PlusPlus {
        let series = (status as u64) << 1 | purpose as u64;
        let seed = mix(mix(mix(self.0).wrapping_add(series)).wrapping_add(index as u64));
        Xoshiro256PlusPlus::seed_from_u64(seed)
    }
}

/// The step and the finalizer of SplitMix64 (Steele, Lea and Flood, 2014): a bijection whose every output bit depends
/// on every input bit.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(rate: f64, n: i64) -> (f64, f64) {
        let noise = Noise::new(3);
        let counts: Vec<f64> = (0..n).map(|m| f64::from(noise.count(0, m, rate))).collect();
        let mean = counts.iter().sum::<f64>() / n as f64;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / n as f64;
        (mean, variance)
    }

    #[test]
    fn means_are_right_and_variances_above_poisson() {
        for (rate, n, tolerance) in [
            (0.02, 100_000, 0.05),
            (6.0, 30_000, 0.02),
            (110.0, 30_000, 0.01),
        ] {
            let (mean, variance) = moments(rate, n);
            assert!((mean / rate - 1.0).abs() < tolerance, "{mean} for {rate}");
            // Gamma, slow factor (two thirds of whose variance is left between knots) and Poisson.
            let extra = DISPERSION + SLOW_SD * SLOW_SD * 2.0 / 3.0;
            let expected = rate + extra * rate * rate;
            assert!(
                (variance / expected - 1.0).abs() < 2.0 * tolerance,
                "{variance} for {expected}"
            );
        }
        let (mean, variance) = moments(110.0, 30_000);
        assert!(variance > 1.3 * mean, "{variance}");
    }

    #[test]
    fn no_rate_no_count() {
        let noise = Noise::new(1);
        assert!((0..1000).all(|minute| noise.count(2, minute, 0.0) == 0));
    }

    #[test]
    fn statuses_and_minutes_are_independent() {
        let noise = Noise::new(1);
        let series =
            |status| -> Vec<i32> { (0..50).map(|m| noise.count(status, m, 50.0)).collect() };
        assert_ne!(series(0), series(1));
        let first = series(0);
        assert!(first.iter().any(|count| *count != first[0]));
    }
}
