//! A series against its expected band, as lines of Unicode text.
//!
//! The text-plotting crates there are do not fit: `textplots` draws on a grid of braille dots, where a band behind
//! the readings and marks on them have no place, and `rasciigraph` draws lines alone. Neither names times on its axis.
//! So this lays out a grid of its own, one character a cell.
//!
//! ```text
//! denied · 2025-07-14 15:46 to 17:46 · last 6, expected 6.2 (0 to 20) · 1 incident
//!     40 ┤                 ◆
//!        │                ◆│◆
//!     20 ┤░░░░░░░░░░░░░░░░│││░░░
//!        │░•░░•░░•░•░░░•░░░░░░•░
//!      0 ┤•░••░••░•░•••░░••    •
//!        └────┬─────────┬───────
//!           16:00     17:00
//! incident                ━━━━
//!          ░ normal   • observed   ◆ anomalous   ━ incident
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod scale;
mod time;

use scale::{short, Scale};

/// Least width of a chart in characters, and least height of its plot in rows.
pub const LEAST: (usize, usize) = (40, 5);
/// Greatest ones.
pub const MOST: (usize, usize) = (500, 100);
/// Characters before the plot: a value and the axis.
const AXIS: usize = 8;
/// Characters that a bucket takes at most, where there are few.
const WIDEST: usize = 6;
/// Characters of the series' name that are always shown.
const NAME: usize = 12;

/// One bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// The reading; `None` where there is no data.
    pub observed: Option<f64>,
    /// What was expected of it.
    pub expected: Option<f64>,
    /// Least and greatest normal reading; `None` while learning. The upper one may be infinite.
    pub band: Option<(f64, f64)>,
    /// The reading asks for an alert.
    pub anomalous: bool,
    /// An incident goes on.
    pub incident: bool,
}

/// What is to be drawn.
pub struct Chart<'a> {
    /// Name of the series.
    pub series: &'a str,
    /// The buckets, in order, none left out.
    pub points: &'a [Point],
    /// When a bucket starts, in seconds since 1970 as the clock on the wall shows it; asked for one beyond the last
    /// bucket too.
    pub wall: &'a dyn Fn(usize) -> i64,
    /// How many incidents there are in it.
    pub incidents: usize,
    /// Width of the whole in characters, taken into [`LEAST`] and [`MOST`].
    pub width: usize,
    /// Rows of the plot, the same.
    pub height: usize,
}

/// What a column of characters shows: several buckets may share it, or a bucket take several.
struct Column<'a> {
    /// First bucket of it.
    first: usize,
    buckets: &'a [Point],
    /// Whether the marks stand here, and not in a column further left.
    marked: bool,
    /// The median reading.
    typical: Option<f64>,
    /// The mean band.
    band: Option<(f64, f64)>,
}

