//! Days of transactions.

use crate::calendar::DAY;
use crate::incident::{Incident, IncidentKind, Label};
use crate::noise::Noise;
use crate::profile::{Profile, STATUSES};
use crate::sale::Sale;

/// How many transactions of one status one minute had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Minutes since 1970 in UTC.
    pub minute: i64,
    pub status: &'static str,
    pub count: i32,
}

/// What is to be made; [`Stream::rows`] makes it.
#[derive(Debug, Clone)]
pub struct Stream {
    noise: Noise,
    profile: Profile,
    start: i64,
    minutes: i64,
    zeros: bool,
    incidents: Vec<Incident>,
    sales: Vec<Sale>,
}

impl Stream {
    /// One busy day from 1970-01-01 on, without incidents.
    pub fn new(seed: u64) -> Self {
        Stream {
            noise: Noise::new(seed),
            profile: Profile::default(),
            start: 0,
            minutes: DAY,
            zeros: false,
            incidents: Vec::new(),
            sales: Vec::new(),
        }
    }

    /// The first minute, since 1970 in UTC.
    pub fn start(self, minute: i64) -> Self {
        Stream {
            start: minute,
            ..self
        }
    }

    /// How long, in days.
    pub fn days(self, days: i64) -> Self {
        self.minutes(days * DAY)
    }

    /// How long, in minutes.
    pub fn minutes(self, minutes: i64) -> Self {
        Stream { minutes, ..self }
    }

    /// How much goes on.
    pub fn profile(self, profile: Profile) -> Self {
        Stream { profile, ..self }
    }

    /// Whether a status without a transaction has a row all the same, with a count of 0.
    pub fn with_zeros(self, zeros: bool) -> Self {
        Stream { zeros, ..self }
    }

    /// Adds an incident. Where several meet, all of them act.
    pub fn incident(mut self, incident: Incident) -> Self {
        self.incidents.push(incident);
        self
    }

    /// Adds incidents.
    pub fn incidents(mut self, incidents: impl IntoIterator<Item = Incident>) -> Self {
        self.incidents.extend(incidents);
        self
    }

    /// Adds sales.
    pub fn sales(mut self, sales: impl IntoIterator<Item = Sale>) -> Self {
        self.sales.extend(sales);
        self
    }

    /// The rows, in the order of their minutes, and within a minute in that of [`STATUSES`].
    pub fn rows(&self) -> Rows<'_> {
        Rows {
            stream: self,
            minute: self.start,
            status: 0,
        }
    }

    /// The truth about the incidents, in the order in which they were given.
    pub fn labels(&self) -> Vec<Label> {
        self.incidents.iter().flat_map(Incident::labels).collect()
    }

    /// The row of one status and minute, if it has one.
    fn row(&self, status: usize, minute: i64) -> Option<Row> {
        let mut rate = self.profile.rate(status, minute);
        for sale in &self.sales {
            rate *= sale.factor(minute);
        }
        for incident in self.incidents.iter().filter(|i| i.covers(minute)) {
            if incident.kind == IncidentKind::Silence {
                return None;
            }
            for (name, effect) in incident.kind.effects() {
                if *name == STATUSES[status] {
                    rate = effect.apply(rate);
                }
            }
        }
        let count = self.noise.count(status, minute, rate);
        (count > 0 || self.zeros).then_some(Row {
            minute,
            status: STATUSES[status],
            count,
        })
    }
}

impl<'a> IntoIterator for &'a Stream {
    type Item = Row;
    type IntoIter = Rows<'a>;

    fn into_iter(self) -> Rows<'a> {
        self.rows()
    }
}

/// The rows of a [`Stream`].
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    stream: &'a Stream,
    minute: i64,
    status: usize,
}

