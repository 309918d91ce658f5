//! The SQL of the log: `alerts` and what is kept beside it. Rows are only ever added, under one lock.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::JsonB;
use serde_json::Value;

use crate::key;
use crate::round::ActiveSnapshot;
use crate::statement;
use crate::store::{failed, first, get, micros, one, schema, timestamp, write, Args};

/// Every row, as of now: whoever has waited for the append lock has to see what was appended meanwhile, and the
/// snapshot of its statement is older than that.
fn all<T>(
    sql: &str,
    args: &Args,
    row: impl Fn(&pgrx::spi::SpiHeapTupleData) -> Option<T>,
) -> Vec<T> {
    // SAFETY: a step of the transaction at hand, so that the snapshot shows what it wrote itself.
    unsafe { pgrx::pg_sys::CommandCounterIncrement() };
    let _now = ActiveSnapshot::latest();
    crate::store::all(sql, args, row)
}

/// An incident as `alerts` has it.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub id: i64,
    pub group: i64,
    pub series: String,
    pub labels: Value,
    pub state: String,
    pub critical: bool,
    pub direction: i16,
    pub opened_at: i64,
    pub last_seen_at: i64,
    pub resolved_at: Option<i64>,
    pub buckets: i32,
    pub peak_observed: f64,
    pub peak_expected: f64,
    pub peak_score: f32,
    pub reason: String,
    pub flapping: bool,
    /// A person resolved it.
    pub by_hand: bool,
}

impl Recorded {
    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.state == "open" || self.state == "acknowledged"
    }
}

const RECORDED: &str =
    "i.id, i.group_id, i.series, i.labels, i.state, i.severity::text, i.direction, i.opened_at, i.last_seen_at, \
     i.resolved_at, i.buckets, i.peak_observed, i.peak_expected, i.peak_score, i.reason, i.flapping, i.resolved_by";

fn recorded_row(r: &pgrx::spi::SpiHeapTupleData) -> Option<Recorded> {
    Some(Recorded {
        id: get(r, 1)?,
        group: get(r, 2)?,
        series: get(r, 3)?,
        labels: get::<JsonB>(r, 4)?.0,
        state: get(r, 5)?,
        critical: get::<String>(r, 6)? == "critical",
        direction: get(r, 7)?,
        opened_at: micros(get(r, 8)?),
        last_seen_at: micros(get(r, 9)?),
        resolved_at: get::<TimestampWithTimeZone>(r, 10).map(micros),
        buckets: get(r, 11).unwrap_or(0),
        peak_observed: get(r, 12).unwrap_or(0.0),
        peak_expected: get(r, 13).unwrap_or(0.0),
        peak_score: get(r, 14).unwrap_or(0.0),
        reason: get(r, 15).unwrap_or_default(),
        flapping: get(r, 16).unwrap_or(false),
        by_hand: get::<String>(r, 17).is_some(),
    })
}

/// The recorded incidents of a monitor that were not over before a time.
pub fn recorded(monitor: &str, since: i64) -> Vec<Recorded> {
    let s = schema();
    let ids: Vec<i64> = all(
        &format!(
            "SELECT incident FROM {s}.open_incidents WHERE monitor = $1 \
             UNION SELECT id FROM {s}.alerts WHERE monitor = $1 AND event = 'opened' AND time >= $2 \
             UNION SELECT incident FROM {s}.alerts WHERE monitor = $1 AND event IN ('resolved', 'retracted') AND time >= $2"
        ),
        &[monitor.into(), timestamp(since).into()],
        |r| get(r, 1),
    );
    if ids.is_empty() {
        // As it mostly is. To begin with the view takes the server a fifth of a millisecond, however little there is.
        return Vec::new();
    }
    let sql = format!(
        "SELECT {RECORDED} FROM unnest($1::bigint[]) AS n (incident) \
           JOIN LATERAL (SELECT * FROM {s}.incidents x WHERE x.id = n.incident OFFSET 0) i ON true \
          WHERE i.resolved_at IS NULL OR i.resolved_at >= $2 OR i.opened_at >= $2 ORDER BY i.id"
    );
    all(&sql, &[ids.into(), timestamp(since).into()], recorded_row)
}

