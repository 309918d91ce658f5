//! A file of readings through the detector.

use detector::value::Tuning;
use detector::{Family, Model, Moment, Pace};
use jiff::civil::{DateTime, Weekday};

use crate::layout::{Layout, Row};

/// Seconds of a reading, until two were seen.
const UNKNOWN: f64 = 300.0;

/// The scores of a file, 0 to 1, and the family that its series has chosen in the end.
///
/// The series is a [`Model`], as it ships: it chooses its family itself. A surprise of `S` decades is written as
/// `S / (1 + S)`. For NAB, whose scorer counts every reading beyond the threshold as an alert of its own, only readings
/// that open an incident have one, and it is what the governor left of it. For KPI files, whose scorer does its own
/// joining, every reading has the surprise that a user sees as its score.
pub fn scores(rows: &[Row], layout: Layout, tuning: &Tuning) -> (Vec<f64>, Family) {
    let mut series = Model::undeclared();
    let mut width = Width::new();
    let scores = rows
        .iter()
        .enumerate()
        .map(|(bucket, row)| {
            // The width up to the row before: the distance to this row is learned after it.
            let pace = width.pace();
            let incidents = series.incidents();
            let (judgement, governed) =
                series.step_by(row.value, moment(bucket, row.time), pace, tuning);
            width.learn(row.time);
            let surprise = match layout {
                Layout::Kpi => judgement.surprise,
                Layout::Nab if series.incidents() > incidents => governed,
                Layout::Nab => 0.0,
            };
            surprise / (1.0 + surprise)
        })
        .collect();
    (scores, series.family())
}

fn moment(bucket: usize, time: DateTime) -> Moment {
    Moment {
        bucket: bucket as i64,
        minute: 60 * time.hour() as u16 + time.minute() as u16,
        weekend: matches!(time.weekday(), Weekday::Saturday | Weekday::Sunday),
    }
}

/// The width of a file's buckets, learned as it is read: a monitor is told that, a file does not say
/// it. The exponential mean of the log of the distances, robust to gaps.
struct Width {
    log: f64,
    last: Option<DateTime>,
    distances: u32,
    rows: u32,
}

impl Width {
    fn new() -> Width {
        Width {
            log: UNKNOWN.ln(),
            last: None,
            distances: 0,
            rows: 0,
        }
    }

    fn pace(&self) -> Pace {
        Pace {
            minutes: self.log.exp() / 60.0,
        }
    }

    fn learn(&mut self, time: DateTime) {
        self.rows += 1;
        let last = self.last.replace(time);
        let Some(seconds) = last.map(|last| time.duration_since(last).as_secs_f64()) else {
            return;
        };
        if seconds <= 0.0 {
            return;
        }
        self.distances += 1;
        let off = seconds.ln() - self.log;
        self.log += if self.distances == 1 {
            off
        } else {
            off.clamp(-0.5, 0.5) * (1.0 / f64::from(self.rows)).max(0.02)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: impl IntoIterator<Item = f64>) -> Vec<Row> {
        let start: DateTime = "2026-01-05T00:00:00".parse().unwrap();
        (0..)
            .zip(values)
            .map(|(i, value)| Row {
                stamp: String::new(),
                time: start + jiff::Span::new().minutes(5 * i),
                value,
            })
            .collect()
    }

    fn wave(length: usize) -> Vec<f64> {
        (0..length).map(|i| 50.0 + (i * i % 17) as f64).collect()
    }

    #[test]
    fn width_is_learned_and_robust() {
        let mut width = Width::new();
        for row in rows(wave(100)) {
            width.learn(row.time);
        }
        let late = width.last.unwrap() + jiff::Span::new().days(2);
        width.learn(late);
        assert!((width.pace().minutes - 5.0).abs() < 0.1);
    }

    #[test]
    fn nothing_is_known_before_it_is_read() {
        let mut values = wave(600);
        values[400] = 500.0;
        let whole = scores(&rows(values.clone()), Layout::Kpi, &Tuning::SHIPPED).0;
        values.truncate(450);
        let prefix = scores(&rows(values), Layout::Kpi, &Tuning::SHIPPED).0;
        assert_eq!(whole[..450], prefix[..]);
        assert!(whole[400] > 0.75, "{}", whole[400]);
    }

    #[test]
    fn nab_has_a_score_where_an_incident_opens() {
        let mut values = wave(600);
        values[400..410].fill(500.0);
        let scores = scores(&rows(values), Layout::Nab, &Tuning::SHIPPED).0;
        let spoken: Vec<usize> = (0..600).filter(|&i| scores[i] > 0.0).collect();
        assert_eq!(spoken, [400]);
    }
}
