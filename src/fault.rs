//! Errors: the one place that raises them with SQLSTATE, detail and hint, and the guard that keeps a
//! fault of the monitor from ever becoming a fault of the statement it watches.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::{pg_sys, PgLogLevel, PgSqlErrorCode, PgTryBuilder};

/// Raises an error; never returns.
pub fn raise(code: PgSqlErrorCode, message: String, detail: String, hint: &str) -> ! {
    let mut report =
        ErrorReport::new(code, message, "cloudwalk_monitor").set_hint(hint.to_string());
    if !detail.is_empty() {
        report = report.set_detail(detail);
    }
    report.report(PgLogLevel::ERROR);
    unreachable!("an error report does not return")
}

thread_local! {
    static WARNED: RefCell<HashSet<String>> = RefCell::new(HashSet::new());
}

/// Warns about a cause once per backend; in strict mode raises it.
pub fn once(cause: &str, detail: String) {
    if crate::settings::strict() {
        raise(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("monitoring failed: {cause}"),
            detail,
            "Set cloudwalk_monitor.strict to off to let the statement go on without a verdict.",
        );
    }
    if is_new(cause) {
        warn(
            cause,
            detail,
            "The row is stored without a verdict. See monitor_health for the count of errors.",
        );
    }
}

/// Whether a cause was not told of yet in this backend.
fn is_new(cause: &str) -> bool {
    WARNED.with_borrow_mut(|w| w.insert(cause.to_string()))
}

fn warn(cause: &str, detail: String, hint: &str) {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_WARNING,
        format!("monitoring failed: {cause}"),
        "cloudwalk_monitor",
    )
    .set_detail(detail)
    .set_hint(hint.to_string())
    .report(PgLogLevel::WARNING);
}

thread_local! {
    /// A fault met where nothing may be reported.
    static UNTOLD: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Keeps a cause to be warned about by `tell`: after a commit record nothing may be reported.
pub fn later(cause: &'static str) {
    UNTOLD.set(Some(cause));
}

/// Tells of what could not be reported where it happened, in the transaction that it happened in: in strict mode an error.
pub fn tell_now() {
    if let Some(cause) = UNTOLD.take() {
        once(cause, "The transaction goes on without it.".into());
    }
}

/// Warns about what happened at the end of an earlier transaction, in strict mode each time. Never an error: that one
/// has committed, and the statement at hand has done nothing.
pub fn tell() {
    if let Some(cause) = UNTOLD.take() {
        if is_new(cause) || crate::settings::strict() {
            warn(
                cause,
                "It happened at the end of an earlier transaction of this session, which is unharmed."
                    .into(),
                "The models are folded again from the table. See monitor_health for the count of errors.",
            );
        }
    }
}

/// Where the tests can have something go wrong, by `cloudwalk_monitor.fault_at`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Boundary {
    Judge,
    Record,
    Truncate,
    PreCommit,
    Commit,
    Abort,
    Prepare,
    SubCommit,
    SubAbort,
    Load,
    Seal,
    Survey,
    Reconcile,
    Read,
}

/// Panics where the setting says so.
#[inline]
pub fn at(boundary: Boundary) {
    if crate::settings::faults_are_injected() {
        inject(boundary);
    }
}

#[cold]
fn inject(boundary: Boundary) {
    assert!(
        crate::settings::fault_at() != Some(format!("{boundary:?}").to_lowercase()),
        "a fault was injected: {boundary:?}"
    );
}

/// What was caught, and its detail.
pub fn describe(e: &CaughtError) -> String {
    let report = match e {
        CaughtError::PostgresError(r) | CaughtError::ErrorReport(r) => r,
        CaughtError::RustPanic { ereport, .. } => ereport,
    };
    match report.detail() {
        Some(detail) if !detail.is_empty() => format!("{}: {detail}", report.message()),
        _ => report.message().to_string(),
    }
}

/// Cancel and shutdown are never caught.
fn must_go_on(e: &CaughtError) -> bool {
    let code = match e {
        CaughtError::PostgresError(r) | CaughtError::ErrorReport(r) => r.sql_error_code(),
        CaughtError::RustPanic { .. } => return false,
    };
    matches!(
        code,
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED
            | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_DATABASE_DROPPED
    )
}

/// Runs code that may raise a PostgreSQL error inside an internal subtransaction, and gives the error's
/// message instead of raising it.
pub fn contained<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    // SAFETY: the sequence that PL/pgSQL uses for an EXCEPTION block: memory context and resource owner
    // are put back on both ways out.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let f = RefCell::new(Some(f));
        let result = PgTryBuilder::new(AssertUnwindSafe(|| {
            let f = f.borrow_mut().take().expect("called once");
            Ok(f())
        }))
        .catch_others(|e| {
            if must_go_on(&e) {
                e.rethrow()
            } else {
                Err(describe(&e))
            }
        })
        .execute();
        if result.is_ok() {
            pg_sys::ReleaseCurrentSubTransaction();
        } else {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        result
    }
}

/// Runs code that calls no PostgreSQL function which may raise an error; a panic becomes its message.
pub fn pure<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(f)).map_err(|e| {
        e.downcast_ref::<&str>()
            .map(|s| s.to_string())
            .or_else(|| e.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic".into())
    })
}
