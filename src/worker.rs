//! The background worker: one per database, started by the first insert that finds none, or at boot where
//! the library is preloaded. Wakes by latch when something changed, and by the clock.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_guard, pg_sys, warning, IntoDatum, PgLogLevel, PgSqlErrorCode, PgTryBuilder};

use crate::calendar::{self, HOUR_US};
use crate::fault;
use crate::keeping;
use crate::monitor::{Frontier, Monitor, Rule};
use crate::partitions;
use crate::plan::Plan;
use crate::round::{self, Place};
use crate::shared::{self, Seat, Segment, LIVE, NEVER, RING};
use crate::{delivery, notices, settings, statement, store, upkeep};

static STOP: AtomicBool = AtomicBool::new(false);
/// A transaction was not begun, since somebody drops or alters what it needs.
static GAVE_WAY: AtomicBool = AtomicBool::new(false);
/// How long the worker then waits.
const GIVE_WAY_MS: i64 = 100;
static RELOAD: AtomicBool = AtomicBool::new(false);

/// At most one attempt to start a worker in this time, microseconds.
const ASK_EVERY_US: i64 = 5_000_000;
/// How long a worker waits for the extension of its database.
const LOOK_FOR_EXTENSION_MS: i64 = 5_000;
/// The least time between two looks for something that may take several, microseconds.
const PAUSE_US: i64 = 200_000;
/// How often what is known of the database is read even if nothing says that it changed.
const READ_EVERY_US: i64 = 60_000_000;
/// Monitors with at most this many series are sealed by the inserting backend when the worker lags.
const HELP_SERIES: usize = 64;

/// Sets the worker's latch. Safe in a COMMIT callback.
pub fn wake(segment: Segment) {
    let latch = segment.header().worker_latch.load(Ordering::Acquire);
    if latch != 0 {
        // SAFETY: a latch of a PGPROC, in the server's main shared memory, which outlives every backend.
        // Should its process have ended, the latch of whoever came after is set once too often.
        unsafe { pg_sys::SetLatch(latch as *mut pg_sys::Latch) };
    }
}

/// What the worker waits for in the middle of a round, as pg_stat_activity names it.
pub fn waits_for(segment: Segment) -> Option<String> {
    let h = segment.header();
    let pid = h.worker_pid.load(Ordering::Acquire);
    if pid == 0 || h.round_began.load(Ordering::Acquire) == 0 {
        return None;
    }
    // SAFETY: a PGPROC lies in the server's main shared memory; should its process end meanwhile, what is read is
    // another's. The names are constants of the server.
    unsafe {
        let proc = pg_sys::BackendPidGetProc(pid);
        let info = (!proc.is_null()).then(|| std::ptr::read_volatile(&(*proc).wait_event_info))?;
        let names = [
            pg_sys::pgstat_get_wait_event_type(info),
            pg_sys::pgstat_get_wait_event(info),
        ];
        let [kind, event] = names.map(|n| {
            (!n.is_null()).then(|| std::ffi::CStr::from_ptr(n).to_string_lossy().into_owned())
        });
        Some(format!("{}: {}", kind?, event?))
    }
}

/// Starts the worker where none runs.
pub fn ensure(segment: Segment) {
    let h = segment.header();
    if h.worker_pid.load(Ordering::Relaxed) != 0 {
        return;
    }
    let now = calendar::now();
    let asked = h.worker_asked.load(Ordering::Relaxed);
    // SAFETY: reads a flag of the server.
    if now - asked < ASK_EVERY_US || unsafe { pg_sys::RecoveryInProgress() } {
        return;
    }
    let first = h
        .worker_asked
        .compare_exchange(asked, now, Ordering::AcqRel, Ordering::Relaxed);
    if first.is_err() {
        return;
    }
    // SAFETY: constant after connection start.
    let started = start(unsafe { pg_sys::MyDatabaseId });
    let refused = u32::from(!started);
    if h.worker_refused.swap(refused, Ordering::Relaxed) < refused {
        // For the server's log: whoever inserts can do nothing about it.
        report_refusal(
            PgLogLevel::LOG,
            "There was no room for that of this database.".into(),
        );
    }
}

