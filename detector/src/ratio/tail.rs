//! Tail probabilities of the beta-binomial law, as decades.
//!
//! `X` is the number among `n` of which each counts with a probability that itself scatters: mean `p`, variance of
//! `X` `n p (1 - p) (1 + (n - 1) ρ)`. `ρ = 0` is the binomial law. With `α = p (1 - ρ) / ρ` and `β = (1 - p) (1 - ρ) / ρ`
//! the mass is `C(n, k) B(k + α, n - k + β) / B(α, β)` (Johnson, Kemp and Kotz 2005, Univariate Discrete
//! Distributions, 6.2.2); it is summed from `x` on by the ratio of neighbouring terms.

use core::f64::consts::LN_10;

use statrs::function::gamma::ln_gamma;

use crate::tail::EVEN;

/// Correlations below this are the binomial law.
const BINOMIAL: f64 = 1e-9;
/// Most terms that are summed of a law whose terms may fall slowly. What is larger is scaled down to this size.
const MOST: f64 = 4096.0;
/// A share is taken to lie at least this far from 0 and 1.
const LEAST_SHARE: f64 = 1e-9;
/// Terms below this part of the sum are the last.
const NEGLIGIBLE: f64 = 1e-12;

/// `-log10 P(X >= x)` for `x` of `n`, a share `p` in (0, 1) and a correlation `rho` in [0, 1).
///
/// [`EVEN`] where `x` is not above the mean. Exact to 1e-6 decades for `n` up to 4096 and for any `n` without
/// correlation; beyond, `n` and `x` are scaled to 4096 with the variance of the share kept (where the binomial part of
/// it is the smaller one), or to the binomial law of that variance.
pub fn upper(x: f64, n: f64, p: f64, rho: f64) -> f64 {
    let p = p.clamp(LEAST_SHARE, 1.0 - LEAST_SHARE);
    let (n, rho) = (n.max(0.0), rho.clamp(0.0, 0.999));
    let x = x.min(n);
    if x <= n * p || x <= 0.0 {
        return EVEN;
    }
    let law = Law { n, p, rho };
    if rho < BINOMIAL || n <= MOST {
        return law.upper(x);
    }
    let variance = 1.0 / n + rho * (1.0 - 1.0 / n);
    let smaller = if variance > 1.0 / MOST {
        Law {
            n: MOST,
            p,
            rho: (variance - 1.0 / MOST) / (1.0 - 1.0 / MOST),
        }
    } else {
        Law {
            n: (1.0 / variance).round(),
            p,
            rho: 0.0,
        }
    };
    smaller.upper((x / n * smaller.n).floor().max(0.0))
}

/// `-log10 P(X <= x)`, as [`upper`] of what is left.
pub fn lower(x: f64, n: f64, p: f64, rho: f64) -> f64 {
    upper(n - x, n, 1.0 - p, rho)
}

struct Law {
    n: f64,
    p: f64,
    rho: f64,
}

impl Law {
    fn upper(&self, x: f64) -> f64 {
        if x <= self.n * self.p {
            return EVEN;
        }
        let (alpha, beta) = self.shapes();
        // With a shape below 1 the mass rises again towards that end.
        let may_stop = beta >= 1.0;
        let (mut term, mut sum, mut k) = (1.0, 1.0, x);
        while k < self.n {
            let ratio = if self.is_binomial() {
                (self.n - k) * self.p / ((k + 1.0) * (1.0 - self.p))
            } else {
                (self.n - k) * (k + alpha) / ((k + 1.0) * (self.n - k - 1.0 + beta))
            };
            term *= ratio;
            sum += term;
            k += 1.0;
            if may_stop && ratio < 1.0 && term < NEGLIGIBLE * sum {
                break;
            }
        }
        (-(self.ln_mass(x) + f64::ln(sum)) / LN_10).max(EVEN)
    }

    fn is_binomial(&self) -> bool {
        self.rho < BINOMIAL
    }

