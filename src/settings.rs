//! The settings `cloudwalk_monitor.*`: definition, validation, and values in microseconds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_void, CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::calendar::{self, DAY_US, MINUTE_US};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::{pg_guard, pg_sys, PgTryBuilder};

/// How alerts leave the database.
#[derive(Clone, Copy, Debug, PartialEq, PostgresGucEnum)]
#[allow(non_camel_case_types)]
pub enum Delivery {
    /// Recorded in `alerts` and announced on the channel.
    notify,
    /// Recorded in `alerts` only.
    table,
}

static ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
static STRICT: GucSetting<bool> = GucSetting::<bool>::new(false);
static FAULT_AT: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
/// Whether `fault_at` is set: asked for every row.
static INJECTED: AtomicBool = AtomicBool::new(false);
static CHANNEL: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"cloudwalk_alerts"));
static DELIVERY: GucSetting<Delivery> = GucSetting::<Delivery>::new(Delivery::notify);
static SHARED_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);
static TICK_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static HEARTBEAT_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60_000);
static QUEUE_LIMIT: GucSetting<f64> = GucSetting::<f64>::new(0.5);
static ALERT_HORIZON: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"1 day"));
static LATENESS: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"2 minutes"));
static FUTURE_TOLERANCE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"5 minutes"));
static SEALED_HORIZON: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"7 days"));
static RETENTION: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"365 days"));

static SNAPSHOT_RETENTION: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"100 days"));
static REOPEN_WINDOW: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"10 minutes"));
static REMIND_EVERY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"1 hour"));

/// A setting given as interval text.
struct Interval {
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    /// Whether any user may set it, in a session.
    by_user: bool,
    setting: &'static GucSetting<Option<CString>>,
    default_us: i64,
}

static INTERVALS: [Interval; 8] = [
    Interval {
        name: c"cloudwalk_monitor.alert_horizon",
        short: c"How old a bucket may be and still page somebody.",
        long: c"Older buckets teach the model and raise no alert. The worker uses the value of the server or the database.",
        by_user: true,
        setting: &ALERT_HORIZON,
        default_us: DAY_US,
    },
    Interval {
        name: c"cloudwalk_monitor.lateness",
        short: c"How long after its end a bucket stays open for late rows.",
        long: c"Rows later than this make the worker fold the series again from the table.",
        by_user: false,
        setting: &LATENESS,
        default_us: 2 * MINUTE_US,
    },
    Interval {
        name: c"cloudwalk_monitor.future_tolerance",
        short: c"How far ahead of the clock a row may be dated and still be judged.",
        long: c"Rows dated later are stored, counted as rejected, and judged when their time has come.",
        by_user: false,
        setting: &FUTURE_TOLERANCE,
        default_us: 5 * MINUTE_US,
    },
    Interval {
        name: c"cloudwalk_monitor.sealed_horizon",
        short: c"Age beyond which UPDATE and DELETE are retention, not correction.",
        long: c"Such changes neither retract an alert nor unlearn what was learned.",
        by_user: false,
        setting: &SEALED_HORIZON,
        default_us: 7 * DAY_US,
    },
    Interval {
        name: c"cloudwalk_monitor.retention",
        short: c"How long the alerts of incidents that have ended are kept.",
        long: c"Older ones are deleted by the worker, a few at a time. Those of open incidents stay.",
        by_user: false,
        setting: &RETENTION,
        default_us: 365 * DAY_US,
    },
    Interval {
        name: c"cloudwalk_monitor.snapshot_retention",
        short: c"How long stored states of the models are kept, by the time of the data.",
        long: c"A refold of what lies behind all of them begins with the table's first row. Those within cloudwalk_monitor.sealed_horizon stay.",
        by_user: false,
        setting: &SNAPSHOT_RETENTION,
        default_us: 100 * DAY_US,
    },
    Interval {
        name: c"cloudwalk_monitor.reopen_window",
        short: c"How long after its end an incident that returns is the same.",
        long: c"It is reopened under its number; what begins within this time of a group of incidents belongs to it.",
        by_user: false,
        setting: &REOPEN_WINDOW,
        default_us: 10 * MINUTE_US,
    },
    Interval {
        name: c"cloudwalk_monitor.remind_every",
        short: c"How often somebody is reminded of what is open and not acknowledged.",
        long: c"0 reminds nobody.",
        by_user: false,
        setting: &REMIND_EVERY,
        default_us: 60 * MINUTE_US,
    },
];

