//! Functions of the server that raise no error (but where memory runs out, for the default of a column, or two hundred
//! locks are held), called without pgrx's guard: the guard is a `sigsetjmp` and two switches of the stack of handlers for each call, and a
//! row needs a dozen of such calls.

use pgrx::pg_sys;

mod server {
    use pgrx::pg_sys;

    extern "C" {
        pub fn GetCurrentTransactionNestLevel() -> i32;
        pub fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
        pub fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
        pub fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
        pub fn GetCurrentTransactionStopTimestamp() -> pg_sys::TimestampTz;
        pub fn GetTopTransactionIdIfAny() -> u32;
        pub fn LWLockAcquire(lock: *mut pg_sys::LWLock, mode: u32) -> bool;
        pub fn LWLockHeldByMe(lock: *mut pg_sys::LWLock) -> bool;
        pub fn LWLockRelease(lock: *mut pg_sys::LWLock);
        pub fn palloc0(size: usize) -> *mut std::ffi::c_void;
        pub fn heap_deform_tuple(
            tuple: pg_sys::HeapTuple,
            columns: pg_sys::TupleDesc,
            values: *mut pg_sys::Datum,
            nulls: *mut bool,
        );
    }
}

/// How deep the transaction's subtransactions are nested.
#[inline]
pub fn nest_level() -> i32 {
    // SAFETY: reads a number of the transaction state.
    unsafe { server::GetCurrentTransactionNestLevel() }
}

/// The number of the command at hand.
#[inline]
pub fn command() -> u32 {
    // SAFETY: with `false` it reads a number; only marking it used can fail.
    unsafe { server::GetCurrentCommandId(false) }
}

/// When the client's statement arrived.
#[inline]
pub fn statement_start() -> i64 {
    // SAFETY: reads a number.
    unsafe { server::GetCurrentStatementStartTimestamp() }
}

/// The clock.
#[inline]
pub fn now() -> i64 {
    // SAFETY: reads the system clock.
    unsafe { server::GetCurrentTimestamp() }
}

/// When the transaction that has committed did so: the clock was read for its commit record.
#[inline]
pub fn commit_time() -> i64 {
    // SAFETY: reads a number, or the system clock.
    unsafe { server::GetCurrentTransactionStopTimestamp() }
}

/// The id of the transaction, 0 where it has none.
#[inline]
pub fn top_transaction() -> u32 {
    // SAFETY: reads a number of the transaction state.
    unsafe { server::GetTopTransactionIdIfAny() }
}

/// Waits for a lock.
///
/// # Safety
/// It must be initialised, in memory that stays, and not be held by this process.
#[inline]
pub unsafe fn lock(lock: *mut pg_sys::LWLock, mode: pg_sys::LWLockMode::Type) {
    server::LWLockAcquire(lock, mode);
}

/// Gives a lock back, unless the server has done so after an error.
///
/// # Safety
/// As for [`lock`].
#[inline]
pub unsafe fn unlock(lock: *mut pg_sys::LWLock) {
    if server::LWLockHeldByMe(lock) {
        server::LWLockRelease(lock);
    }
}

/// Memory of the context at hand, zeroed, aligned for whatever a row may hold.
#[inline]
pub fn room(size: usize) -> *mut u8 {
    // SAFETY: allocates.
    unsafe { server::palloc0(size).cast() }
}

/// Takes a row apart. Columns added after it was stored have their default.
///
/// # Safety
/// `tuple` must be a row of a relation with the descriptor `columns`; there must be room for all of its columns.
#[inline]
pub unsafe fn deform(
    tuple: pg_sys::HeapTuple,
    columns: pg_sys::TupleDesc,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
) {
    server::heap_deform_tuple(tuple, columns, values, nulls);
}
