//! Counts: `golden_a.csv` and `golden_b.csv` (minute, count, expected, lower, upper, S, direction,
//! channel, event, score; minute 0 is a Monday's midnight).
//!
//! The detector is no longer the prototype: it judges by a law whose mean is uncertain and looks at ten
//! readings too (DESIGN.md says why). What must still agree is stated here, with what it may differ by: what is
//! expected; who is surprised and to which side; the bounds; and every incident, to the minute.

use std::{fs, path::Path};

use super::tally::Tally;
use detector::{score, Bounds, Channel, Judgement, Moment, Pace, Series, OPEN};

const FILES: [&str; 2] = ["golden_a.csv", "golden_b.csv"];
/// Readings before the prototype gives bounds.
const WITHOUT_BOUNDS: usize = 30;
/// Share of rows in which a bound must be within `BOUNDS_OFF` of the prototype's.
const SAME_BOUNDS: f64 = 0.999;
const BOUNDS_OFF: f64 = 1.0;
/// What is expected may differ by this share on the first day, and later: a night beside a busy day is pulled up less than
/// the prototype pulls it, and the prototype averages half hours where we average their logs.
const EXPECTED_FIRST_DAY: f64 = 1e-3;
const EXPECTED_LATER: f64 = 0.03;
/// Surprises may differ by so many decades in all but one row of a hundred, while no incident is open and it is not the mean
/// of two hours that speaks: that is asked another law than the prototype's.
const SURPRISE_OFF: f64 = 0.5;
const SAME_SURPRISE: f64 = 0.99;
/// From here on the side must be the same, in decades.
const SIDED: f64 = 1.5;

/// One row of a golden file.
struct Row {
    minute: i64,
    count: f64,
    expected: f64,
    lower: f64,
    upper: f64,
    surprise: f64,
    direction: i8,
    event: u8,
    score: f64,
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let v: Vec<f64> = line
            .split(',')
            .map(|field| field.trim().parse().ok())
            .collect::<Option<_>>()?;
        let [minute, count, expected, lower, upper, surprise, direction, _channel, event, score] =
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
    worst_expected: f64,
    /// Whether an incident has opened, and whether one is open.
    incident_seen: bool,
    incident_open: bool,
    surprises: u32,
    surprises_off: u32,
    bounds: u32,
    bounds_off: u32,
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
        let allowed = if row.minute < 1440 {
            EXPECTED_FIRST_DAY
        } else {
            EXPECTED_LATER
        };
        let near = relative <= allowed;
        self.check(row, "expected", near, j.expected, row.expected);
        // In an incident we do not hear sums that only tell of what was.
        let same = j.direction == row.direction
            || j.surprise.min(row.surprise) < SIDED
            || self.incident_open;
        let (ours, theirs) = (f64::from(j.direction), f64::from(row.direction));
        self.check(row, "direction", same, ours, theirs);
        let scaled = score(row.surprise);
        self.check(
            row,
            "score",
            (scaled - row.score).abs() <= 0.1,
            scaled,
            row.score,
        );
        if !self.incident_open && j.channel != Channel::Long {
            self.surprises += 1;
            let off = (j.surprise - row.surprise).abs();
            self.surprises_off += u32::from(off > SURPRISE_OFF);
        }
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
        if self.incident_open {
            return;
        }
        let off = (ours.lower - theirs.lower)
            .abs()
            .max((ours.upper - theirs.upper).abs());
        self.bounds += 1;
        self.bounds_off += u32::from(off > BOUNDS_OFF);
    }

    /// The share of rows in which two figures were near must be large enough.
    fn check_share(&mut self, name: &str, off: u32, of: u32, least: f64) {
        let share = 1.0 - f64::from(off) / f64::from(of.max(1));
        self.tally.check(share >= least, || {
            format!("{name} agree in {:.2} % of rows only", 100.0 * share)
        });
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
        all.incident_open = series.open_incident().is_some();
        all.incident_seen |= all.incident_open;
    }
    if all.bounds == 0 || !all.incident_seen {
        return Err(format!("{}: no rows, or no incident", path.display()));
    }
    all.check_share("surprises", all.surprises_off, all.surprises, SAME_SURPRISE);
    all.check_share("bounds", all.bounds_off, all.bounds, SAME_BOUNDS);
    let figures = format!(
        "expected off by at most {:.1e}, surprise by more than {SURPRISE_OFF} in {} of {} rows, bounds by more than \
         {BOUNDS_OFF} in {} of {}",
        all.worst_expected, all.surprises_off, all.surprises, all.bounds_off, all.bounds
    );
    Ok((all.tally, figures))
}

/// Compares both files.
pub fn check(directory: &Path) -> Tally {
    FILES.into_iter().fold(Tally::default(), |sum, file| {
        sum + Tally::of_file(file, compare(&directory.join(file)))
    })
}