fn start(database: pg_sys::Oid) -> bool {
    BackgroundWorkerBuilder::new("cloudwalk_monitor")
        .set_type("cloudwalk_monitor")
        .set_library("cloudwalk_monitor")
        .set_function("cloudwalk_monitor_worker")
        .set_argument(database.into_datum())
        .set_restart_time(Some(Duration::from_secs(5)))
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .enable_spi_access()
        .load_dynamic()
        .is_ok()
}

/// Where the library is preloaded, a launcher starts the worker of every database at boot.
pub fn start_at_boot() {
    // SAFETY: reads a flag of the server.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        BackgroundWorkerBuilder::new("cloudwalk_monitor launcher")
            .set_type("cloudwalk_monitor launcher")
            .set_library("cloudwalk_monitor")
            .set_function("cloudwalk_monitor_launcher")
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .enable_spi_access()
            .load();
    }
}

/// Starts a worker in every database; those without the extension end by themselves.
///
/// # Safety
/// Called by the server as the main function of a background worker.
#[no_mangle]
#[pg_guard]
pub unsafe extern "C-unwind" fn cloudwalk_monitor_launcher(_arg: pg_sys::Datum) {
    attach_signals();
    BackgroundWorker::connect_worker_to_spi(Some("postgres"), None);
    let mut databases: Vec<pg_sys::Oid> = transaction(store::databases).unwrap_or_default();
    databases.retain(|d| !start(*d));
    if !databases.is_empty() {
        // Workers that find no extension end within a few seconds, and make room.
        let until = calendar::now() + (LOOK_FOR_EXTENSION_MS + 1_000) * 1_000;
        while calendar::now() < until && !must_stop() {
            sleep(1_000);
        }
        databases.retain(|d| !must_stop() && !start(*d));
    }
    if !databases.is_empty() {
        let detail = format!("There was no room for {} databases.", databases.len());
        report_refusal(PgLogLevel::WARNING, detail);
    }
}

/// Says in the server's log that there are too few worker processes.
fn report_refusal(level: PgLogLevel, detail: String) {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        "cloudwalk_monitor: a background worker could not be started",
        "cloudwalk_monitor",
    )
    .set_detail(detail)
    .set_hint("Raise max_worker_processes; until then let a scheduler call run_monitor().")
    .report(level);
}

unsafe extern "C-unwind" fn on_stop(_signal: i32) {
    STOP.store(true, Ordering::Release);
    // Ends a wait for a synchronous standby that does not answer; by itself it interrupts nothing else.
    pg_sys::ProcDiePending = 1;
    pg_sys::SetLatch(pg_sys::MyLatch);
}

unsafe extern "C-unwind" fn on_reload(_signal: i32) {
    RELOAD.store(true, Ordering::Release);
    pg_sys::SetLatch(pg_sys::MyLatch);
}

unsafe fn attach_signals() {
    #[cfg(not(feature = "pg18"))]
    {
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(on_stop));
        pg_sys::pqsignal(pg_sys::SIGHUP as i32, Some(on_reload));
    }
    #[cfg(feature = "pg18")]
    {
        pg_sys::pqsignal_be(pg_sys::SIGTERM as i32, Some(on_stop));
        pg_sys::pqsignal_be(pg_sys::SIGHUP as i32, Some(on_reload));
    }
    pg_sys::BackgroundWorkerUnblockSignals();
}

/// Whether the worker was told to end; false in every other process.
pub fn must_stop() -> bool {
    STOP.load(Ordering::Acquire)
}

