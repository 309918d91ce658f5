//! Random numbers of a series: seeded by what the series is, so that each can be made alone and again.

use rand_distr::{Distribution, Gamma, Geometric, Poisson, StandardNormal, StandardUniform};
use rand_xoshiro::rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// Of a seed and the numbers that name the series.
    pub fn new(seed: u64, name: &[u64]) -> Random {
        let mixed = name.iter().fold(seed, |hash, part| {
            (hash ^ part)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        });
        Random(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        StandardUniform.sample(&mut self.0)
    }

    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.uniform()
    }

    /// In `from..to`.
    pub fn whole(&mut self, from: usize, to: usize) -> usize {
        from + (self.uniform() * (to - from) as f64) as usize
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    pub fn poisson(&mut self, mean: f64) -> f64 {
        Poisson::new(mean).map_or(0.0, |law| law.sample(&mut self.0))
    }

    /// Gamma with mean 1 and this variance; 1 without variance.
    pub fn gamma(&mut self, variance: f64) -> f64 {
        if variance <= 0.0 {
            return 1.0;
        }
        Gamma::new(1.0 / variance, variance).map_or(1.0, |law| law.sample(&mut self.0))
    }

    /// A whole number from 1 on, of this mean.
    pub fn geometric(&mut self, mean: f64) -> f64 {
        Geometric::new(1.0 / mean).map_or(1.0, |law| 1.0 + law.sample(&mut self.0) as f64)
    }
}