impl Iterator for Rows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while self.minute < self.stream.start + self.stream.minutes {
            let row = self.stream.row(self.status, self.minute);
            self.status += 1;
            if self.status == STATUSES.len() {
                (self.status, self.minute) = (0, self.minute + 1);
            }
            if row.is_some() {
                return row;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{eventful_day, Direction, TOTAL};

    /// A Monday.
    const MONDAY: i64 = 20_283 * DAY;

    fn day(seed: u64) -> Stream {
        Stream::new(seed).start(MONDAY)
    }

    fn mean(stream: &Stream, status: &str, from: i64, minutes: i64) -> f64 {
        let window = from..from + minutes;
        let rows = stream.rows().filter(|row| row.status == status);
        let counts = rows
            .filter(|row| window.contains(&row.minute))
            .map(|row| row.count);
        f64::from(counts.sum::<i32>()) / minutes as f64
    }

    #[test]
    fn same_seed_same_rows() {
        let rows = |seed| -> Vec<Row> { day(seed).rows().collect() };
        assert_eq!(rows(1), rows(1));
        assert_ne!(rows(1), rows(2));
    }

    #[test]
    fn what_a_seed_gives_stays() {
        let first: Vec<(&str, i32)> = day(1).rows().take(5).map(|r| (r.status, r.count)).collect();
        assert_eq!(
            first,
            [
                ("approved", 37),
                ("denied", 3),
                ("refunded", 1),
                ("approved", 39),
                ("reversed", 1)
            ]
        );
    }

    #[test]
    fn days_made_apart_are_days_made_together() {
        let together: Vec<Row> = day(1).days(2).rows().collect();
        let apart: Vec<Row> = day(1)
            .rows()
            .chain(&Stream::new(1).start(MONDAY + DAY))
            .collect();
        assert_eq!(together, apart);
    }

    #[test]
    fn rows_are_in_order_and_zeros_only_on_demand() {
        let rows: Vec<Row> = day(1).rows().collect();
        assert!(rows.windows(2).all(|pair| pair[0].minute <= pair[1].minute));
        assert!(rows.iter().all(|row| row.count > 0));
        let with_zeros: Vec<Row> = day(1).with_zeros(true).rows().collect();
        assert_eq!(with_zeros.len() as i64, DAY * STATUSES.len() as i64);
        let positive: Vec<Row> = with_zeros.into_iter().filter(|row| row.count > 0).collect();
        assert_eq!(rows, positive);
    }

    #[test]
    fn a_week_has_the_profile_s_means_and_its_weekend() {
        let week = day(1).days(7);
        let weekday = mean(&week, "approved", MONDAY + DAY, DAY);
        assert!((weekday / 110.0 - 1.0).abs() < 0.02, "{weekday}");
        let sunday = mean(&week, "approved", MONDAY + 6 * DAY, DAY);
        assert!((sunday / weekday - 0.7).abs() < 0.03, "{sunday}");
        assert!((mean(&week, "denied", MONDAY, 5 * DAY) / 6.0 - 1.0).abs() < 0.05);
        assert!(mean(&week, "failed", MONDAY, 7 * DAY) < 0.04);
    }

    #[test]
    fn a_quiet_night_has_minutes_without_rows() {
        let quiet = day(1).profile(Profile::Quiet);
        let night = MONDAY + 60..MONDAY + 5 * 60;
        let mut present: Vec<i64> = quiet.rows().map(|row| row.minute).collect();
        present.retain(|minute| night.contains(minute));
        present.dedup();
        assert!((50..220).contains(&present.len()), "{}", present.len());
    }

    #[test]
    fn incidents_do_what_they_say_where_they_say_it() {
        let calm = day(1).with_zeros(true);
        let eventful = calm.clone().incidents(eventful_day(MONDAY));
        for incident in eventful_day(MONDAY) {
            let window = (incident.start_minute, incident.minutes);
            let before = |status| mean(&calm, status, window.0, window.1);
            let during = |status| mean(&eventful, status, window.0, window.1);
            match incident.kind {
                IncidentKind::DeclineStorm => {
                    let times = during("denied") / before("denied");
                    assert!((3.0..5.0).contains(&times), "{times}");
                }
                IncidentKind::AcquirerFailure => {
                    for status in ["failed", "backend_reversed"] {
                        assert!(before(status) < 0.2);
                        assert!((2.2..3.8).contains(&during(status)));
                    }
                }
                IncidentKind::ApprovalCollapse => {
                    let times = during("approved") / before("approved");
                    assert!((0.35..0.45).contains(&times), "{times}");
                }
                IncidentKind::Silence => {
                    let silent = |row: &Row| incident.covers(row.minute);
                    assert_eq!(eventful.rows().filter(silent).count(), 0);
                }
                IncidentKind::ReversalSurge => {
                    let times = during("reversed") / before("reversed");
                    assert!((8.0..30.0).contains(&times), "{times}");
                }
            }
        }
        let untouched = |stream: &Stream| -> Vec<Row> {
            let outside = |row: &Row| eventful_day(MONDAY).iter().all(|i| !i.covers(row.minute));
            stream.rows().filter(outside).collect()
        };
        assert_eq!(untouched(&calm), untouched(&eventful));
    }

    #[test]
    fn a_sale_has_more_of_everything() {
        let calm = day(1).with_zeros(true);
        let sale = calm.clone().sales([Sale::new(MONDAY + 600)]);
        let times = |status| {
            mean(&sale, status, MONDAY + 600, 150) / mean(&calm, status, MONDAY + 600, 150)
        };
        for status in ["approved", "denied"] {
            let times = times(status);
            assert!((1.6..1.9).contains(&times), "{status}: {times}");
        }
        assert_eq!(sale.labels(), []);
        let after = |stream: &Stream| -> Vec<Row> {
            stream
                .rows()
                .filter(|row| row.minute >= MONDAY + 750)
                .collect()
        };
        assert_eq!(after(&calm), after(&sale));
    }

    #[test]
    fn labels_tell_the_truth() {
        let stream = day(1)
            .incident(Incident::new(IncidentKind::AcquirerFailure, MONDAY))
            .incident(Incident::new(IncidentKind::Silence, MONDAY + 100).lasting(7));
        let labels: Vec<_> = stream
            .labels()
            .into_iter()
            .map(|l| (l.status, l.direction, l.start - MONDAY, l.end - MONDAY))
            .collect();
        assert_eq!(
            labels,
            [
                ("failed", Direction::High, 0, 45),
                ("backend_reversed", Direction::High, 0, 45),
                (TOTAL, Direction::Low, 100, 107),
            ]
        );
    }
}