/// Runs something in a transaction of its own, as the extension's owner. An error rolls it back, is logged
/// and gives None.
fn transaction<T>(f: impl FnOnce() -> T) -> Option<T> {
    let f = std::cell::RefCell::new(Some(f));
    // SAFETY: the sequence of a background worker's transaction; on error the server's own abort.
    unsafe {
        PgTryBuilder::new(AssertUnwindSafe(|| {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let (mut user, mut context) = (pg_sys::InvalidOid, 0);
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            if let Some(owner) = store::extension_owner() {
                pg_sys::SetUserIdAndSecContext(
                    owner,
                    context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32,
                );
            }
            if !store::hold_own_relations() {
                // Somebody drops or alters them, and may be waiting for us already: the next round tries again.
                pg_sys::SetUserIdAndSecContext(user, context);
                pg_sys::PopActiveSnapshot();
                pg_sys::AbortCurrentTransaction();
                delivery::settle(shared::attached(), false);
                GAVE_WAY.store(true, Ordering::Release);
                return None;
            }
            let f = f.borrow_mut().take().expect("called once");
            let result = f();
            pg_sys::SetUserIdAndSecContext(user, context);
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
            delivery::settle(shared::attached(), true);
            pg_sys::pgstat_report_stat(false);
            Some(result)
        }))
        .catch_others(|e| {
            pg_sys::AbortCurrentTransaction();
            delivery::settle(shared::attached(), false);
            // What is stopped has not failed.
            if !must_stop() {
                warning!("cloudwalk_monitor: a round failed: {}", fault::describe(&e));
            }
            None
        })
        .execute()
    }
}

/// What the worker knows of the database between rounds.
struct Known {
    monitors: Vec<Monitor>,
    rules: HashMap<i32, Vec<Rule>>,
    rules_version: u64,
    read_at: i64,
    /// When each monitor's states were last stored, by hour of the sealed bucket.
    stored_hour: HashMap<i32, i64>,
    pruning: Pruning,
    /// When segments of databases that are gone were last looked for.
    swept_at: i64,
    /// When the clock next has something to say of a monitor.
    said_next: HashMap<i32, i64>,
    /// Version of each monitor's models when it was last looked at.
    versions: HashMap<i32, u64>,
}

/// How far the deletion of old alerts has come.
#[derive(Default)]
struct Pruning {
    /// Not before this time.
    due_at: i64,
    /// The last alert looked at.
    after: i64,
}

/// The worker of a database.
///
/// # Safety
/// Called by the server as the main function of a background worker.
#[no_mangle]
#[pg_guard]
pub unsafe extern "C-unwind" fn cloudwalk_monitor_worker(arg: pg_sys::Datum) {
    attach_signals();
    let database = pg_sys::Oid::from(arg.value() as u32);
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(database), None);
    use pg_sys::GucSource::{PGC_S_OVERRIDE, PGC_S_SESSION};
    for (name, value, source) in [
        (c"search_path", c"pg_catalog, pg_temp", PGC_S_OVERRIDE),
        (c"application_name", c"cloudwalk_monitor", PGC_S_SESSION),
        // Its queries take milliseconds, however many rows the planner expects of them.
        (c"jit", c"off", PGC_S_SESSION),
        // A database, or its owner, may have set what makes rounds fail: they write, each sees what has committed by
        // then, and they wait as long as it takes.
        (c"default_transaction_read_only", c"off", PGC_S_OVERRIDE),
        (
            c"default_transaction_isolation",
            c"read committed",
            PGC_S_OVERRIDE,
        ),
        (c"default_transaction_deferrable", c"off", PGC_S_OVERRIDE),
        (c"statement_timeout", c"0", PGC_S_OVERRIDE),
        (c"lock_timeout", c"0", PGC_S_OVERRIDE),
        (c"idle_in_transaction_session_timeout", c"0", PGC_S_OVERRIDE),
    ] {
        let (name, value) = (name.as_ptr(), value.as_ptr());
        pg_sys::SetConfigOption(name, value, pg_sys::GucContext::PGC_USERSET, source);
    }
    let Some((extension, segment)) = find_extension() else {
        return;
    };
    let h = segment.header();
    let pid = pg_sys::MyProcPid;
    if h.worker_pid
        .compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire)
        .is_err()
    {
        // Another one is at work.
        return;
    }
    pg_sys::before_shmem_exit(Some(leave), pg_sys::Datum::from(0usize));
    h.worker_latch
        .store(pg_sys::MyLatch as usize, Ordering::Release);
    delivery::set_apart();
    statement::keep_plans();
    h.due_at.store(calendar::now(), Ordering::Release);
    let mut known = Known {
        monitors: Vec::new(),
        rules: HashMap::new(),
        rules_version: 0,
        read_at: i64::MIN,
        stored_hour: HashMap::new(),
        pruning: Pruning::default(),
        swept_at: i64::MIN,
        said_next: HashMap::new(),
        versions: HashMap::new(),
    };
    let mut backoff_ms = 0i64;
    while !must_stop() {
        if RELOAD.swap(false, Ordering::AcqRel) {
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
            known.read_at = i64::MIN;
            known.pruning = Pruning::default();
        }
        let began = calendar::now();
        h.round_began.store(began, Ordering::Release);
        h.due_at.fetch_min(began, Ordering::AcqRel);
        let outcome = work(segment, extension, &mut known);
        let now = calendar::now();
        h.stats.rounds.fetch_add(1, Ordering::Relaxed);
        h.stats
            .round_us
            .fetch_add((now - began).max(0) as u64, Ordering::Relaxed);
        h.last_round.store(now, Ordering::Release);
        h.round_began.store(0, Ordering::Release);
        let wait = match outcome {
            Outcome::Gone => {
                segment.unpin();
                break;
            }
            // No fault: it is tried again.
            Outcome::Failed if GAVE_WAY.swap(false, Ordering::AcqRel) => {
                known.read_at = i64::MIN;
                GIVE_WAY_MS
            }
            Outcome::Failed => {
                h.stats.erred();
                known.read_at = i64::MIN;
                backoff_ms = (backoff_ms * 2).clamp(200, 10_000);
                backoff_ms
            }
            Outcome::Done(us) => {
                backoff_ms = 0;
                // Rounded up: a moment too early there is nothing to do.
                (us / 1000 + 1).clamp(1, settings::tick_ms())
            }
        };
        h.due_at.store(now + wait * 1_000, Ordering::Release);
        sleep(wait);
    }
}

