//! What is played: four weeks of history, a day in which things go wrong, and calm hours from then to this minute.

use std::io::{BufWriter, Write};
use std::ops::Range;

use postgres::Client;
use sample::calendar::{self, DAY};
use sample::{Incident, IncidentKind, Label, Profile, Row, Sale, Stream};

use crate::Outcome;

pub const SEED: u64 = 4;
pub const WEEKS: i64 = 4;
const WEEK: i64 = 7 * DAY;

/// The day ended at least so many minutes ago: a stream that is nearly up to date is driven by the clock, and a
/// replay of it would run after the clock.
const CLEAR: i64 = 30;

/// What goes wrong, and at which minute of the day (UTC).
const HIDDEN: [(IncidentKind, i64); 4] = [
    (IncidentKind::Silence, 9 * 60 + 30),
    (IncidentKind::AcquirerFailure, 10 * 60 + 45),
    (IncidentKind::DeclineStorm, 16 * 60 + 30),
    (IncidentKind::ApprovalCollapse, 19 * 60),
];

/// The quiet night, in minutes of the day.
const NIGHT: Range<i64> = 0..6 * 60;
/// The minute of the day at which a sale begins.
pub const SALE: i64 = 12 * 60 + 30;

/// A stretch in which nothing is wrong, though it may look like it.
pub struct Calm {
    pub name: &'static str,
    pub minutes: Range<i64>,
}

/// The data is that of one week in 2025, moved by whole weeks: the same on every Friday, whatever the date, so that
/// what the demonstration shows is what was tested.
pub struct Day {
    stream: Stream,
    shift: i64,
    /// First minute of the day that is replayed.
    midnight: i64,
    /// First minute of the sale.
    sale: i64,
    /// The minute that is under way.
    now: i64,
}

impl Day {
    /// The last whole day (UTC) before `now`, and what goes with it. The sale begins at that minute of the day.
    pub fn before(now: i64, seed: u64, sale: i64) -> Self {
        let midnight = (now - CLEAR).div_euclid(DAY) * DAY - DAY;
        let monday = calendar::parse("2025-07-14").expect("a date");
        let played = monday + calendar::weekday(midnight) * DAY;
        let hidden = HIDDEN.map(|(kind, at)| Incident::new(kind, played + at));
        let stream = Stream::new(seed)
            .profile(Profile::Local)
            .incidents(hidden)
            .sales([Sale::new(played + sale)]);
        Day {
            stream,
            shift: midnight - played,
            midnight,
            sale: midnight + sale,
            now,
        }
    }

    /// One of the weeks before the day, from the oldest, 0, on.
    pub fn week(&self, n: i64) -> Range<i64> {
        let start = self.midnight - (WEEKS - n) * WEEK;
        start..start + WEEK
    }

    /// The day that is replayed.
    pub fn minutes(&self) -> Range<i64> {
        self.midnight..self.midnight + DAY
    }

    /// What has passed since, the minute that is under way not included.
    pub fn since(&self) -> Range<i64> {
        self.midnight + DAY..self.now
    }

    /// The rows of some minutes, in order.
    pub fn rows(&self, minutes: Range<i64>) -> Vec<Row> {
        let stream = self.stream.clone().start(minutes.start - self.shift);
        let moved = |row: Row| Row {
            minute: row.minute + self.shift,
            ..row
        };
        stream
            .minutes(minutes.end - minutes.start)
            .rows()
            .map(moved)
            .collect()
    }

    /// Loads some minutes by COPY, in one transaction, and returns the number of rows.
    pub fn load(&self, client: &mut Client, minutes: Range<i64>) -> Outcome<u64> {
        let mut copy =
            BufWriter::new(client.copy_in("COPY transactions (time, status, count) FROM STDIN")?);
        sample::write_copy(self.rows(minutes), &mut copy)?;
        copy.flush()?;
        let copy = copy.into_inner().map_err(|error| error.into_error())?;
        Ok(copy.finish()?)
    }

    /// The truth about what was hidden.
    pub fn labels(&self) -> Vec<Label> {
        let moved = |label: Label| Label {
            start: label.start + self.shift,
            end: label.end + self.shift,
            ..label
        };
        self.stream.labels().into_iter().map(moved).collect()
    }

    /// The truth about what must stay quiet.
    pub fn calm(&self) -> [Calm; 2] {
        let sale = Sale::new(self.sale);
        [
            Calm {
                name: "quiet_night",
                minutes: self.midnight + NIGHT.start..self.midnight + NIGHT.end,
            },
            Calm {
                name: "sale",
                minutes: sale.start_minute..sale.start_minute + sale.minutes,
            },
        ]
    }

    /// First minute of an incident of the day.
    pub fn start_of(&self, kind: IncidentKind) -> i64 {
        let hidden = HIDDEN.iter().find(|(k, _)| *k == kind);
        self.midnight + hidden.map_or(0, |(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(text: &str) -> i64 {
        calendar::parse(text).unwrap()
    }

    #[test]
    fn the_day_is_yesterday_or_at_midnight_the_one_before() {
        let day = |now| calendar::format(Day::before(minute(now), 1, SALE).minutes().start);
        assert_eq!(day("2026-02-27 15:00"), "2026-02-26 00:00");
        assert_eq!(day("2026-02-27 00:30"), "2026-02-26 00:00");
        assert_eq!(day("2026-02-27 00:29"), "2026-02-25 00:00");
    }

    #[test]
    fn the_same_weekday_has_the_same_counts() {
        let counts = |now| -> Vec<i32> {
            let day = Day::before(minute(now), SEED, SALE);
            let minutes = day.week(0).start..day.since().end;
            day.rows(minutes).iter().map(|row| row.count).collect()
        };
        let friday = counts("2026-02-27 00:40");
        assert_eq!(friday, counts("2027-03-05 00:40"));
        assert_ne!(friday, counts("2026-02-28 00:40"));
    }

    #[test]
    fn history_day_and_what_came_since_follow_each_other() {
        let day = Day::before(minute("2026-02-27 15:00"), 1, SALE);
        for n in 1..WEEKS {
            assert_eq!(day.week(n - 1).end, day.week(n).start);
        }
        assert_eq!(day.week(WEEKS - 1).end, day.minutes().start);
        assert_eq!(day.minutes().end, day.since().start);
        assert_eq!(day.since().end, minute("2026-02-27 15:00"));
    }

    #[test]
    fn everything_hidden_lies_in_the_day_and_outside_of_what_is_calm() {
        let day = Day::before(minute("2026-02-27 15:00"), 1, SALE);
        let labels = day.labels();
        assert_eq!(labels.len(), 5);
        for label in labels {
            assert!(day.minutes().contains(&label.start) && day.minutes().contains(&label.end));
            for calm in day.calm() {
                assert!(label.end < calm.minutes.start || calm.minutes.end < label.start);
            }
        }
        let storm = day.start_of(IncidentKind::DeclineStorm);
        assert!(day
            .labels()
            .iter()
            .any(|l| l.status == "denied" && l.start == storm));
    }
}
