//! The functions that SQL calls. Each reads its arguments, asks `fold`, `round` or `store`, and shapes rows.
//!
//! `look` is how a reading is shown, `table` how rows are returned; `reading`, `chart` and `backtest` read the past, `recommend` asks of a
//! reading to come, `people` is what people do to incidents, `operate` runs rounds, `verify` and `stats` look at the monitor itself.

mod backtest;
mod chart;
mod look;
mod operate;
mod people;
mod reading;
mod recommend;
mod stats;
mod table;
mod verify;

use detector::Verdict;
use pgrx::prelude::*;

use crate::fault::raise;
use crate::shared::{self, Segment};
use crate::{store, worker};

fn verdict_name(v: Verdict) -> &'static str {
    match v {
        Verdict::Learning => "learning",
        Verdict::Normal => "normal",
        Verdict::Warning => "warning",
        Verdict::Critical => "critical",
    }
}

/// Refuses NULL for an argument that has a default.
fn refuse_null(what: &str) -> ! {
    refused(what, "Leave the argument out to get its default.")
}

/// Refuses NULL for an argument that every call has to give.
fn refuse_missing(what: &str) -> ! {
    refused(what, "Give a value for it; \\df+ describes the function.")
}

fn refused(what: &str, hint: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        format!("{what} must not be NULL"),
        "The call has to say what to look at.".into(),
        hint,
    )
}

/// Whether this transaction may write.
fn may_write() -> bool {
    // SAFETY: reads flags of the transaction.
    unsafe { !pg_sys::RecoveryInProgress() && !pg_sys::XactReadOnly }
}

fn segment() -> Option<Segment> {
    let extension = store::extension()?;
    let s = shared::attach(extension)?;
    worker::ensure(s);
    Some(s)
}