/// The extension of the database. Whoever started this worker may not have committed CREATE EXTENSION yet, so
/// a missing one is waited for a little.
fn find_extension() -> Option<(pg_sys::Oid, Segment)> {
    const PAUSE_MS: i64 = 200;
    for _ in 0..LOOK_FOR_EXTENSION_MS / PAUSE_MS {
        let found = transaction(|| {
            let extension = store::extension()?;
            Some((extension, shared::attach(extension)?))
        })?;
        if found.is_some() || must_stop() {
            return found;
        }
        sleep(PAUSE_MS);
    }
    None
}

unsafe extern "C-unwind" fn leave(_code: i32, _arg: pg_sys::Datum) {
    if let Some(s) = shared::attached() {
        let h = s.header();
        if h.worker_pid.load(Ordering::Acquire) == pg_sys::MyProcPid {
            h.worker_latch.store(0, Ordering::Release);
            h.worker_pid.store(0, Ordering::Release);
        }
    }
}

fn sleep(ms: i64) {
    // SAFETY: the usual wait of a background worker.
    unsafe {
        if !must_stop() {
            let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
            pg_sys::WaitLatch(
                pg_sys::MyLatch,
                events as i32,
                ms as _,
                pg_sys::PG_WAIT_EXTENSION,
            );
        }
        pg_sys::ResetLatch(pg_sys::MyLatch);
        pgrx::check_for_interrupts!();
    }
}

enum Outcome {
    /// Microseconds until the clock asks for the next round.
    Done(i64),
    Failed,
    /// The extension was dropped.
    Gone,
}

