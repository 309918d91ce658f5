//! Counts: `golden_a.csv` and `golden_b.csv` (minute, count, expected, lower, upper, S, direction,
//! channel, event, score; minute 0 is a Monday's midnight).

use std::{fs, path::Path};

use super::tally::Tally;
use detector::{Bounds, Channel, Judgement, Moment, Pace, Series, OPEN};

const FILES: [&str; 2] = ["golden_a.csv", "golden_b.csv"];
/// Readings before the prototype gives bounds.
const WITHOUT_BOUNDS: usize = 30;
/// Share of rows in which the bounds must be the same; elsewhere they may be one off.
const SAME_BOUNDS: f64 = 0.999;

/// One row of a golden file.
struct Row {
    minute: i64,
    count: f64,
    expected: f64,
    lower: f64,
    upper: f64,
    surprise: f64,
    direction: i8,
    channel: i16,
    event: u8,
    score: f64,
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let v: Vec<f64> = line
            .split(',')
            .map(|field| field.trim().parse().ok())
            .collect::<Option<_>>()?;
        let [minute, count, expected, lower, upper, surprise, direction, channel, event, score] =
            v[..]
        else {
            return None;
        };
        Some(Row {
            minute: minute as i64,
            count,
            expected,
            lower,
            upper,
            surprise,
            direction: direction as i8,
            channel: channel as i16,
            event: event as u8,
            score,
        })
    }

    fn moment(&self) -> Moment {
        Moment {
            bucket: self.minute,
            minute: self.minute.rem_euclid(1440) as u16,
            weekend: self.minute.div_euclid(1440).rem_euclid(7) >= 5,
        }
    }
}

/// Figures of a file's comparison.
#[derive(Default)]
struct Comparison {
    tally: Tally,
    worst_surprise: f64,
    worst_expected: f64,
    bounds: u32,
    bounds_off_by_one: u32,
}

impl Comparison {
    fn check(&mut self, row: &Row, name: &str, ok: bool, ours: f64, theirs: f64) {
        self.tally.check(ok, || {
            format!(
                "minute {}: {name} is {ours}, should be {theirs}",
                row.minute
            )
        });
    }

    fn check_judgement(&mut self, row: &Row, j: &Judgement) {
        let relative = (j.expected - row.expected).abs() / row.expected.max(1e-3);
        self.worst_expected = self.worst_expected.max(relative);
        self.check(row, "expected", relative <= 1e-3, j.expected, row.expected);
        let off = (j.surprise - row.surprise).abs();
        self.worst_surprise = self.worst_surprise.max(off / row.surprise.max(5.0) * 5.0);
        let allowed = (1e-3 * row.surprise).max(0.005);
        self.check(row, "surprise", off <= allowed, j.surprise, row.surprise);
        let same = j.direction == row.direction;
        self.check(
            row,
            "direction",
            same,
            f64::from(j.direction),
            f64::from(row.direction),
        );
        // Where nothing speaks, the prototype's channel means nothing.
        let channel = if j.channel == Channel::None {
            -1
        } else {
            i16::from(j.channel as u8)
        };
        let same = channel == row.channel || row.surprise == 0.0;
        self.check(
            row,
            "channel",
            same,
            f64::from(channel),
            f64::from(row.channel),
        );
        let near = (j.score() - row.score).abs() <= 0.1;
        self.check(row, "score", near, j.score(), row.score);
    }

    /// An empty interval (`upper < lower`) is the expectation alone for us, and one without the
    /// expectation is stretched to it.
    fn check_bounds(&mut self, row: &Row, ours: Bounds) {
        let theirs = if row.upper < row.lower {
            Bounds {
                lower: row.expected,
                upper: row.expected,
            }
        } else {
            Bounds {
                lower: row.lower.min(row.expected),
                upper: row.upper.max(row.expected),
            }
        };
        let off = (ours.lower - theirs.lower)
            .abs()
            .max((ours.upper - theirs.upper).abs());
        let slack = 1e-3 * row.expected;
        self.bounds += 1;
        if off > slack.min(0.5) {
            self.bounds_off_by_one += 1;
        }
        self.check(
            row,
            "lower bound",
            (ours.lower - theirs.lower).abs() <= 1.0,
            ours.lower,
            theirs.lower,
        );
        self.check(
            row,
            "upper bound",
            (ours.upper - theirs.upper).abs() <= 1.0,
            ours.upper,
            theirs.upper,
        );
    }
}

/// What happened to the series' incidents: 1 one opened, 2 resolved, 3 accepted.
fn event(before: &Series, after: &Series) -> u8 {
    if after.incidents != before.incidents {
        1
    } else if before.open_incident().is_some() && after.open_incident().is_none() {
        1 + after.last_incident().map_or(0, |incident| incident.closing)
    } else {
        0
    }
}

fn compare(path: &Path) -> Result<(Tally, String), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut series = Series::new();
    let mut all = Comparison::default();
    let pace = Pace { minutes: 1.0 };
    for (i, line) in text.lines().skip(1).enumerate() {
        let row =
            Row::parse(line).ok_or_else(|| format!("{}: cannot read {line:?}", path.display()))?;
        series.advance(row.moment(), pace);
        let (j, bounds, before) = (series.judge(row.count), series.bounds_below(OPEN), series);
        series.learn(row.count, &j, row.moment(), pace);
        all.check_judgement(&row, &j);
        if i >= WITHOUT_BOUNDS {
            all.check_bounds(&row, bounds);
        }
        let event = event(&before, &series);
        all.check(
            &row,
            "event",
            event == row.event,
            f64::from(event),
            f64::from(row.event),
        );
    }
    if all.bounds == 0 {
        return Err(format!("{}: no rows", path.display()));
    }
    let share = 1.0 - f64::from(all.bounds_off_by_one) / f64::from(all.bounds);
    if share < SAME_BOUNDS {
        all.tally.failed += 1;
        println!("bounds are the same in {:.3} % of rows only", 100.0 * share);
    }
    let figures = format!(
        "surprise off by at most {:.1e} (relative above 5), expected by {:.1e}, bounds by one in {} of {} rows",
        all.worst_surprise, all.worst_expected, all.bounds_off_by_one, all.bounds
    );
    Ok((all.tally, figures))
}

/// Compares both files.
pub fn check(directory: &Path) -> Tally {
    FILES.into_iter().fold(Tally::default(), |sum, file| {
        sum + Tally::of_file(file, compare(&directory.join(file)))
    })
}
