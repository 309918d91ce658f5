//! The axis of values: from zero to a little above the greatest, with round numbers at regular rows.

/// Which row a value stands in.
pub struct Scale {
    /// What a row is worth.
    step: f64,
    /// Rows from one label to the next.
    every: usize,
    height: usize,
}

impl Scale {
    /// The scale that wastes least, of those with a round number every few rows.
    pub fn new(top: f64, height: usize) -> Scale {
        let top = if top.is_finite() { top.max(1.0) } else { 1.0 };
        let apart = if height <= 10 { 2..=3 } else { 3..=5 };
        apart
            .map(|every| {
                // The greatest value stands in the last row or below it.
                let least = top * (1.0 + 1e-9) / height as f64 * every as f64;
                Scale {
                    step: round_up(least) / every as f64,
                    every,
                    height,
                }
            })
            .min_by(|a, b| a.step.total_cmp(&b.step))
            .expect("the range is not empty")
    }

    /// The row of a value, counted from the bottom; what does not fit in goes to the edge.
    pub fn row(&self, x: f64) -> usize {
        // The cast takes what is negative and what is no number to 0.
        ((x / self.step * (1.0 + 1e-9)).floor() as usize).min(self.height - 1)
    }

    /// The value at the lower edge of a row, if it is to be shown.
    pub fn label(&self, row: usize) -> Option<f64> {
        row.is_multiple_of(self.every)
            .then_some(self.step * row as f64)
    }
}

/// The next number that is 1, 2, 2.5 or 5 times a power of ten.
fn round_up(x: f64) -> f64 {
    let unit = 10f64.powf(x.log10().floor());
    [1.0, 2.0, 2.5, 5.0]
        .iter()
        .map(|m| m * unit)
        .find(|round| *round >= x)
        .unwrap_or(10.0 * unit)
}

/// A number in at most six characters: `1.2M`.
pub fn short(x: f64) -> String {
    if x.is_nan() {
        return "?".into();
    }
    // From where it would be rounded to the next unit's first.
    let (scaled, unit) = match x.abs() {
        a if a >= 9.995e14 => return format!("{x:.0e}"),
        a if a >= 9.995e11 => (x / 1e12, "T"),
        a if a >= 9.995e8 => (x / 1e9, "G"),
        a if a >= 9.995e5 => (x / 1e6, "M"),
        a if a >= 1e4 => (x / 1e3, "k"),
        _ => (x, ""),
    };
    let digits = match scaled.abs() {
        a if a >= 99.95 => 0,
        a if a >= 0.995 || !unit.is_empty() => 1,
        _ => 2,
    };
    let mut text = format!("{scaled:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text + unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_round_and_the_greatest_fits() {
        for height in 5..=100 {
            for top in [
                0.0, 0.7, 1.0, 3.0, 7.9, 10.0, 41.0, 99.0, 100.0, 1234.0, 1.2e6, 7e12,
            ] {
                let scale = Scale::new(top, height);
                assert!(top < scale.step * height as f64, "{top} in {height}");
                let used = scale.row(top) + 1;
                assert!(
                    top < 1.0 || 2 * used >= height,
                    "{top} takes {used} of {height}"
                );
                let labels: Vec<f64> = (0..height).filter_map(|r| scale.label(r)).collect();
                assert!(labels.len() >= 2 && labels[0] == 0.0);
                let first = labels[1] / 10f64.powf(labels[1].log10().floor());
                assert!(
                    [1.0, 2.0, 2.5, 5.0, 10.0]
                        .iter()
                        .any(|m| (m - first).abs() < 1e-6),
                    "{labels:?}"
                );
            }
        }
    }

    #[test]
    fn whole_numbers_stand_on_their_labels() {
        let scale = Scale::new(41.0, 8);
        for row in 0..8 {
            if let Some(value) = scale.label(row) {
                assert_eq!(scale.row(value), row);
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<(f64, String)> = [
            0.0, 0.25, 0.5, 0.999, 2.5, 7.0, 37.5, 99.97, 120.0, 9999.0, 12_000.0, 999_600.0,
            1.25e6, 3e9, 4.5e12, 1e300,
        ]
        .map(|x| (x, short(x)))
        .into();
        let wanted = [
            "0", "0.25", "0.5", "1", "2.5", "7", "37.5", "100", "120", "9999", "12k", "1M", "1.2M",
            "3G", "4.5T", "1e300",
        ];
        for ((x, text), wanted) in shown.iter().zip(wanted) {
            assert_eq!(text, wanted, "{x}");
            assert!(text.len() <= 6);
        }
        assert_eq!(short(f64::NAN), "?");
    }
}
