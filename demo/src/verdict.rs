//! The monitor's incidents beside those that were hidden in the day.

use std::fmt;

use sample::Label;

use crate::clock;
use crate::day::Calm;
use crate::found::Found;
use crate::table;

/// An incident may open so many minutes after the last bad one: slow ones are seen by sums over many minutes.
const LATE: i64 = 15;

pub struct Verdict {
    /// Each hidden one with what found it.
    hidden: Vec<(Label, Option<Found>)>,
    /// What must stay quiet.
    calm: Vec<Calm>,
    /// Of another series while something hidden went on: what it looks like from elsewhere.
    related: Vec<Found>,
    /// With nothing hidden near them.
    unfounded: Vec<Found>,
}

impl Verdict {
    pub fn new(labels: Vec<Label>, calm: impl Into<Vec<Calm>>, found: Vec<Found>) -> Self {
        let hidden: Vec<(Label, Option<Found>)> = labels
            .into_iter()
            .map(|label| {
                let first = found.iter().find(|f| is_found_by(&label, f)).cloned();
                (label, first)
            })
            .collect();
        let rest = found
            .into_iter()
            .filter(|f| !hidden.iter().any(|(label, _)| is_found_by(label, f)));
        let (related, unfounded) =
            rest.partition(|f| hidden.iter().any(|(label, _)| meets(label, f)));
        Verdict {
            hidden,
            calm: calm.into(),
            related,
            unfounded,
        }
    }

    /// How many series with something hidden in them were not found.
    pub fn missed(&self) -> usize {
        self.hidden
            .iter()
            .filter(|(_, found)| found.is_none())
            .count()
    }

    /// How many incidents there is no reason for.
    pub fn unfounded(&self) -> usize {
        self.unfounded.len()
    }

    /// Whether everything was found, and nothing else.
    pub fn is_right(&self) -> bool {
        self.missed() == 0 && self.unfounded() == 0
    }
}

fn is_found_by(label: &Label, found: &Found) -> bool {
    found.series == label.status && found.direction == label.direction && meets(label, found)
}

/// Whether it opened while the hidden one went on, or soon after.
fn meets(label: &Label, found: &Found) -> bool {
    (label.start..label.end + LATE).contains(&found.opened)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<[String; 6]> = self
            .hidden
            .iter()
            .map(|(label, found)| {
                [
                    label.incident.clone(),
                    label.status.to_owned(),
                    label.direction.to_string(),
                    clock::minute(label.start),
                    format!("{} min", label.end - label.start),
                    match found {
                        Some(found) => format!(
                            "found in minute {}, {}",
                            found.opened - label.start + 1,
                            found.severity
                        ),
                        None => "MISSED".to_owned(),
                    },
                ]
            })
            .collect();
        rows.extend(self.calm.iter().map(|calm| {
            let within = |f: &&Found| calm.minutes.contains(&f.opened);
            let alarms = self.unfounded.iter().filter(within).count();
            [
                calm.name.to_owned(),
                "all".to_owned(),
                "none".to_owned(),
                clock::minute(calm.minutes.start),
                format!("{} min", calm.minutes.end - calm.minutes.start),
                match alarms {
                    0 => "stayed quiet".to_owned(),
                    n => format!("FALSE ALARM ({n})"),
                },
            ]
        }));
        let header = ["hidden", "series", "direction", "from", "for", "monitor"];
        f.write_str(&table::layout(header, &rows))?;
        let found = self.hidden.len() - self.missed();
        writeln!(
            f,
            "\n  {found} found, {} missed, {} false",
            self.missed(),
            self.unfounded.len()
        )?;
        for (word, list) in [("false", &self.unfounded), ("related", &self.related)] {
            for Found {
                opened,
                series,
                severity,
                direction,
                reason,
                ..
            } in list
            {
                let opened = clock::minute(*opened);
                writeln!(
                    f,
                    "  {word}: {opened} {series} {direction}, {severity}: {reason}"
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sample::Direction;

    fn label(status: &'static str) -> Label {
        Label {
            incident: "storm".to_owned(),
            status,
            direction: Direction::High,
            start: 1000,
            end: 1020,
        }
    }

    fn found(series: &str, direction: Direction, opened: i64) -> Found {
        Found {
            series: series.to_owned(),
            direction,
            severity: "critical".to_owned(),
            state: "open".to_owned(),
            opened,
            last_seen: opened + 5,
            peak_observed: None,
            peak_expected: None,
            peak_score: None,
            reason: String::new(),
        }
    }

    #[test]
    fn everything_found_and_nothing_else_is_right() {
        let verdict = Verdict::new(
            vec![label("denied")],
            [Calm {
                name: "night",
                minutes: 900..1000,
            }],
            vec![found("denied", Direction::High, 1001)],
        );
        assert!(verdict.is_right());
        assert!(verdict.to_string().contains("stayed quiet"));
    }

    #[test]
    fn found_missed_related_and_false() {
        let verdict = Verdict::new(
            vec![label("denied"), label("failed")],
            [Calm {
                name: "night",
                minutes: 900..1000,
            }],
            vec![
                found("denied", Direction::High, 1001),
                found("denied", Direction::Low, 1001),
                found("approved", Direction::Low, 1034),
                found("failed", Direction::High, 999),
                found("failed", Direction::High, 1035),
            ],
        );
        assert_eq!(verdict.missed(), 1);
        assert_eq!(verdict.related.len(), 2);
        assert_eq!(verdict.unfounded.len(), 2);
        let shown = verdict.to_string();
        assert!(shown.contains("found in minute 2, critical"), "{shown}");
        assert!(shown.contains("1 found, 1 missed, 2 false"), "{shown}");
        assert!(shown.contains("FALSE ALARM (1)"), "{shown}");
        assert!(!verdict.is_right());
    }
}
