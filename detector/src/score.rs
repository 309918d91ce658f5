//! Surprise as a score from 0 to 100.

/// Corners of the scale: surprise in decades, score.
const SCALE: [(f64, f64); 5] = [
    (0.4, 0.0),
    (3.0, 50.0),
    (4.4, 75.0),
    (6.4, 95.0),
    (11.4, 100.0),
];

/// The surprise `S` (decades) as a score, linear between the corners of a fixed scale.
///
/// A quiet series shows a surprise of `S` about once in `N = 10^(S - 0.4)` buckets (the largest of
/// five channels is taken, hence the 0.4; measured within a factor of 3 for means from 0.05 to
/// 300). So a score means the same for every series:
///
/// | score | once in … buckets | |
/// |---|---|---|
/// | 50 | 400 | |
/// | 75 | 10,000 | a week of minutes |
/// | 81 | 40,000 | a warning, `S = 5` |
/// | 94 | 800,000 | critical, `S = 6.3` |
/// | 95 | 1,000,000 | two years of minutes |
/// | 100 | 10^11 | |
///
/// Monotone; NaN gives 0.
pub fn score(surprise: f64) -> f64 {
    let (mut from, mut low) = SCALE[0];
    if surprise.is_nan() || surprise <= from {
        return 0.0;
    }
    for (to, high) in SCALE {
        if surprise < to {
            return low + (high - low) * (surprise - from) / (to - from);
        }
        (from, low) = (to, high);
    }
    100.0
}

#[cfg(test)]
mod tests {
    use super::score;

    #[test]
    fn corners() {
        for (surprise, expected) in [
            (0.0, 0.0),
            (0.4, 0.0),
            (3.0, 50.0),
            (4.4, 75.0),
            (5.0, 81.0),
            (6.4, 95.0),
        ] {
            assert!((score(surprise) - expected).abs() < 1e-9, "{surprise}");
        }
        assert_eq!(score(11.4), 100.0);
        assert_eq!(score(1e9), 100.0);
        assert_eq!(score(f64::INFINITY), 100.0);
        assert_eq!(score(f64::NAN), 0.0);
        assert_eq!(score(-3.0), 0.0);
    }
}