/// The incident of a number, and its monitor.
pub fn incident(id: i64) -> Option<(String, Recorded)> {
    let sql = format!(
        "SELECT {RECORDED}, i.monitor FROM {}.incidents i WHERE i.id = $1",
        schema()
    );
    all(&sql, &[id.into()], |r| {
        Some((get(r, 18)?, recorded_row(r)?))
    })
    .pop()
}

/// The incidents of some groups.
pub fn members(groups: &[i64]) -> Vec<Recorded> {
    let s = schema();
    let sql = format!(
        "SELECT {RECORDED} FROM {s}.alerts a JOIN LATERAL (SELECT * FROM {s}.incidents x WHERE x.id = a.id OFFSET 0) i ON true \
          WHERE (a.group_id = ANY ($1) OR a.id = ANY ($1)) AND a.event = 'opened' ORDER BY i.id"
    );
    all(&sql, &[groups.to_vec().into()], recorded_row)
}

/// The groups of a monitor in which something goes on.
pub fn open_groups(monitor: &str) -> Vec<i64> {
    let sql = format!(
        "SELECT DISTINCT group_id FROM {}.open_incidents WHERE monitor = $1 ORDER BY group_id",
        schema()
    );
    all(&sql, &[monitor.into()], |r| get(r, 1))
}

/// What a group was last announced as.
#[derive(Clone, Debug)]
pub struct Announced {
    pub group: i64,
    /// When, by the clock.
    pub at: i64,
    /// What the listeners were told: opened, escalated, resolved and so on.
    pub notice: String,
    /// The worst that was told of while it was open.
    pub critical: bool,
}

impl Announced {
    /// Whether its end was told.
    pub fn is_end(&self) -> bool {
        self.notice == "resolved" || self.notice == "retracted"
    }
}

/// What some groups were last announced as. That somebody acknowledged says nothing of how a group is.
pub fn announced(groups: &[i64]) -> Vec<Announced> {
    let s = schema();
    let sql = format!(
        "SELECT g.id, a.at, a.notice, a.payload ->> 'severity' FROM unnest($1::bigint[]) AS g (id) \
           JOIN LATERAL (SELECT * FROM {s}.alerts x WHERE x.group_id = g.id AND x.notice IS NOT NULL \
                            AND x.notice <> 'acknowledged' ORDER BY x.id DESC LIMIT 1) a ON true"
    );
    all(&sql, &[groups.to_vec().into()], |r| {
        Some(Announced {
            group: get(r, 1)?,
            at: micros(get(r, 2)?),
            notice: get(r, 3)?,
            critical: get::<String>(r, 4).as_deref() == Some("critical"),
        })
    })
}

/// Incidents of a group whose opening, return or worsening was recorded after a moment and not announced.
pub fn unannounced(group: i64, after: i64) -> Vec<i64> {
    let s = schema();
    let sql = format!(
        "SELECT DISTINCT a.incident FROM {s}.open_incidents i JOIN {s}.alerts a ON a.incident = i.incident \
          WHERE i.group_id = $1 AND a.at > $2 AND a.event IN ('opened', 'reopened', 'escalated') \
            AND a.notice IS NULL AND a.silence IS NULL"
    );
    all(&sql, &[group.into(), timestamp(after).into()], |r| {
        get(r, 1)
    })
}

/// Whether the silence of a monitor is recorded and goes on.
pub fn silence_is_open(monitor: &str) -> bool {
    let s = schema();
    one::<bool>(
        &format!(
            "SELECT EXISTS (SELECT FROM {s}.open_incidents i JOIN {s}.alerts a ON a.id = i.incident \
              WHERE i.monitor = $1 AND a.series = $2)"
        ),
        &[monitor.into(), key::TOTAL.into()],
    )
    .unwrap_or(false)
}