/// Tells PostgreSQL about every setting. A value set before the library was loaded is validated here.
pub fn define() {
    GucRegistry::define_bool_guc(
        c"cloudwalk_monitor.enabled",
        c"Whether inserted rows are judged.",
        c"Off: the triggers do nothing but remember that the touched series must be folded again.",
        &ENABLED,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"cloudwalk_monitor.strict",
        c"Whether a fault in scoring is an error.",
        c"Off: the fault is counted and warned about once, and the row is stored unjudged. For tests.",
        &STRICT,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"cloudwalk_monitor.channel",
        c"NOTIFY channel of the alerts.",
        c"Listeners subscribe with LISTEN and this name.",
        &CHANNEL,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"cloudwalk_monitor.delivery",
        c"How alerts leave the database: notify, or table (recorded only).",
        c"",
        &DELIVERY,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"cloudwalk_monitor.shared_memory",
        c"Size of the shared memory that holds the models of one database.",
        c"Taken when the segment is created: at the first use after a server start.",
        &SHARED_MEMORY,
        1024,
        1024 * 1024,
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"cloudwalk_monitor.tick_interval",
        c"Clock of the worker: how often it looks without being woken.",
        c"",
        &TICK_INTERVAL,
        100,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"cloudwalk_monitor.heartbeat_interval",
        c"How often the worker says on the channel that it is alive.",
        c"A listener that hears nothing for longer knows that something is wrong. 0: never.",
        &HEARTBEAT_INTERVAL,
        0,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_float_guc(
        c"cloudwalk_monitor.queue_limit",
        c"How full the server's notification queue may be, 0 to 1, for alerts to be announced.",
        c"Beyond that they are recorded, and announced when there is room again; the rest is left to others, whose transactions fail when the queue is full.",
        &QUEUE_LIMIT,
        0.0,
        0.95,
        GucContext::Sighup,
        GucFlags::default(),
    );
    // SAFETY: the hook only sets a flag of this process.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"cloudwalk_monitor.fault_at",
            c"Has monitoring fail at a boundary, for tests of what that does to statements: nothing.",
            c"judge, record, truncate, precommit, commit, abort, prepare, subcommit, subabort, load, seal, survey, reconcile or read.",
            &FAULT_AT,
            GucContext::Suset,
            GucFlags::NO_SHOW_ALL,
            None,
            Some(note_fault),
            None,
        );
    }
    for i in &INTERVALS {
        // SAFETY: the hook is guarded by #[pg_guard] and keeps to the contract of a check hook.
        unsafe {
            GucRegistry::define_string_guc_with_hooks(
                i.name,
                i.short,
                i.long,
                i.setting,
                if i.by_user {
                    GucContext::Userset
                } else {
                    GucContext::Sighup
                },
                GucFlags::default(),
                Some(check_interval),
                None,
                None,
            );
        }
    }
    // SAFETY: the prefix is a constant C string.
    unsafe {
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(c"cloudwalk_monitor".as_ptr());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn note_fault(value: *const c_char, _extra: *mut c_void) {
    INJECTED.store(!value.is_null() && *value != 0, Ordering::Relaxed);
}

/// Refuses text that is not an interval of zero or more, where a transaction allows to ask the server.
#[pg_guard]
unsafe extern "C-unwind" fn check_interval(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    if value.is_null() || (*value).is_null() {
        return true;
    }
    // Outside a transaction (postmaster, reload) the text is judged at its first use instead.
    if !pg_sys::IsTransactionState() {
        return true;
    }
    let valid = parse_interval(CStr::from_ptr(*value)).is_some();
    if !valid {
        // What the macros GUC_check_errdetail and GUC_check_errhint set; the server only reads it.
        pg_sys::GUC_check_errdetail_string =
            c"It is an interval, and not negative.".as_ptr() as *mut _;
        pg_sys::GUC_check_errhint_string =
            c"Give for example '2 minutes', '1 day' or '100 years'.".as_ptr() as *mut _;
    }
    valid
}

/// Microseconds of an interval text; a month counts 30 days. None when it is not an interval, or negative.
fn parse_interval(text: &CStr) -> Option<i64> {
    let ptr = text.as_ptr();
    PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
        // SAFETY: interval_in reads a C string and returns an interval; it touches no table.
        let i: pgrx::datum::Interval = unsafe {
            pgrx::direct_function_call(
                pg_sys::interval_in,
                &[
                    Some(pg_sys::Datum::from(ptr)),
                    Some(pg_sys::Datum::from(pg_sys::InvalidOid)),
                    Some(pg_sys::Datum::from(-1i32)),
                ],
            )
        }?;
        i64::try_from(calendar::span(&i)).ok().filter(|us| *us >= 0)
    }))
    .catch_others(|_| None)
    .execute()
}

