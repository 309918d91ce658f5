//! A series against its expected band, as lines of Unicode text.
//!
//! The text-plotting crates there are (textplots, rasciigraph) draw lines and points, but no band behind
//! them and no lane of marks below; so this draws a grid of its own.
//!
//! ```text
//!   40 ┤                 ◆
//!      │                ◆│◆
//!   20 ┤░░░░░░░░░░░░░░░░│││░░░
//!      │░•░░•░░•░•░░░•░░░░░░•░
//!    0 ┤•░••░••░•░•••░••    •
//!      └┬─────────┬──────────
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// Least width and height that a chart can be drawn in, in characters and rows.
pub const LEAST: (usize, usize) = (40, 5);
/// Greatest ones.
pub const MOST: (usize, usize) = (500, 100);
/// Characters of the axis on the left.
const AXIS: usize = 9;

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The reading; `None` where there is no data.
    pub observed: Option<f64>,
    /// Least and greatest normal reading; `None` while learning. The upper one may be infinite.
    pub band: Option<(f64, f64)>,
    /// The reading asks for an alert.
    pub anomalous: bool,
    /// An incident goes on.
    pub incident: bool,
}

/// What is to be drawn.
pub struct Chart<'a> {
    /// First line.
    pub title: String,
    /// The buckets, in order.
    pub points: &'a [Point],
    /// Name of a bucket on the time axis.
    pub name: &'a dyn Fn(usize) -> String,
    /// Width of the whole in characters.
    pub width: usize,
    /// Rows of the plot.
    pub height: usize,
}

/// What a column shows: several buckets may share it.
#[derive(Clone, Copy)]
struct Column {
    observed: Option<f64>,
    band: Option<(f64, f64)>,
    anomalous: bool,
    incident: bool,
}

impl Chart<'_> {
    /// The lines, top to bottom. Width and height are taken into what can be drawn.
    pub fn draw(&self) -> Vec<String> {
        let width = self.width.clamp(LEAST.0, MOST.0);
        let height = self.height.clamp(LEAST.1, MOST.1);
        let mut lines = vec![cut(&self.title, width)];
        if self.points.is_empty() {
            lines.push("  (nothing to draw)".into());
            return lines;
        }
        let room = width - AXIS;
        let share = self.points.len().div_ceil(room).max(1);
        let columns: Vec<Column> = self.points.chunks(share).map(Column::of).collect();
        // Few buckets are drawn wider.
        let wide = (room / columns.len()).clamp(1, 6);
        let top = axis_end(top_of(&columns), height);
        for row in (0..height).rev() {
            let low = top * row as f64 / height as f64;
            let high = top * (row + 1) as f64 / height as f64;
            let label = if row + 1 == height || row % 4 == 0 && row + 2 < height {
                let at = if row + 1 == height { high } else { low };
                format!("{:>6} ┤", short(at))
            } else {
                "       │".into()
            };
            let cells: String = columns
                .iter()
                .flat_map(|c| std::iter::repeat_n(c.cell(row, top / height as f64, height), wide))
                .collect();
            lines.push(format!("{label}{cells}").trim_end().to_string());
        }
        lines.push(self.time_line(&columns, share, wide));
        lines.push(self.time_names(&columns, share, wide));
        if columns.iter().any(|c| c.incident) {
            let lane: String = columns
                .iter()
                .flat_map(|c| std::iter::repeat_n(if c.incident { '━' } else { ' ' }, wide))
                .collect();
            lines.push(format!("incident{lane}").trim_end().to_string());
        }
        lines.push("        ░ expected   • observed   ◆ anomalous   ━ incident".into());
        lines
    }

    fn ticks(columns: usize, wide: usize) -> impl Iterator<Item = usize> {
        // A name takes five characters, and a little air.
        (0..columns).step_by((12 / wide).max(1))
    }

    fn time_line(&self, columns: &[Column], _share: usize, wide: usize) -> String {
        let mut line: Vec<char> = vec!['─'; columns.len() * wide];
        for t in Self::ticks(columns.len(), wide) {
            line[t * wide] = '┬';
        }
        format!("       └{}", line.into_iter().collect::<String>())
    }

    fn time_names(&self, columns: &[Column], share: usize, wide: usize) -> String {
        let mut line = String::new();
        for t in Self::ticks(columns.len(), wide) {
            let at = t * wide;
            let used = line.chars().count();
            line.extend(std::iter::repeat_n(' ', at.saturating_sub(used)));
            line.push_str(&(self.name)(t * share));
        }
        format!("        {line}")
    }
}

impl Column {
    /// The reading that lies farthest from its band stands for all, so that a single bad minute is never
    /// averaged away.
    fn of(points: &[Point]) -> Column {
        let distance = |p: &Point| match (p.observed, p.band) {
            (Some(x), Some((low, high))) => {
                let outside = (x - high).max(low - x);
                f64::from(u8::from(p.anomalous)) * 1e18 + outside
            }
            (Some(x), None) => x - 1e15,
            (None, _) => f64::NEG_INFINITY,
        };
        let farthest = points
            .iter()
            .max_by(|a, b| distance(a).total_cmp(&distance(b)));
        let bands: Vec<(f64, f64)> = points.iter().filter_map(|p| p.band).collect();
        let band = (!bands.is_empty()).then(|| {
            let n = bands.len() as f64;
            (
                bands.iter().map(|b| b.0).sum::<f64>() / n,
                bands.iter().map(|b| b.1).sum::<f64>() / n,
            )
        });
        Column {
            observed: farthest.and_then(|p| p.observed),
            band,
            anomalous: points.iter().any(|p| p.anomalous),
            incident: points.iter().any(|p| p.incident),
        }
    }

