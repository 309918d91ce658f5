//! What is loaded: days of history, then the day that is watched, up to this minute.

use std::io::{BufWriter, Write};

use postgres::Client;
use sample::{Incident, IncidentKind, Label, Stream};

use crate::Outcome;

const SEED: u64 = 20;
/// Two weeks, so that the model has seen each day of the week before.
const HISTORY_DAYS: i64 = 14;

/// One incident of each kind, so many minutes before the end. The last is still going on.
const HIDDEN: [(IncidentKind, i64); 5] = [
    (IncidentKind::ReversalSurge, 21 * 60),
    (IncidentKind::AcquirerFailure, 16 * 60),
    (IncidentKind::Silence, 11 * 60),
    (IncidentKind::ApprovalCollapse, 6 * 60),
    (IncidentKind::DeclineStorm, 15),
];

pub struct Day(Stream);

impl Day {
    /// The day before the minute `end`, with its history.
    pub fn ending(end: i64) -> Self {
        let days = HISTORY_DAYS + 1;
        let hidden = HIDDEN.map(|(kind, before)| {
            Incident::new(kind, end - before).lasting(kind.minutes().min(before))
        });
        let stream = Stream::new(SEED)
            .start(end - days * sample::calendar::DAY)
            .days(days)
            .incidents(hidden);
        Day(stream)
    }

    pub fn history_days(&self) -> i64 {
        HISTORY_DAYS
    }

    pub fn incidents(&self) -> usize {
        HIDDEN.len()
    }

    pub fn labels(&self) -> Vec<Label> {
        self.0.labels()
    }

    /// Loads it by COPY and returns the number of rows.
    ///
    /// History and day are one transaction: were the history alone to be seen, the monitor would rightly say that
    /// nothing has arrived since yesterday.
    pub fn load(&self, client: &mut Client) -> Outcome<u64> {
        let mut copy =
            BufWriter::new(client.copy_in("COPY transactions (time, status, count) FROM STDIN")?);
        sample::write_copy(&self.0, &mut copy)?;
        copy.flush()?;
        let copy = copy.into_inner().map_err(|error| error.into_error())?;
        Ok(copy.finish()?)
    }
}
