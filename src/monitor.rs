//! A monitor: one watched table and how to read it. `transactions` is the one that is always there.

use crate::calendar::Calendar;
use crate::key;
use crate::ratio;
use crate::shared::{Direction, RING};
use detector::{Limits, Sensitivity, Terms};

/// Id of the shipped monitor.
pub const SHIPPED: i32 = 0;
/// Name of the shipped monitor and its table.
pub const SHIPPED_NAME: &str = "transactions";

/// How a monitor reads its table.
pub struct Monitor {
    pub id: i32,
    pub name: String,
    /// Schema-qualified, quoted.
    pub relation: String,
    /// What is read of it: its partitions with it, but no tables that inherit from it, whose rows fire no trigger of it.
    pub source: String,
    /// Role that the table belongs to, as which it is read.
    pub owner: pgrx::pg_sys::Oid,
    pub time_column: String,
    /// None: every row counts one.
    pub value_column: Option<String>,
    pub series_columns: Vec<String>,
    pub calendar: Calendar,
    /// Buckets after its end within which an incident that returns is the same.
    pub reopen_within: u32,
    /// Sensitivity of the series for which no rule gives one; None: as built in.
    pub sensitivity: Option<f64>,
}

/// The rule of one series.
#[derive(Clone, Debug)]
pub struct Rule {
    pub series: String,
    pub direction: Option<Direction>,
    pub limits: detector::Limits,
    /// What the ratio of this name is, where the rule is about one.
    pub ratio: Option<ratio::Definition>,
    /// Opens after so many ...; 0 where built in.
    pub open_after: u32,
    /// ... of so many readings.
    pub open_within: u32,
    /// Resolved after so many normal ones; 0 where built in.
    pub resolve_after: u32,
    /// 0 to 100; None: the monitor's.
    pub sensitivity: Option<f64>,
    /// Minimum effect, counts and percent; 0 where there is none.
    pub min_abs: f64,
    pub min_percent: f64,
}

/// What applies to a series: the operator's rule where there is one, else what is built in.
pub struct InForce {
    pub direction: Direction,
    pub limits: Limits,
    pub terms: Terms,
}

/// Where sealing may go.
pub struct Frontier {
    /// Newest bucket with a row; i64::MIN without any.
    pub newest: i64,
    /// The clock.
    pub now: i64,
    /// How long a bucket stays open.
    pub lateness: i64,
    /// Whether the stream keeps up with the clock, so that the clock may find it silent.
    pub follows_clock: bool,
    /// Whether nothing has come in for as long as a bucket stays open.
    pub idle: bool,
}

/// How long after its end a bucket stays open, microseconds: the lateness, as far as the ring reaches
/// with room for the open bucket and a worker that lags.
pub fn open_for(lateness: i64, calendar: &Calendar) -> i64 {
    lateness.min(calendar.width.saturating_mul(RING as i64 / 2))
}

impl Frontier {
    /// The last bucket that is sealed; i64::MIN where none is.
    pub fn sealed(&self, calendar: &Calendar) -> i64 {
        if self.newest == i64::MIN {
            return i64::MIN;
        }
        let lateness = open_for(self.lateness, calendar);
        let by_clock = self
            .now
            .saturating_sub(lateness)
            .div_euclid(calendar.width)
            .saturating_sub(1);
        if self.follows_clock {
            return by_clock;
        }
        let by_rows = if self.idle {
            self.newest
        } else {
            self.newest - 1 - calendar.buckets_in(lateness)
        };
        by_rows.min(by_clock)
    }

    /// Whether a newest row this fresh shows that the stream keeps up with the clock.
    pub fn keeps_up(newest: i64, now: i64, calendar: &Calendar) -> bool {
        const FRESH_US: i64 = 15 * 60 * 1_000_000;
        newest != i64::MIN && now - calendar.start(newest + 1) <= FRESH_US.max(15 * calendar.width)
    }
}

/// Whether the clock counts for a stream whose newest row is in a bucket: it keeps up with the clock, or it
/// did until it fell silent not long ago, and the silence is recorded and goes on.
pub fn follows_clock(m: &Monitor, newest: i64, now: i64) -> bool {
    const SILENT_FOR_US: i64 = 7 * 86_400_000_000;
    let cal = &m.calendar;
    Frontier::keeps_up(newest, now, cal)
        || newest != i64::MIN
            && now - cal.start(newest) < SILENT_FOR_US
            && crate::ledger::silence_is_open(&m.name)
}

impl Monitor {
    /// What applies to a series.
    pub fn rule(&self, rules: &[Rule], series_key: &[u8]) -> InForce {
        let own = if rules.is_empty() {
            None
        } else {
            let label = self.label(series_key);
            rules
                .iter()
                .find(|r| r.series == label && r.ratio.is_none())
        };
        InForce {
            direction: own
                .and_then(|r| r.direction)
                .unwrap_or_else(|| default_direction(self.id, series_key)),
            limits: own.map_or(Limits::NONE, |r| r.limits),
            terms: self.terms(own),
        }
    }

    /// What applies to the total.
    pub fn total_rule(&self, rules: &[Rule]) -> InForce {
        InForce {
            direction: total_direction(rules).unwrap_or(Direction::Low),
            limits: Limits::NONE,
            terms: self.terms(rules.iter().find(|r| r.series == key::TOTAL)),
        }
    }

    /// What a rule asks of incidents.
    pub fn terms(&self, rule: Option<&Rule>) -> Terms {
        let level = rule.and_then(|r| r.sensitivity).or(self.sensitivity);
        let sensitivity = level.map_or(Sensitivity::BUILT_IN, Sensitivity::of);
        Terms {
            reopen_within: self.reopen_within,
            sensitivity: rule.map_or(sensitivity, |r| {
                sensitivity.with_effect(r.min_abs, r.min_percent)
            }),
            ..rule.map_or(Terms::BUILT_IN, |r| Terms {
                open_after: r.open_after,
                open_within: r.open_within,
                resolve_after: r.resolve_after,
                reopen_within: 0,
                sensitivity: Sensitivity::BUILT_IN,
            })
        }
    }

    /// Label of a series.
    pub fn label(&self, key: &[u8]) -> String {
        key::label(key, &self.series_columns)
    }
}

/// What an operator lets the total alert for; None: silence only.
pub fn total_direction(rules: &[Rule]) -> Option<Direction> {
    rules
        .iter()
        .find(|r| r.series == key::TOTAL)
        .and_then(|r| r.direction)
}

/// What may alert where no rule says otherwise. The shipped statuses: approvals matter when they fall,
/// everything else when it rises. Other monitors watch both ways.
pub fn default_direction(monitor: i32, series_key: &[u8]) -> Direction {
    if monitor != SHIPPED {
        Direction::Both
    } else if series_key == b"\x01approved\0" {
        Direction::Low
    } else {
        Direction::High
    }
}