/// A silence.
#[derive(Clone, Debug)]
pub struct Silence {
    pub id: i64,
    pub monitor: String,
    /// None: every series.
    pub series: Option<String>,
    /// It is over, and what is still open has not been announced.
    pub over: bool,
}

impl Silence {
    /// Whether it is about a series.
    pub fn covers(&self, series: &str) -> bool {
        self.series.as_ref().is_none_or(|s| s == series)
    }
}

/// The silences that are not settled.
pub fn silences(now: i64) -> Vec<Silence> {
    let sql = format!(
        "SELECT id, monitor, series, until <= $1 OR ended_at IS NOT NULL FROM {}.silences WHERE settled_at IS NULL ORDER BY id",
        schema()
    );
    all(&sql, &[timestamp(now).into()], |r| {
        Some(Silence {
            id: get(r, 1)?,
            monitor: get(r, 2)?,
            series: get(r, 3),
            over: get(r, 4)?,
        })
    })
}

/// Adds a silence and gives its number.
pub fn add_silence(
    monitor: &str,
    series: Option<&str>,
    until: TimestampWithTimeZone,
    reason: Option<&str>,
    actor: &str,
) -> i64 {
    returned(
        &format!(
            "INSERT INTO {}.silences (monitor, series, until, reason, created_by) VALUES ($1, $2, $3, $4, $5) RETURNING id",
            schema()
        ),
        &[
            monitor.into(),
            series.map(str::to_string).into(),
            until.into(),
            reason.map(str::to_string).into(),
            actor.into(),
        ],
    )
    .unwrap_or_else(|| failed(pgrx::spi::SpiError::InvalidPosition))
}

/// Ends a silence before its time. Gives its monitor; None where there is none that goes on.
pub fn end_silence(id: i64, actor: &str) -> Option<String> {
    returned(
        &format!(
            "UPDATE {}.silences SET ended_by = $2, ended_at = pg_catalog.clock_timestamp() \
              WHERE id = $1 AND ended_at IS NULL AND until > pg_catalog.clock_timestamp() RETURNING monitor",
            schema()
        ),
        &[id.into(), actor.into()],
    )
}

/// Groups of which an incident ended under a silence, and in which nothing goes on.
pub fn ended_under(silence: i64) -> Vec<i64> {
    let s = schema();
    let sql = format!(
        "SELECT DISTINCT coalesce(a.group_id, a.incident) FROM {s}.alerts a WHERE a.silence = $1 AND a.event IN ('resolved', 'retracted') \
            AND NOT EXISTS (SELECT FROM {s}.open_incidents i WHERE i.group_id = coalesce(a.group_id, a.incident))"
    );
    all(&sql, &[silence.into()], |r| get(r, 1))
}

/// Notes that what a silence hid and is still open has been announced.
pub fn settle_silence(id: i64) {
    write(
        &format!(
            "UPDATE {}.silences SET settled_at = pg_catalog.clock_timestamp() WHERE id = $1",
            schema()
        ),
        &[id.into()],
    );
}

/// First column of what a writing statement returns.
fn returned<T: pgrx::FromDatum + pgrx::IntoDatum>(sql: &str, args: &Args) -> Option<T> {
    statement::write(sql, Some(1), args, first).unwrap_or_else(failed)
}

/// A row for `alerts`.
#[derive(Clone, Debug)]
pub struct Alert {
    pub id: i64,
    /// The id of the row that opened it, which may be this one.
    pub incident: i64,
    pub group: i64,
    pub event: &'static str,
    pub series: String,
    pub labels: Value,
    pub critical: bool,
    pub direction: i16,
    pub time: i64,
    pub observed: Option<f64>,
    pub expected: Option<f64>,
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    pub score: f64,
    pub reason: String,
    pub last_seen_at: i64,
    /// None: as the row before said.
    pub figures: Option<Figures>,
    pub actor: Option<String>,
    pub note: Option<String>,
    pub silence: Option<i64>,
    /// What is announced with it, and the announcement.
    pub notice: Option<(&'static str, Value)>,
}

impl Alert {
    /// `warning` or `critical`.
    pub fn severity(&self) -> &'static str {
        severity(self.critical)
    }