/// One round. Each step that needs the database has a transaction of its own, so that the payments' view of
/// the world is never held back for long.
fn work(segment: Segment, extension: pg_sys::Oid, known: &mut Known) -> Outcome {
    let now = calendar::now();
    let version = segment.header().rules_version.load(Ordering::Acquire);
    let prepared = segment.waits_for_prepared();
    let unknown = segment.cells().any(|(_, c)| {
        !known
            .monitors
            .iter()
            .any(|m| m.id == c.id.load(Ordering::Acquire))
    });
    // A transaction that does nothing hears of what was dropped or altered.
    let Some(changed) = transaction(store::take_catalog_change) else {
        return Outcome::Failed;
    };
    let stale = known.rules_version != version
        || now.saturating_sub(known.read_at) > READ_EVERY_US
        || changed
        || unknown;
    if stale || prepared {
        match read(segment, extension, known, version, now) {
            Some(true) => {}
            Some(false) => return Outcome::Gone,
            None => {
                known.read_at = i64::MIN;
                return Outcome::Failed;
            }
        }
    }
    let mut due = settings::tick_ms() * 1000;
    let mut failed = false;
    let mut unplaced = 0;
    let mut read_again = false;
    if prepared {
        due = due.min(1_000_000);
    }
    for i in changed_first(segment, known) {
        if must_stop() {
            return Outcome::Done(due);
        }
        let m = &known.monitors[i];
        let rules = known.rules.get(&m.id).map_or(&[][..], Vec::as_slice);
        let Some(place) = Place::of(segment, m) else {
            unplaced += 1;
            continue;
        };
        let alerts = &segment.header().stats.alerts;
        let before = alerts.load(Ordering::Relaxed);
        if place.cell.is_behind() {
            let waits = time_to_catch_up(&place);
            if waits > 0 {
                due = due.min(waits);
                if !place.needs_load() {
                    continue;
                }
            } else {
                place.catch_up();
            }
        }
        let outcome = one(&place, rules, known.rules_version);
        send(segment);
        let next = known.said_next.entry(m.id).or_insert(0);
        if alerts.load(Ordering::Relaxed) != before {
            *next = 0;
        }
        if now >= *next {
            let said = transaction(|| notices::tick(m));
            let Some((added, again)) = said else {
                failed = true;
                continue;
            };
            alerts.fetch_add(added as u64, Ordering::Relaxed);
            // From the beginning of the round, so that all monitors are due in the same one.
            let tick = now + settings::tick_ms() * 1000;
            *next = again.map_or(tick, |a| a.min(tick));
        }
        due = due.min((*next - calendar::now()).max(1_000));
        match outcome {
            // A load could not be done, perhaps since the table is gone; or more came meanwhile.
            Some(true) => {
                due = due.min(20_000);
                read_again |= place.needs_load();
            }
            Some(false) => {}
            None => {
                // The others go on.
                failed = true;
                continue;
            }
        }
        send(segment);
        let version = place.cell.version.load(Ordering::Acquire);
        known.versions.insert(m.id, version);
        store_states(&place, &mut known.stored_hour);
        segment.forget_snapshot(place.cell, now);
        if let Some(us) = place.next_due(calendar::now()) {
            due = due.min(us);
        }
    }
    if read_again {
        known.read_at = i64::MIN;
    }
    segment.header().unplaced.store(unplaced, Ordering::Release);
    prune(&mut known.pruning, now);
    due = due.min((known.pruning.due_at - now).max(PAUSE_US));
    if !send(segment) {
        due = due.min(5 * PAUSE_US);
    } else if let Some(us) = delivery::next_heartbeat(segment, calendar::now()) {
        due = due.min(us.max(PAUSE_US));
    }
    if failed {
        // Perhaps since what is known is no longer so.
        known.read_at = i64::MIN;
        Outcome::Failed
    } else {
        Outcome::Done(due)
    }
}

/// In which order monitors are loaded: those whose states were stored of the newest hour first, and of these the largest.
fn loads_after(m: &Monitor) -> impl Ord {
    let newest = store::newest_snapshot(m).map(|b| m.calendar.start(b).div_euclid(HOUR_US));
    Reverse((newest, store::table_size(m)))
}

/// Microseconds until what sessions changed that are switched off is folded in: a tick after the first of them, so that
/// their commits cost a refold a tick, not one each.
fn time_to_catch_up(place: &Place) -> i64 {
    let since = place.cell.passed_over_at.load(Ordering::Acquire);
    since + settings::tick_ms() * 1_000 - calendar::now()
}

/// The monitors, those first in which something happened since they were last looked at: what they have to tell must
/// not wait for the upkeep of the others.
fn changed_first(segment: Segment, known: &Known) -> Vec<usize> {
    let mut order: Vec<usize> = (0..known.monitors.len()).collect();
    order.sort_by_cached_key(|i| {
        let id = known.monitors[*i].id;
        let version = segment
            .cell_of(id)
            .map(|c| c.version.load(Ordering::Acquire));
        version.is_some() && version.as_ref() == known.versions.get(&id)
    });
    order
}