impl Chart<'_> {
    /// The lines, top to bottom: title, plot, time axis, incidents, legend. Their number depends on the height alone,
    /// so that a chart drawn again and again does not jump; but a chart of nothing is two lines.
    pub fn draw(&self) -> Vec<String> {
        let width = self.width.clamp(LEAST.0, MOST.0);
        let height = self.height.clamp(LEAST.1, MOST.1);
        let mut lines = vec![self.title(width)];
        if self.points.is_empty() {
            lines.push("  no data".into());
            return lines;
        }
        let columns = self.columns(width - AXIS);
        let scale = Scale::new(top_of(&columns), height);
        for row in (0..height).rev() {
            let cells = columns.iter().map(|c| c.cell(row, &scale));
            lines.push(match scale.label(row) {
                Some(value) => line(&format!("{:>6} ┤", short(value)), cells),
                None => line("       │", cells),
            });
        }
        let ticks = time::Ticks::new(&self.walls(&columns));
        let axis = (0..columns.len()).map(|c| if ticks.at(c) { '┬' } else { '─' });
        lines.push(line("       └", axis));
        lines.push(line("        ", ticks.names().chars()));
        let lane = columns.iter().map(|c| if c.goes_on() { '━' } else { ' ' });
        lines.push(line("incident", lane));
        lines.push(legend(width).into());
        lines
    }

    /// `denied · 2025-07-14 15:46 to 17:46 · last 6, expected 6.2 (0 to 20) · 1 incident`. Where that is too long, the
    /// name is cut, then the window left out, which the axis shows too.
    fn title(&self, width: usize) -> String {
        let window = time::span((self.wall)(0), (self.wall)(self.points.len()));
        let last = self
            .points
            .iter()
            .rev()
            .find_map(|p| p.observed.map(|x| (x, p)));
        let last = last.map(|(x, point)| {
            let expected = point
                .expected
                .map_or(String::new(), |e| format!(", expected {}", short(e)));
            let band = match point.band {
                Some((low, high)) if high.is_finite() => {
                    format!(" ({} to {})", short(low.ceil()), short(high.floor()))
                }
                Some((low, _)) => format!(" ({} or more)", short(low.ceil())),
                None => " (learning)".into(),
            };
            format!("last {}{expected}{band}", short(x))
        });
        let incidents = match self.incidents {
            1 => "1 incident".into(),
            n => format!("{n} incidents"),
        };
        let mut title = String::new();
        for window in [Some(window), None] {
            let parts = [window, last.clone(), Some(incidents.clone())];
            let rest: String = parts.iter().flatten().flat_map(|p| [" · ", p]).collect();
            let room = width.saturating_sub(rest.chars().count()).max(NAME);
            title = cut(self.series, room) + &rest;
            if title.chars().count() <= width {
                break;
            }
        }
        cut(&title, width)
    }

    /// The buckets laid over at most `room` columns.
    fn columns(&self, room: usize) -> Vec<Column<'_>> {
        let n = self.points.len();
        // Equally wide, as long as that leaves no more than a quarter of the room free.
        let count = match room / n {
            0..=2 => room.min(n * 3),
            wide => n * wide.min(WIDEST),
        };
        let first_of = |column: usize| column * n / count;
        (0..count)
            .map(|column| {
                let first = first_of(column);
                let end = first_of(column + 1).max(first + 1);
                let marked = column == 0 || first_of(column - 1) != first;
                Column::new(first, &self.points[first..end], marked)
            })
            .collect()
    }

    /// When each column begins, and when the last one ends. A bucket's columns divide its time.
    fn walls(&self, columns: &[Column]) -> Vec<i64> {
        let n = self.points.len();
        let mut walls: Vec<i64> = columns.iter().map(|c| (self.wall)(c.first)).collect();
        walls.push((self.wall)(n));
        walls
    }
}

impl<'a> Column<'a> {
    fn new(first: usize, buckets: &'a [Point], marked: bool) -> Self {
        let mut readings: Vec<f64> = buckets.iter().filter_map(|p| p.observed).collect();
        readings.sort_by(f64::total_cmp);
        let bands = buckets.iter().filter_map(drawn_band);
        let (count, low, high) = bands.fold((0, 0.0, 0.0), |(n, low, high), band| {
            (n + 1, low + band.0, high + band.1)
        });
        Column {
            first,
            buckets,
            marked,
            typical: readings.get(readings.len().saturating_sub(1) / 2).copied(),
            band: (count > 0).then(|| (low / f64::from(count), high / f64::from(count))),
        }
    }

    fn goes_on(&self) -> bool {
        self.buckets.iter().any(|p| p.incident)
    }

    /// What stands in a row, counted from the bottom. Every reading of the column leaves a mark: a single bad minute
    /// is never averaged away.
    fn cell(&self, row: usize, scale: &Scale) -> char {
        if self.marked {
            let readings = || {
                let all = self.buckets.iter();
                all.filter_map(|p| p.observed.map(|x| (scale.row(x), p.anomalous)))
            };
            if readings().any(|(at, anomalous)| at == row && anomalous) {
                return '◆';
            }
            if self.typical.is_some_and(|x| scale.row(x) == row) {
                return '•';
            }
            // A stem from the band to what lies beyond it.
            if let Some((low, high)) = self.band {
                let (low, high) = (scale.row(low), scale.row(high));
                let stem = |at| (high + 1..at).contains(&row) || (at + 1..low).contains(&row);
                if readings().any(|(at, anomalous)| anomalous && stem(at)) {
                    return '│';
                }
            }
            if readings().any(|(at, _)| at == row) {
                return '·';
            }
        }
        match self.band {
            Some((low, high)) if (scale.row(low)..=scale.row(high)).contains(&row) => '░',
            _ => ' ',
        }
    }
}

