//! Medians, ratios of pairs, and the table that a run ends with.

use std::fmt::Write as _;

/// The middle of some figures; NaN of none.
pub fn median(figures: &[f64]) -> f64 {
    percentile(figures, 0.5)
}

/// The figure below which a share of them lies.
pub fn percentile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Median of the ratios of pairs that were measured one after the other: what slows the machine for a while slows
/// both of a pair.
pub fn ratio(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// What a figure was to reach.
#[derive(Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Shown for comparison.
    None,
}

impl Target {
    fn met(self, figure: f64) -> Option<bool> {
        match self {
            Target::AtMost(most) => Some(figure <= most),
            Target::AtLeast(least) => Some(figure >= least),
            Target::None => None,
        }
    }
}

struct Line {
    what: String,
    figure: String,
    target: String,
    met: &'static str,
    detail: String,
}

/// The lines of the table, printed as they come.
#[derive(Default)]
pub struct Report {
    lines: Vec<Line>,
    missed: usize,
    durable: bool,
}

impl Report {
    /// A figure with its unit, beside what it was to reach.
    pub fn figure(&mut self, what: &str, figure: f64, unit: &str, target: Target, detail: String) {
        let met = match target.met(figure) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        self.missed += usize::from(met == "**no**");
        let show = |x: f64| format!("{}{unit}", rounded(x));
        let target = match target {
            Target::AtMost(x) => format!("≤ {}", show(x)),
            Target::AtLeast(x) => format!("≥ {}", show(x)),
            Target::None => String::new(),
        };
        self.push(Line {
            what: what.into(),
            figure: show(figure),
            target,
            met,
            detail,
        });
    }

    /// A measure that was not made. It stands in the table, and it counts as missed.
    pub fn skipped(&mut self, what: &str, why: &str) {
        eprintln!("bench-load: SKIPPED: {what}: {why}");
        self.missed += 1;
        self.push(Line {
            what: what.into(),
            figure: "**SKIPPED**".into(),
            target: String::new(),
            met: "**no**",
            detail: why.into(),
        });
    }

    fn push(&mut self, line: Line) {
        println!(
            "{:<76} {:>12} {:>12} {:>6}  {}",
            line.what, line.figure, line.target, line.met, line.detail
        );
        self.lines.push(line);
    }

    /// Says that the server waited for the disk at each commit.
    pub fn set_durable(&mut self) {
        self.durable = true;
    }

    /// Whether it did.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// How many were skipped or did not reach their target.
    pub fn missed(&self) -> usize {
        self.missed
    }

    /// As a table of Markdown.
    pub fn table(&self) -> String {
        let mut out =
            String::from("| measure | figure | target | met | detail |\n|---|---|---|---|---|\n");
        for l in &self.lines {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                l.what, l.figure, l.target, l.met, l.detail
            );
        }
        out
    }
}

/// Three digits that matter, whatever the size.
pub fn rounded(x: f64) -> String {
    match x.abs() {
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        a if a >= 0.1 || a == 0.0 => format!("{x:.2}"),
        _ => format!("{x:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let figures = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(median(&figures), 3.0);
        assert_eq!(percentile(&figures, 0.0), 1.0);
        assert_eq!(percentile(&figures, 0.99), 5.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_of_pairs() {
        // Twice as slow in each pair, though the second pair met a busy machine.
        assert_eq!(ratio(&[2.0, 20.0, 4.0], &[1.0, 10.0, 2.0]), 2.0);
    }

    #[test]
    fn what_was_skipped_counts_as_missed() {
        let mut report = Report::default();
        report.figure("a", 1.2, "×", Target::AtMost(1.5), String::new());
        report.figure("b", 1.6, "×", Target::AtMost(1.5), String::new());
        report.figure("c", 9.0, "×", Target::None, String::new());
        report.skipped("d", "not there");
        assert_eq!(report.missed(), 2);
        assert!(report.table().contains("| a | 1.20× | ≤ 1.50× | yes |"));
        assert!(report.table().contains("| d | **SKIPPED** |"));
    }
}