/// Announces what was recorded. False: it has to wait.
fn send(segment: Segment) -> bool {
    let now = calendar::now();
    if !delivery::is_due(segment, now) {
        return true;
    }
    let sent = transaction(|| {
        // It leaves nothing that a crash could lose, so that it waits for no disk and for no standby.
        settings::set_local(c"synchronous_commit", c"off");
        delivery::flush(segment, now)
    });
    sent == Some(true)
}

/// Deletes some alerts that are old enough.
fn prune(pruning: &mut Pruning, now: i64) {
    if now < pruning.due_at {
        return;
    }
    let after = pruning.after;
    let further = transaction(|| {
        store::recover_open_incidents();
        let before = now.saturating_sub(settings::retention());
        let further = store::prune_alerts(before, horizon(), after);
        if further.is_none() {
            store::prune_silences(before);
        }
        further
    });
    *pruning = match further.flatten() {
        Some(after) => Pruning {
            due_at: now + PAUSE_US,
            after,
        },
        None => Pruning {
            due_at: now + HOUR_US,
            after: 0,
        },
    };
}

/// Reads what the rounds need to know. Some(false): the extension is gone. None: it failed.
fn read(
    segment: Segment,
    extension: pg_sys::Oid,
    known: &mut Known,
    version: u64,
    now: i64,
) -> Option<bool> {
    let dropped = store::take_database_change();
    let traces = if dropped || now.saturating_sub(known.swept_at) > HOUR_US {
        known.swept_at = now;
        shared::traces()
    } else {
        Vec::new()
    };
    let found = transaction(|| {
        if store::extension() != Some(extension) {
            return None;
        }
        if traces.len() > 1 {
            shared::sweep(&traces, &store::all_databases(), extension);
        }
        round::look_at_prepared(segment);
        upkeep::take_settings(segment);
        let mut monitors = store::monitors();
        let is_loaded = |m: &Monitor| {
            let own = segment.cell_of(m.id);
            own.is_some_and(|c| c.state.load(Ordering::Acquire) == LIVE)
        };
        if !monitors.iter().all(is_loaded) {
            monitors.sort_by_cached_key(loads_after);
        }
        let rules: HashMap<i32, Vec<Rule>> = monitors
            .iter()
            .map(|m| (m.id, store::rules(&m.name)))
            .collect();
        for m in &monitors {
            if let Some(place) = Place::of(segment, m) {
                if place.cell.state.load(Ordering::Acquire) != LIVE {
                    round::adopt_prepared(segment, place.seat.cell);
                }
            }
        }
        // Not while somebody runs a round by hand.
        let alone = shared::transaction_lock(shared::LOCK_ROUND, false);
        if alone {
            segment.retire_cells(&monitors.iter().map(|m| m.id).collect::<Vec<_>>());
            store::forget_unreadable();
            let places = monitors.iter().filter_map(|m| Place::of(segment, m));
            places.for_each(|p| partitions::notice(&p));
        }
        Some((monitors, rules, alone))
    })?;
    let Some((monitors, rules, alone)) = found else {
        return Some(false);
    };
    known.monitors = monitors;
    known.rules = rules;
    known.rules_version = version;
    known.read_at = if alone { now } else { i64::MIN };
    Some(true)
}