    fn shapes(&self) -> (f64, f64) {
        if self.is_binomial() {
            return (f64::INFINITY, f64::INFINITY);
        }
        let size = (1.0 - self.rho) / self.rho;
        (self.p * size, (1.0 - self.p) * size)
    }

    fn ln_mass(&self, k: f64) -> f64 {
        let n = self.n;
        let ways = ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
        if self.is_binomial() {
            return ways + k * self.p.ln() + (n - k) * (-self.p).ln_1p();
        }
        let (alpha, beta) = self.shapes();
        ways + (ln_gamma(k + alpha) - ln_gamma(alpha)) + (ln_gamma(n - k + beta) - ln_gamma(beta))
            - (ln_gamma(n + alpha + beta) - ln_gamma(alpha + beta))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of all masses from `x` on, each by its logarithm.
    fn summed(x: f64, n: f64, p: f64, rho: f64) -> f64 {
        let law = Law { n, p, rho };
        let mut sum = 0.0;
        let mut k = x;
        while k <= n {
            sum += law.ln_mass(k).exp();
            k += 1.0;
        }
        -sum.log10()
    }

    #[test]
    fn masses_sum_to_one() {
        for n in [1.0, 7.0, 300.0] {
            for p in [0.001, 0.2, 0.9] {
                for rho in [0.0, 1e-6, 0.02, 0.4] {
                    assert!(summed(0.0, n, p, rho).abs() < 1e-9, "{n} {p} {rho}");
                }
            }
        }
    }

    #[test]
    fn by_terms_is_by_masses() {
        for n in [10.0, 200.0, 4000.0] {
            for p in [0.01, 0.3, 0.7] {
                for rho in [0.0, 1e-4, 0.01, 0.6] {
                    for part in [0.05, 0.35, 0.8, 1.0] {
                        let x = f64::ceil(n * part);
                        let exact = summed(x, n, p, rho);
                        if x > n * p && exact > EVEN && exact < 250.0 {
                            let ours = upper(x, n, p, rho);
                            assert!(
                                (ours - exact).abs() < 1e-6,
                                "{x} of {n}, {p}, {rho}: {ours} {exact}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn known_values() {
        // P(X >= 8), X ~ B(10, 1/2): 56 / 1024. All of 3 from Beta(1, 1): 1 / 4.
        assert!((upper(8.0, 10.0, 0.5, 0.0) + (56.0f64 / 1024.0).log10()).abs() < 1e-9);
        assert!((upper(3.0, 3.0, 0.5, 1.0 / 3.0) - 4f64.log10()).abs() < 1e-9);
        assert!((lower(2.0, 10.0, 0.5, 0.0) + (56.0f64 / 1024.0).log10()).abs() < 1e-9);
    }

    #[test]
    fn scaling_down_keeps_the_tail() {
        for (n, rho) in [(6000.0, 0.001), (6000.0, 0.02), (5000.0, 0.0001)] {
            for away in [3.0, 5.0, 7.0] {
                let p = 0.1;
                let deviation = f64::sqrt(n * p * (1.0 - p) * (1.0 + (n - 1.0) * rho));
                let x = f64::ceil(n * p + away * deviation);
                let exact = Law { n, p, rho }.upper(x);
                let ours = upper(x, n, p, rho);
                assert!(
                    (ours - exact).abs() < 0.02 * exact + 0.02,
                    "{n} {rho} {away}: {ours} {exact}"
                );
            }
        }
    }

    #[test]
    fn whatever_it_is_given_it_is_finite() {
        for n in [0.0, 1.0, 1e6, 1e15] {
            for x in [0.0, 1.0, 5e5, 1e15] {
                for p in [0.0, 1e-12, 0.5, 1.0] {
                    for rho in [0.0, 1e-8, 0.5, 1.0] {
                        assert!(upper(x, n, p, rho).is_finite(), "{x} {n} {p} {rho}");
                        assert!(lower(x.min(n), n, p, rho).is_finite(), "{x} {n} {p} {rho}");
                    }
                }
            }
        }
    }
}
