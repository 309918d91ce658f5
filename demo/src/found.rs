//! The incidents that the monitor found.

use postgres::{Client, Row};
use sample::Direction;

use crate::clock;
use crate::table;

/// One row of the view `incidents`; times are minutes since 1970 in UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub series: String,
    pub direction: Direction,
    pub severity: String,
    pub state: String,
    pub opened: i64,
    /// The last minute in which it was seen.
    pub last_seen: i64,
    pub peak_observed: Option<f64>,
    pub peak_expected: Option<f64>,
    pub peak_score: Option<f64>,
    pub reason: String,
}

/// Every type is named, so that this reads the same whatever the view's own are.
const QUERY: &str = "
    SELECT series, direction::integer, severity::text, state::text,
           (extract(epoch FROM opened_at) / 60)::bigint,
           (extract(epoch FROM coalesce(last_seen_at, opened_at)) / 60)::bigint,
           peak_observed::float8, peak_expected::float8, peak_score::float8, coalesce(reason, '')
      FROM incidents
     WHERE monitor = 'transactions' AND state::text <> 'retracted'
     ORDER BY opened_at, id";

impl Found {
    /// All incidents, oldest first, but those that were taken back.
    pub fn all(client: &mut Client) -> Result<Vec<Self>, postgres::Error> {
        client.query(QUERY, &[])?.iter().map(Self::read).collect()
    }

    fn read(row: &Row) -> Result<Self, postgres::Error> {
        let direction: i32 = row.try_get(1)?;
        Ok(Found {
            series: row.try_get(0)?,
            direction: if direction < 0 {
                Direction::Low
            } else {
                Direction::High
            },
            severity: row.try_get(2)?,
            state: row.try_get(3)?,
            opened: row.try_get(4)?,
            last_seen: row.try_get(5)?,
            peak_observed: row.try_get(6)?,
            peak_expected: row.try_get(7)?,
            peak_score: row.try_get(8)?,
            reason: row.try_get(9)?,
        })
    }
}

/// The incidents as a table for a person.
pub fn table(found: &[Found]) -> String {
    let figure = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.1}"));
    let rows: Vec<[String; 9]> = found
        .iter()
        .map(|f| {
            [
                clock::minute(f.opened),
                clock::minute(f.last_seen),
                f.series.clone(),
                f.severity.clone(),
                f.state.clone(),
                figure(f.peak_observed),
                figure(f.peak_expected),
                figure(f.peak_score),
                f.reason.clone(),
            ]
        })
        .collect();
    let header = [
        "opened",
        "last seen",
        "series",
        "severity",
        "state",
        "observed",
        "expected",
        "score",
        "reason",
    ];
    table::layout(header, &rows)
}