    /// A row about a recorded incident as it stands.
    pub fn about(r: &Recorded, event: &'static str, reason: String) -> Alert {
        Alert {
            id: next_alert_id(),
            incident: r.id,
            group: r.group,
            event,
            series: r.series.clone(),
            labels: r.labels.clone(),
            critical: r.critical,
            direction: r.direction,
            time: r.last_seen_at,
            observed: None,
            expected: None,
            lower: None,
            upper: None,
            score: f64::from(r.peak_score),
            reason,
            last_seen_at: r.last_seen_at,
            figures: None,
            actor: None,
            note: None,
            silence: None,
            notice: None,
        }
    }
}

/// The name of a severity.
pub fn severity(critical: bool) -> &'static str {
    if critical {
        "critical"
    } else {
        "warning"
    }
}

/// What an incident amounts to so far.
#[derive(Clone, Debug)]
pub struct Figures {
    pub buckets: i32,
    pub peak_observed: f64,
    pub peak_expected: f64,
    pub peak_score: f64,
}

/// The lock under which `alerts` is appended to, so that ids commit in order.
pub fn append_lock() {
    crate::shared::transaction_lock(crate::shared::LOCK_APPEND, true);
}

/// The id of the next row. The append lock must be held.
pub fn next_alert_id() -> i64 {
    one(
        "SELECT pg_catalog.nextval(pg_catalog.pg_get_serial_sequence($1, 'id')::pg_catalog.regclass)",
        &[format!("{}.alerts", schema()).into()],
    )
    .unwrap_or_else(|| failed(pgrx::spi::SpiError::InvalidPosition))
}

/// Appends the rows of a round: all at one moment. The append lock must be held.
pub fn append_all(monitor: &str, rows: &[Alert]) {
    let at = timestamp(crate::calendar::now());
    for a in rows {
        append(monitor, a, at);
    }
}

fn append(monitor: &str, a: &Alert, at: TimestampWithTimeZone) {
    let figure = |f: fn(&Figures) -> f64| a.figures.as_ref().map(f);
    write(
        &format!(
            "INSERT INTO {s}.alerts (id, incident, group_id, event, monitor, series, labels, severity, direction, time, \
               observed, expected, lower, upper, score, reason, last_seen_at, buckets, peak_observed, peak_expected, \
               peak_score, actor, note, silence, notice, payload, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8::{s}.verdict, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
               $19, $20, $21, $22, $23, $24, $25, $26, $27)",
            s = schema()
        ),
        &[
            a.id.into(),
            a.incident.into(),
            a.group.into(),
            a.event.into(),
            monitor.into(),
            a.series.as_str().into(),
            JsonB(a.labels.clone()).into(),
            a.severity().into(),
            a.direction.into(),
            timestamp(a.time).into(),
            a.observed.into(),
            a.expected.into(),
            a.lower.into(),
            a.upper.into(),
            (a.score as f32).into(),
            a.reason.as_str().into(),
            timestamp(a.last_seen_at).into(),
            a.figures.as_ref().map(|f| f.buckets).into(),
            figure(|f| f.peak_observed).into(),
            figure(|f| f.peak_expected).into(),
            figure(|f| f.peak_score).map(|s| s as f32).into(),
            a.actor.clone().into(),
            a.note.clone().into(),
            a.silence.into(),
            a.notice.as_ref().map(|(notice, _)| notice.to_string()).into(),
            a.notice.as_ref().map(|(_, payload)| JsonB(payload.clone())).into(),
            at.into(),
        ],
    );
    if let Some((_, payload)) = &a.notice {
        crate::delivery::announce(payload);
    }
}