/// The band of a bucket as it is drawn: one that is open above reaches as far above what was expected as below.
fn drawn_band(point: &Point) -> Option<(f64, f64)> {
    let (low, high) = point.band?;
    if high.is_finite() {
        return Some((low, high));
    }
    let expected = point.expected.unwrap_or(low);
    Some((low, (2.0 * expected - low).max(low)))
}

/// The greatest value that has to fit in.
fn top_of(columns: &[Column]) -> f64 {
    let readings = columns
        .iter()
        .flat_map(|c| c.buckets.iter().filter_map(|p| p.observed));
    let bands = columns.iter().filter_map(|c| c.band.map(|b| b.1));
    readings
        .chain(bands)
        .filter(|x| x.is_finite())
        .fold(0.0, f64::max)
}

fn legend(width: usize) -> &'static str {
    const LONG: &str = "        ░ normal   • observed   ◆ anomalous   ━ incident";
    const SHORT: &str = "░ normal • seen ◆ anomalous ━ incident";
    if LONG.chars().count() <= width {
        LONG
    } else {
        SHORT
    }
}

fn line(head: &str, cells: impl Iterator<Item = char>) -> String {
    let mut line = head.to_string();
    line.extend(cells);
    line.truncate(line.trim_end().len());
    line
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

    /// 2025-07-14 15:30.
    const START: i64 = 1_752_507_000;

    fn calm(observed: f64) -> Point {
        Point {
            observed: Some(observed),
            expected: Some(6.2),
            band: Some((0.0, 15.0)),
            ..Point::default()
        }
    }

    fn chart(series: &str, points: &[Point], width: usize, height: usize) -> Vec<String> {
        Chart {
            series,
            points,
            wall: &|n| START + 60 * n as i64,
            incidents: usize::from(points.iter().any(|p| p.incident)),
            width,
            height,
        }
        .draw()
    }

    fn storm() -> Vec<Point> {
        let mut points = vec![calm(6.0); 60];
        for (n, p) in points[30..36].iter_mut().enumerate() {
            *p = Point {
                observed: Some([31.0, 40.0, 38.0, 36.0, 41.0, 24.0][n]),
                anomalous: true,
                incident: true,
                ..*p
            };
        }
        points[36].incident = true;
        points
    }

    #[test]
    fn a_storm_stands_out() {
        let wanted = "\
denied · last 6, expected 6.2 (0 to 15) · 1 incident
       │
    40 ┤                               ◆  ◆
       │                               │◆◆│
       │                              ◆││││
    20 ┤                              │││││◆
       │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
       │░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
     0 ┤••••••••••••••••••••••••••••••░░░░░░••••••••••••••••••••••••
       └┬─────────┬─────────┬─────────┬─────────┬─────────┬─────────
        15:30   15:40     15:50     16:00     16:10     16:20
incident                              ━━━━━━━
        ░ normal   • observed   ◆ anomalous   ━ incident";
        assert_eq!(chart("denied", &storm(), 68, 8).join("\n"), wanted);
    }

    #[test]
    fn what_is_too_low_hangs_from_an_open_band() {
        let mut points = vec![
            Point {
                observed: Some(120.0),
                expected: Some(118.0),
                band: Some((90.0, f64::INFINITY)),
                ..Point::default()
            };
            14
        ];
        points[7].observed = Some(31.0);
        points[7].anomalous = true;
        points[9] = Point::default();
        let wanted = "\
approved · last 120, expected 118 (90 o…
   150 ┤
       │░░░░░░░░░░░░░░░░░░░░░  ░░░░░░░░░
   100 ┤•░░•░•░•░░•░•░•░░░░•░  •░░•░•░•░
       │░░░░░░░░░░░░░░░░░░░░░  ░░░░░░░░░
    50 ┤                │
       │                ◆
     0 ┤
       └┬───────────┬──────────┬────────
        15:30     15:35      15:40
incident
░ normal • seen ◆ anomalous ━ incident";
        let drawn = chart("approved", &points, 40, 7).join("\n");
        assert_eq!(drawn, wanted, "\n{drawn}");
    }

    #[test]
    fn one_bad_minute_of_many_is_not_averaged_away() {
        let mut points = vec![calm(6.0); 5000];
        points[2500] = Point {
            observed: Some(90.0),
            anomalous: true,
            ..points[0]
        };
        let text = chart("denied", &points, 80, 10).join("\n");
        let marks = text.matches('◆').count();
        assert_eq!(marks, 2, "one in the plot, one in the legend:\n{text}");
    }

    #[test]
    fn readings_that_share_a_column_all_show() {
        let readings = [2.0, 9.0, 4.0, 4.0];
        let points: Vec<Point> = (0..400).map(|n| calm(readings[n % 4])).collect();
        let wanted = "
       │
    15 ┤░░░░░░░░░░░░░░░░
       │░░░░░░░░░░░░░░░░
    10 ┤░░░░░░░░░░░░░░░░
       │················
     5 ┤░░░░░░░░░░░░░░░░
       │••••••••••••••••
     0 ┤················";
        let lines: Vec<String> = chart("denied", &points, 108, 8)[1..9]
            .iter()
            .map(|l| l.chars().take(24).collect())
            .collect();
        assert_eq!(format!("\n{}", lines.join("\n")), wanted);
    }

    #[test]
    fn every_bucket_that_has_a_column_of_its_own_has_one_mark() {
        for n in 1..=92 {
            let text = chart("denied", &vec![calm(6.0); n], 100, 8).join("\n");
            assert_eq!(text.matches('•').count(), n + 1, "{n}\n{text}");
        }
    }

    #[test]
    fn no_line_is_too_long_and_odd_input_is_drawn() {
        let odd = [
            Point::default(),
            Point {
                observed: Some(0.0),
                band: Some((5.0, f64::INFINITY)),
                anomalous: true,
                incident: true,
                ..Point::default()
            },
            Point {
                observed: Some(1.2e6),
                band: Some((0.0, 0.0)),
                anomalous: true,
                incident: true,
                ..Point::default()
            },
            Point {
                observed: Some(f64::NAN),
                expected: Some(f64::INFINITY),
                band: Some((f64::NAN, f64::NEG_INFINITY)),
                ..Point::default()
            },
        ];
        let name = "n".repeat(200);
        for width in [0, 40, 77, 200, 10_000] {
            for n in [1, 2, 3, 4, 100, 3000] {
                let points: Vec<Point> = odd.iter().copied().cycle().take(n).collect();
                let lines = chart(&name, &points, width, 6);
                assert_eq!(lines.len(), 11);
                for line in lines {
                    let most = width.clamp(LEAST.0, MOST.0);
                    assert!(line.chars().count() <= most, "{n} in {width}: {line}");
                }
            }
        }
    }

    #[test]
    fn nothing_one_and_zero() {
        assert_eq!(
            chart("denied", &[], 80, 10),
            [
                "denied · 2025-07-14 15:30 to 15:30 · 0 incidents",
                "  no data"
            ]
        );
        let one = chart(
            "failed",
            &[Point {
                band: None,
                ..calm(0.0)
            }],
            80,
            5,
        );
        let wanted = "\
failed · last 0, expected 6.2 (learning) · 0 incidents
     1 ┤
       │
   0.5 ┤
       │
     0 ┤•
       └┬─────
        15:30
incident
        ░ normal   • observed   ◆ anomalous   ━ incident";
        assert_eq!(one.join("\n"), wanted);
    }

    #[test]
    fn of_a_long_name_the_figures_are_left() {
        let title = &chart(&"x".repeat(200), &[calm(6.0)], 100, 5)[0];
        assert!(title.starts_with("xxxxxxxxxxx"), "{title}");
        assert!(
            title.ends_with(
                "… · 2025-07-14 15:30 to 15:31 · last 6, expected 6.2 (0 to 15) · 0 incidents"
            ),
            "{title}"
        );
    }
}
