//! Changes that the stored states do not know and would never be asked about: those older than
//! `sealed_horizon`. A restart begins with a state of that age, so such a change leaves a row in `unfolded`,
//! in its own transaction, until the refold that takes it in is recorded.

use pgrx::pg_sys;

use crate::calendar::DAY_US;
use crate::hash::QuickMap;

/// From when on each monitor has rows in `unfolded`, by one (sub)transaction.
#[derive(Default)]
pub struct Noted(QuickMap<u32, i64>);

impl Noted {
    /// Whether a change at a time is covered.
    pub fn covers(&self, monitor: u32, time: i64) -> bool {
        self.0.get(&monitor).is_some_and(|since| *since <= time)
    }

    /// Notes that a row was written.
    pub fn add(&mut self, monitor: u32, since: i64) {
        let s = self.0.entry(monitor).or_insert(i64::MAX);
        *s = (*s).min(since);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes over what a subtransaction that committed has noted.
    pub fn merge(&mut self, other: Noted) {
        for (monitor, since) in other.0 {
            self.add(monitor, since);
        }
    }
}

/// The time a row in `unfolded` says for a change: its day's start, so that a load leaves one row a day of its
/// data at most.
pub fn since(time: i64) -> i64 {
    if time == i64::MIN {
        time
    } else {
        time.div_euclid(DAY_US).saturating_mul(DAY_US)
    }
}

/// Writes the row. No query: whoever inserts into a watched table has no rights here, and nothing is read that
/// a serializable transaction would have to answer for. May raise an error.
///
/// # Safety
/// `function` must be a trigger function of the extension; the caller is in a transaction that may write.
pub unsafe fn write(function: pg_sys::Oid, monitor: i32, since: i64) {
    let schema = pg_sys::get_func_namespace(function);
    let table = pg_sys::get_relname_relid(c"unfolded".as_ptr(), schema);
    let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
    let xid = pg_sys::GetTopFullTransactionId().value;
    let mut values = [
        pg_sys::Datum::from(monitor),
        pg_sys::Datum::from(since),
        pg_sys::Datum::from(xid as i64),
    ];
    let mut nulls = [false; 3];
    let tuple =
        pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
    pg_sys::simple_heap_insert(relation, tuple);
    pg_sys::heap_freetuple(tuple);
    pg_sys::table_close(relation, pg_sys::NoLock as i32);
}