/// One round of one monitor. Gives whether it wants another look at once; None: it failed.
fn one(place: &Place, rules: &[Rule], rules_version: u64) -> Option<bool> {
    let mut again = false;
    if round::ratios_are_stale(place, rules) && place.cell.state.load(Ordering::Acquire) == LIVE {
        transaction(|| round::define_ratios(place, rules))?;
    }
    let records = &place.cell.records;
    let before = records.load(Ordering::Acquire);
    // What was seen before somebody else recorded a later state must not be recorded after it.
    let is_latest = || {
        shared::transaction_lock(shared::LOCK_ROUND, true);
        records.load(Ordering::Acquire) == before
    };
    // A load that goes on elsewhere holds the lock; one whose process was ended does not, and is done again.
    if place.needs_load() || place.cell.loading.load(Ordering::Acquire) != 0 {
        let loaded = transaction(|| {
            // Somebody else may be at it: one load at a time.
            shared::transaction_lock(shared::LOCK_ROUND, false)
                .then(|| round::load(place))
                .flatten()
        })?;
        match loaded {
            None => again = true,
            Some(loaded) => {
                // Level-triggered: should this fail, the survey below wants the same again, and a load that
                // found more than the models remember is repeated.
                let recorded = transaction(|| {
                    is_latest().then(|| round::record_load(place, &loaded, horizon()))
                });
                match recorded {
                    Some(Some(n)) => {
                        let stats = &place.segment.header().stats;
                        stats.alerts.fetch_add(n as u64, Ordering::Relaxed);
                        return Some(true);
                    }
                    Some(None) => {
                        place.cell.mark_dirty(loaded.from);
                        return Some(true);
                    }
                    None => {
                        place.cell.mark_dirty(loaded.from);
                        return None;
                    }
                }
            }
        }
    }
    if round::rules_are_stale(place) {
        round::apply_rules(place, rules, rules_version);
    }
    place.seal(calendar::now());
    let Ok(surveyed) = fault::pure(|| round::survey(place, rules)) else {
        for (_, slot) in place.segment.slots_of(place.cell) {
            slot.changed.store(1, Ordering::Release);
        }
        return None;
    };
    if let Some(changes) = surveyed {
        if changes.is_empty() {
            changes.settle(place);
        } else {
            let recorded = transaction(|| round::record_changes(place, rules, &changes, horizon()));
            match recorded {
                Some(Some((_, changes))) => changes.settle(place),
                Some(None) => {
                    changes.look_again(place);
                    again = true;
                }
                None => {
                    for (_, slot) in place.segment.slots_of(place.cell) {
                        slot.changed.store(1, Ordering::Release);
                    }
                    return None;
                }
            }
        }
    } else {
        again = true;
    }
    Some(again)
}

/// Start of the time whose buckets may page by their age.
fn horizon() -> i64 {
    calendar::now().saturating_sub(store::configured_alert_horizon())
}

/// Stores the models once an hour of the data: the last of a day is kept, so that a refold need not go further back, those
/// of the last hours for who asks of the last hour, and the last of all is what a restart gives verdicts from.
fn store_states(place: &Place, stored_hour: &mut HashMap<i32, i64>) {
    let sealed = place.cell.sealed_hint.load(Ordering::Acquire);
    if sealed == i64::MIN {
        return;
    }
    let hour = place.monitor.calendar.start(sealed).div_euclid(HOUR_US);
    match stored_hour.get(&place.monitor.id) {
        Some(h) if *h >= hour => {}
        None => {
            // What the load stored is enough for the hour it ended in.
            stored_hour.insert(place.monitor.id, hour);
        }
        Some(_) => {
            if let Some(snapshot) = round::capture_shared(place) {
                if transaction(|| keeping::store(place.monitor, &[snapshot])).is_some() {
                    stored_hour.insert(place.monitor.id, hour);
                }
            }
        }
    }
}

/// Seals on behalf of a worker that lags, so that verdicts stay exact: only for small monitors, and only as
/// much as fits into the time of an insert.
pub fn help_sealing(segment: Segment, seat: Seat, plan: &Plan, bucket: i64) {
    let cell = &segment.header().cells[seat.cell as usize];
    let sealed = cell.sealed_hint.load(Ordering::Acquire);
    let newest = cell.newest.load(Ordering::Acquire);
    if sealed == i64::MIN
        || newest == i64::MIN
        || bucket.min(newest + 1) - sealed <= RING as i64 / 2
        || cell.dirty_from.load(Ordering::Acquire) != NEVER
        || segment.slots_of(cell).take(HELP_SERIES + 1).count() > HELP_SERIES
    {
        return;
    }
    let frontier = Frontier {
        newest,
        now: i64::MAX / 2,
        lateness: segment.header().lateness.load(Ordering::Relaxed),
        follows_clock: false,
        idle: false,
    };
    let target = frontier.sealed(&plan.calendar);
    segment.seal(seat, &plan.calendar, target, RING);
}