    /// What stands in a row, counted from the bottom; each is `step` high.
    fn cell(&self, row: usize, step: f64, height: usize) -> char {
        let row_of = |x: f64| ((x / step).floor().max(0.0) as usize).min(height - 1);
        if let Some(x) = self.observed {
            let here = row_of(x);
            if row == here {
                return if self.anomalous { '◆' } else { '•' };
            }
            // A stem from the band to what lies outside of it.
            if let (true, Some((lower, upper))) = (self.anomalous, self.band) {
                let above = x > upper && row > row_of(upper) && row < here;
                let below = x < lower && row < row_of(lower) && row > here;
                if above || below {
                    return '│';
                }
            }
        }
        match self.band {
            Some((lower, upper)) if (row_of(lower)..=row_of(upper)).contains(&row) => '░',
            _ => ' ',
        }
    }
}

/// The greatest value that has to fit in. An open band does not count.
fn top_of(columns: &[Column]) -> f64 {
    columns
        .iter()
        .flat_map(|c| [c.observed, c.band.map(|b| b.1)])
        .flatten()
        .filter(|x| x.is_finite())
        .fold(1.0, f64::max)
}

/// A round number a little above `top`.
fn axis_end(top: f64, height: usize) -> f64 {
    let top = top * (1.0 + 0.5 / height as f64);
    let unit = 10f64.powf(top.log10().floor());
    [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .iter()
        .map(|m| m * unit)
        .find(|end| *end >= top)
        .unwrap_or(10.0 * unit)
}

/// A number in at most six characters: `1.2M`.
fn short(x: f64) -> String {
    let (scaled, unit) = match x {
        x if x >= 1e12 => (x / 1e12, "T"),
        x if x >= 1e9 => (x / 1e9, "G"),
        x if x >= 1e6 => (x / 1e6, "M"),
        x if x >= 1e4 => (x / 1e3, "k"),
        x => (x, ""),
    };
    if scaled >= 100.0 || (scaled - scaled.round()).abs() < 0.05 {
        format!("{scaled:.0}{unit}")
    } else {
        format!("{scaled:.1}{unit}")
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    let mut short: String = text.chars().take(width - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm(observed: f64) -> Point {
        Point {
            observed: Some(observed),
            band: Some((0.0, 15.0)),
            anomalous: false,
            incident: false,
        }
    }

    fn chart(points: &[Point], width: usize, height: usize) -> Vec<String> {
        Chart {
            title: "denied".into(),
            points,
            name: &|n| format!("00:{n:02}"),
            width,
            height,
        }
        .draw()
    }

    #[test]
    fn a_storm_stands_out() {
        let mut points = vec![calm(6.0); 60];
        for p in &mut points[30..36] {
            *p = Point {
                observed: Some(40.0),
                anomalous: true,
                incident: true,
                ..*p
            };
        }
        let lines = chart(&points, 69, 8);
        let wanted = "\
denied
    50 ┤
       │                              ◆◆◆◆◆◆
       │                              ││││││
    25 ┤                              ││││││
       │                              ││││││
       │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
       │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
     0 ┤••••••••••••••••••••••••••••••░░░░░░••••••••••••••••••••••••
       └┬───────────┬───────────┬───────────┬───────────┬───────────
        00:00       00:12       00:24       00:36       00:48
incident                              ━━━━━━
        ░ expected   • observed   ◆ anomalous   ━ incident";
        assert_eq!(lines.join("\n"), wanted);
    }

    #[test]
    fn one_bad_minute_of_many_is_not_averaged_away() {
        let mut points = vec![calm(6.0); 5000];
        points[2500] = Point {
            observed: Some(90.0),
            anomalous: true,
            ..points[0]
        };
        let text = chart(&points, 80, 10).join("\n");
        assert_eq!(
            text.matches('◆').count(),
            2,
            "one in the plot, one in the legend:\n{text}"
        );
    }

    #[test]
    fn no_line_is_too_long_and_odd_input_is_drawn() {
        let odd = [
            Point {
                observed: None,
                band: None,
                anomalous: false,
                incident: false,
            },
            Point {
                observed: Some(0.0),
                band: Some((5.0, f64::INFINITY)),
                anomalous: true,
                incident: true,
            },
            Point {
                observed: Some(1.2e6),
                band: Some((0.0, 0.0)),
                anomalous: true,
                incident: true,
            },
        ];
        for width in [0, 40, 77, 200, 10_000] {
            for n in [1, 2, 3, 100, 3000] {
                let points: Vec<Point> = odd.iter().copied().cycle().take(n).collect();
                for line in chart(&points, width, 6) {
                    let most = width.clamp(LEAST.0, MOST.0);
                    assert!(
                        line.chars().count() <= most.max(58),
                        "{n} in {width}: {line}"
                    );
                }
            }
        }
        assert_eq!(chart(&[], 80, 10), ["denied", "  (nothing to draw)"]);
        assert!(chart(&[calm(0.0)], 80, 5).join("\n").contains('•'));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 7.0, 2.5, 120.0, 9999.0, 12_000.0, 1.25e6, 3e9].map(short),
            ["0", "7", "2.5", "120", "9999", "12k", "1.2M", "3G"]
        );
    }
}
