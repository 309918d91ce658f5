//! A sale: more of everything for a while, and nothing wrong with it.

use std::f64::consts::PI;

/// Customers come, and go again: the rate of every status rises to `peak` times its usual one and falls back, so that
/// the share of each stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sale {
    /// Its first minute, since 1970 in UTC.
    pub start_minute: i64,
    pub minutes: i64,
    /// How many times the usual rate it reaches half-way.
    pub peak: f64,
}

impl Sale {
    /// Two and a half hours, with two and a half times as much at its peak.
    pub fn new(start_minute: i64) -> Self {
        Sale {
            start_minute,
            minutes: 150,
            peak: 2.5,
        }
    }

    /// What a minute's rates are multiplied with: 1 outside, and inside 1 + (peak - 1) sin², without a jump.
    pub(crate) fn factor(&self, minute: i64) -> f64 {
        let since = minute - self.start_minute;
        if !(0..self.minutes).contains(&since) {
            return 1.0;
        }
        let wave = (PI * since as f64 / self.minutes as f64).sin();
        1.0 + (self.peak - 1.0) * wave * wave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_to_its_peak_and_falls_without_a_jump() {
        let sale = Sale::new(1000);
        assert_eq!([999, 1000, 1150].map(|m| sale.factor(m)), [1.0; 3]);
        assert!((sale.factor(1075) - 2.5).abs() < 1e-12);
        for minute in 990..1160 {
            let step = sale.factor(minute + 1) / sale.factor(minute);
            assert!((step - 1.0).abs() < 0.03, "{minute}: {step}");
        }
    }
}