/// Sets one of the server's settings until the transaction ends.
pub fn set_local(name: &CStr, value: &CStr) {
    // SAFETY: two C strings; called inside a transaction.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

thread_local! {
    static PARSED: RefCell<HashMap<CString, Option<i64>>> = RefCell::new(HashMap::new());
}

/// Microseconds of interval text, remembered; the caller must be inside a transaction.
pub fn interval_us(text: &CStr) -> Option<i64> {
    if let Some(v) = PARSED.with_borrow(|p| p.get(text).copied()) {
        return v;
    }
    let v = parse_interval(text);
    PARSED.with_borrow_mut(|p| p.insert(text.to_owned(), v));
    v
}

fn interval(i: usize) -> i64 {
    let i = &INTERVALS[i];
    i.setting
        .get()
        .and_then(|t| interval_us(&t))
        .unwrap_or(i.default_us)
}

/// `alert_horizon` of this session, microseconds.
pub fn alert_horizon() -> i64 {
    interval(0)
}
/// `lateness`, microseconds.
pub fn lateness() -> i64 {
    interval(1)
}
/// `future_tolerance`, microseconds.
pub fn future_tolerance() -> i64 {
    interval(2)
}
/// `sealed_horizon`, microseconds.
pub fn sealed_horizon() -> i64 {
    interval(3)
}
/// `retention`, microseconds.
pub fn retention() -> i64 {
    interval(4)
}
/// `snapshot_retention`, microseconds.
pub fn snapshot_retention() -> i64 {
    interval(5)
}
/// `heartbeat_interval`, microseconds; 0: none.
pub fn heartbeat_us() -> i64 {
    i64::from(HEARTBEAT_INTERVAL.get()) * 1_000
}
/// `queue_limit`, a share from 0 to 1.
pub fn queue_limit() -> f64 {
    QUEUE_LIMIT.get()
}
/// `reopen_window`, microseconds.
pub fn reopen_window() -> i64 {
    interval(6)
}
/// `remind_every`, microseconds; 0: never.
pub fn remind_every() -> i64 {
    interval(7)
}
/// Whether a fault is to be injected somewhere.
#[inline]
pub fn faults_are_injected() -> bool {
    INJECTED.load(Ordering::Relaxed)
}
/// `fault_at`.
pub fn fault_at() -> Option<String> {
    FAULT_AT.get().map(|t| t.to_string_lossy().into_owned())
}
/// `enabled`.
pub fn enabled() -> bool {
    ENABLED.get()
}
/// `strict`.
pub fn strict() -> bool {
    STRICT.get()
}
/// `shared_memory`, bytes.
pub fn shared_memory() -> usize {
    SHARED_MEMORY.get() as usize * 1024
}
/// `tick_interval`, milliseconds.
pub fn tick_ms() -> i64 {
    i64::from(TICK_INTERVAL.get())
}
/// `channel`, when alerts are to be announced.
pub fn channel() -> Option<String> {
    match DELIVERY.get() {
        Delivery::table => None,
        Delivery::notify => Some(
            CHANNEL
                .get()
                .map(|c| c.to_string_lossy().into_owned())
                .filter(|c| !c.is_empty() && c.len() < 64)
                .unwrap_or_else(|| "cloudwalk_alerts".into()),
        ),
    }
}
