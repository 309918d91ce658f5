//! What people do about incidents: acknowledge, resolve, silence, and say when maintenance is.

use std::rc::Rc;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use super::{may_write, refuse_missing, segment};
use crate::fault::raise;
use crate::ledger::{self, Alert, Recorded};
use crate::plan::Plan;
use crate::{calendar, notices, overlay, store};

/// Refuses to write where nothing can be written.
fn writable(what: &str) {
    if !may_write() {
        raise(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            format!("{what} in a read-only transaction"),
            "It is recorded in the tables of the extension.".into(),
            "Do it on the primary.",
        );
    }
}

/// The incident of a number, which must go on; its monitor.
fn going_on(id: i64, done: &str) -> (String, Recorded) {
    let Some((monitor, incident)) = ledger::incident(id) else {
        raise(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("incident {id} does not exist"),
            "An incident has the id of its opened alert.".into(),
            "See the view incidents.",
        )
    };
    if !incident.is_open() {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("incident {id} is {}", incident.state),
            format!("Only an incident that goes on can be {done}."),
            "See the state column of the view incidents.",
        );
    }
    (monitor, incident)
}

/// Records that somebody took an incident on.
#[pg_extern(sql = false)]
fn record_acknowledgement(id: Option<i64>, note: Option<&str>, actor: Option<&str>) -> i64 {
    let id = id.unwrap_or_else(|| refuse_missing("id"));
    writable("an incident cannot be acknowledged");
    ledger::append_lock();
    let (monitor, incident) = going_on(id, "acknowledged");
    deed(&monitor, &incident, "acknowledged", note, actor)
}

/// Records that somebody says an incident is over.
#[pg_extern(sql = false)]
fn record_resolution(id: Option<i64>, note: Option<&str>, actor: Option<&str>) -> i64 {
    let id = id.unwrap_or_else(|| refuse_missing("id"));
    writable("an incident cannot be resolved");
    ledger::append_lock();
    let (monitor, incident) = going_on(id, "resolved");
    deed(&monitor, &incident, "resolved", note, actor)
}

fn deed(
    monitor: &str,
    incident: &Recorded,
    event: &'static str,
    note: Option<&str>,
    actor: Option<&str>,
) -> i64 {
    let actor = actor.unwrap_or("");
    let text = format!("{} {event} by {actor}", incident.series);
    notices::record_deed(
        monitor,
        Alert {
            actor: Some(actor.to_string()),
            note: note.map(str::to_string),
            ..Alert::about(incident, event, text)
        },
    )
}

/// Adds a silence; open incidents under it are noted as silenced.
#[pg_extern(sql = false)]
fn record_silence(
    monitor: Option<&str>,
    series: Option<&str>,
    until: Option<TimestampWithTimeZone>,
    reason: Option<&str>,
    actor: Option<&str>,
) -> i64 {
    let monitor = monitor.unwrap_or_else(|| refuse_missing("monitor"));
    let until = until.unwrap_or_else(|| refuse_missing("until"));
    writable("alerts cannot be silenced");
    if series == Some("") {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "series must not be empty".into(),
            "No series has an empty label.".into(),
            "Leave it out, or give NULL, for all series of the monitor.",
        );
    }
    let m = store::monitor_by_name(monitor);
    let ends = store::micros(until);
    if ends <= calendar::now() || ends == i64::MAX {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "until must lie in the future, and come some day".into(),
            "A silence has an end, so that nobody forgets it.".into(),
            "Give for example now() + interval '2 hours'.",
        );
    }
    let actor = actor.unwrap_or("");
    ledger::append_lock();
    let id = ledger::add_silence(monitor, series, until, reason, actor);
    for r in ledger::recorded(monitor, i64::MAX) {
        if r.is_open() && series.is_none_or(|s| s == r.series) {
            let text = format!("{} silenced by {actor}", r.series);
            let row = Alert {
                actor: Some(actor.to_string()),
                note: reason.map(str::to_string),
                silence: Some(id),
                ..Alert::about(&r, "silenced", text)
            };
            ledger::append_all(&m.name, std::slice::from_ref(&row));
        }
    }
    id
}

/// Ends a silence before its time; what is still open is announced at once.
#[pg_extern(sql = false)]
fn record_silence_end(id: Option<i64>, actor: Option<&str>) {
    let id = id.unwrap_or_else(|| refuse_missing("id"));
    writable("a silence cannot be ended");
    ledger::append_lock();
    let Some(monitor) = ledger::end_silence(id, actor.unwrap_or("")) else {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("silence {id} is not in force"),
            "It has ended, or there never was one of this number.".into(),
            "See the table silences.",
        )
    };
    notices::tick(&store::monitor_of_record(&monitor));
}

/// Has a monitor folded again from the start of a maintenance window on, once this commits.
#[pg_extern(sql = false)]
fn note_maintenance(monitor: Option<&str>, since: Option<TimestampWithTimeZone>) {
    let monitor = monitor.unwrap_or_else(|| refuse_missing("monitor"));
    let since = since.unwrap_or_else(|| refuse_missing("since"));
    let m = store::monitor_by_name(monitor);
    let begins = store::micros(since);
    let bucket = m.calendar.bucket(begins).unwrap_or(i64::MIN);
    if begins < calendar::now() {
        store::note_unfolded(&m, begins);
    }
    let plan = Rc::new(Plan::of_monitor(m.id, m.calendar));
    let segment = segment();
    overlay::with(|o| o.mark_dirty(segment, &plan, bucket));
}
