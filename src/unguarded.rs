//! Functions of the server that raise no error (but where memory runs out, for the default of a column), called
//! without pgrx's guard: the guard is a `sigsetjmp` and two switches of the stack of handlers for each call, and a
//! row needs a dozen of such calls.

use pgrx::pg_sys;

mod server {
    use pgrx::pg_sys;

    extern "C" {
        pub fn GetCurrentTransactionNestLevel() -> i32;
        pub fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
        pub fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
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
