//! Values: `daily5min.csv` and `hourly.csv` (timestamp, value, surprise, score, opens; both begin on a
//! Monday's midnight).
//!
//! The family was re-thought and not transcribed: a look, a blend, two penalties and the tail's
//! threshold of the prototype are gone, so its numbers are not ours to the last digit. What must be the same: which readings
//! open an incident; and the surprise, within a decade everywhere and half a decade nearly
//! everywhere.

use std::{fs, path::Path};

use super::tally::Tally;
use detector::{Moment, Pace, Values};

/// File, minutes of a reading.
const FILES: [(&str, f64); 2] = [("daily5min.csv", 5.0), ("hourly.csv", 60.0)];
/// Readings before the prototype judges.
const WARM: usize = 100;
/// Decades by which the surprise may differ; and by which it may in this share of the rows.
const FAR: f64 = 1.0;
const NEAR: f64 = 0.5;
const NEARLY_ALL: f64 = 0.99;

/// One row of a golden file.
struct Row {
    value: f64,
    surprise: f64,
    opens: bool,
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let mut fields = line.split(',').skip(1);
        let mut next = || fields.next()?.trim().parse::<f64>().ok();
        let (value, surprise, _governed, opens) = (next()?, next()?, next()?, next()?);
        Some(Row {
            value,
            surprise,
            opens: opens != 0.0,
        })
    }
}

fn moment(i: usize, minutes: f64) -> Moment {
    let minute = (i as f64 * minutes) as i64;
    Moment {
        bucket: i as i64,
        minute: minute.rem_euclid(1440) as u16,
        weekend: minute.div_euclid(1440).rem_euclid(7) >= 5,
    }
}

fn compare(path: &Path, minutes: f64) -> Result<(Tally, String), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut series = Values::new();
    let mut tally = Tally::default();
    let (mut opened, mut worst, mut compared, mut near) = (0u32, 0.0f64, 0u32, 0u32);
    let pace = Pace { minutes };
    // Half of the decades that the prototype adds for readings wider than five minutes; ours is the
    // surprise of the reading, whatever its width.
    let added = 0.5 * (minutes / 5.0).log10();
    for (i, line) in text.lines().skip(1).enumerate() {
        let row =
            Row::parse(line).ok_or_else(|| format!("{}: cannot read {line:?}", path.display()))?;
        let j = series.step(row.value, moment(i, minutes), pace);
        opened += u32::from(row.opens);
        tally.check(j.opens == row.opens, || {
            format!("reading {i}: opens is {}, should be {}", j.opens, row.opens)
        });
        // Below what it added, the prototype's surprise was cut off at 0.
        let theirs = row.surprise - added;
        if i < WARM || theirs <= 0.0 {
            continue;
        }
        let off = (j.surprise - theirs).abs();
        worst = worst.max(off);
        compared += 1;
        near += u32::from(off <= NEAR);
        tally.check(off <= FAR, || {
            format!(
                "reading {i}: surprise is {}, should be near {theirs}",
                j.surprise
            )
        });
    }
    if opened == 0 {
        return Err(format!("{}: no incidents", path.display()));
    }
    let share = f64::from(near) / f64::from(compared.max(1));
    tally.check(share >= NEARLY_ALL, || {
        format!("surprise is near in {:.1} % of rows only", 100.0 * share)
    });
    let figures = format!("{opened} incidents, surprise off by at most {worst:.2} decades");
    Ok((tally, figures))
}

/// Compares both files.
pub fn check(directory: &Path) -> Tally {
    FILES
        .into_iter()
        .fold(Tally::default(), |sum, (file, minutes)| {
            sum + Tally::of_file(file, compare(&directory.join(file), minutes))
        })
}
