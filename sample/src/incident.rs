//! What goes wrong, and the truth about it.

use std::fmt;
use std::str::FromStr;

/// What the monitor calls the sum of all statuses.
pub const TOTAL: &str = "(total)";

/// The kinds of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentKind {
    /// Four times as many are denied.
    DeclineStorm,
    /// `failed` and `backend_reversed` go from nothing to three a minute each.
    AcquirerFailure,
    /// 60 % of the approvals are missing.
    ApprovalCollapse,
    /// No row at all.
    Silence,
    /// Fifteen times as many are reversed.
    ReversalSurge,
}

/// Which way a series departs from normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    High,
    Low,
}

/// What happens to the rate of a status.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    Times(f64),
    /// So many a minute more, whatever the hour.
    Plus(f64),
}

impl IncidentKind {
    pub const ALL: [IncidentKind; 5] = [
        IncidentKind::DeclineStorm,
        IncidentKind::AcquirerFailure,
        IncidentKind::ApprovalCollapse,
        IncidentKind::Silence,
        IncidentKind::ReversalSurge,
    ];

    /// Its name, as [`FromStr`] reads it.
    pub fn name(self) -> &'static str {
        match self {
            IncidentKind::DeclineStorm => "decline_storm",
            IncidentKind::AcquirerFailure => "acquirer_failure",
            IncidentKind::ApprovalCollapse => "approval_collapse",
            IncidentKind::Silence => "silence",
            IncidentKind::ReversalSurge => "reversal_surge",
        }
    }

    /// How long it usually lasts.
    pub fn minutes(self) -> i64 {
        match self {
            IncidentKind::DeclineStorm => 20,
            IncidentKind::AcquirerFailure => 45,
            IncidentKind::ApprovalCollapse => 30,
            IncidentKind::Silence => 10,
            IncidentKind::ReversalSurge => 20,
        }
    }

    /// The statuses it touches, and how. Silence touches all: it has no rows.
    pub(crate) fn effects(self) -> &'static [(&'static str, Effect)] {
        match self {
            IncidentKind::DeclineStorm => &[("denied", Effect::Times(4.0))],
            IncidentKind::AcquirerFailure => &[
                ("failed", Effect::Plus(3.0)),
                ("backend_reversed", Effect::Plus(3.0)),
            ],
            IncidentKind::ApprovalCollapse => &[("approved", Effect::Times(0.4))],
            IncidentKind::Silence => &[],
            IncidentKind::ReversalSurge => &[("reversed", Effect::Times(15.0))],
        }
    }

    /// What a monitor ought to say.
    fn truth(self) -> Vec<(&'static str, Direction)> {
        match self {
            IncidentKind::Silence => vec![(TOTAL, Direction::Low)],
            _ => self
                .effects()
                .iter()
                .map(|(status, effect)| (*status, effect.direction()))
                .collect(),
        }
    }
}

impl Effect {
    pub(crate) fn apply(self, rate: f64) -> f64 {
        match self {
            Effect::Times(factor) => rate * factor,
            Effect::Plus(more) => rate + more,
        }
    }

    fn direction(self) -> Direction {
        match self {
            Effect::Times(factor) if factor < 1.0 => Direction::Low,
            _ => Direction::High,
        }
    }
}

impl FromStr for IncidentKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        IncidentKind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| {
                let names = IncidentKind::ALL.map(IncidentKind::name).join(", ");
                format!("there is no incident \"{text}\"; there are {names}")
            })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Direction::High => "high",
            Direction::Low => "low",
        })
    }
}

/// One incident in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub name: String,
    pub kind: IncidentKind,
    /// Its first minute, since 1970 in UTC.
    pub start_minute: i64,
    pub minutes: i64,
}

impl Incident {
    /// Of the usual length, and named as its kind is.
    pub fn new(kind: IncidentKind, start_minute: i64) -> Self {
        Incident {
            name: kind.name().to_owned(),
            kind,
            start_minute,
            minutes: kind.minutes(),
        }
    }

    /// The same, but `minutes` long.
    pub fn lasting(self, minutes: i64) -> Self {
        Incident { minutes, ..self }
    }

    pub(crate) fn covers(&self, minute: i64) -> bool {
        (self.start_minute..self.start_minute + self.minutes).contains(&minute)
    }

    /// What a monitor ought to say about it, series by series.
    pub fn labels(&self) -> Vec<Label> {
        let label = |(status, direction)| Label {
            incident: self.name.clone(),
            status,
            direction,
            start: self.start_minute,
            end: self.start_minute + self.minutes,
        };
        self.kind.truth().into_iter().map(label).collect()
    }
}

/// The truth about one series in one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The incident's name.
    pub incident: String,
    /// A status, or [`TOTAL`].
    pub status: &'static str,
    pub direction: Direction,
    /// The first minute, since 1970 in UTC.
    pub start: i64,
    /// The minute after the last.
    pub end: i64,
}

/// One incident of each kind, hours apart, in the day that begins at `midnight`.
pub fn eventful_day(midnight: i64) -> Vec<Incident> {
    [
        (IncidentKind::AcquirerFailure, 2, 30),
        (IncidentKind::ApprovalCollapse, 9, 30),
        (IncidentKind::Silence, 12, 0),
        (IncidentKind::DeclineStorm, 15, 0),
        (IncidentKind::ReversalSurge, 19, 0),
    ]
    .into_iter()
    .map(|(kind, hour, minute)| Incident::new(kind, midnight + hour * 60 + minute))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in IncidentKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let error = "storm".parse::<IncidentKind>().unwrap_err();
        assert!(error.contains("decline_storm, acquirer_failure"), "{error}");
    }

    #[test]
    fn an_eventful_day_has_each_kind_once_and_hours_between() {
        let day = eventful_day(0);
        assert_eq!(day.len(), IncidentKind::ALL.len());
        for pair in day.windows(2) {
            assert!(pair[1].start_minute - pair[0].start_minute > 120);
        }
    }
}
