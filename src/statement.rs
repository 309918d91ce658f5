//! Runs SQL. The worker says the same few dozen statements again and again, and keeps their plans: planning them anew
//! was four fifths of the time from a commit to its notification. Other processes say them once in a while.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::datum::DatumWithOid;
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiResult, SpiTupleTable};
use pgrx::{pg_sys, Spi};

/// Plans kept at most. Beyond it all are dropped: so many different ones are no few dozen any more.
const MOST: usize = 512;

/// A statement: its text, the types of its parameters, and whether it writes.
#[derive(PartialEq, Eq, Hash)]
struct Id {
    sql: String,
    types: Vec<pg_sys::Oid>,
    writes: bool,
}

thread_local! {
    static KEEPS: Cell<bool> = const { Cell::new(false) };
    static PLANS: RefCell<HashMap<Id, Rc<OwnedPreparedStatement>>> = RefCell::default();
}

/// From now on this process keeps plans. The server makes a plan anew when what it is about has changed.
pub fn keep_plans() {
    KEEPS.set(true);
}

/// Reads. Gives what `result` makes of the rows, at most `limit`.
pub fn read<T>(
    sql: &str,
    limit: Option<i64>,
    args: &[DatumWithOid],
    result: impl FnOnce(SpiTupleTable) -> T,
) -> SpiResult<T> {
    Spi::connect(|c| {
        let rows = match plan(c, sql, args, false)? {
            Some(plan) => c.select(&*plan, limit, args),
            None => c.select(sql, limit, args),
        };
        rows.map(result)
    })
}

/// Writes. Gives what `result` makes of the rows that it returns.
pub fn write<T>(
    sql: &str,
    limit: Option<i64>,
    args: &[DatumWithOid],
    result: impl FnOnce(SpiTupleTable) -> T,
) -> SpiResult<T> {
    Spi::connect_mut(|c| {
        let rows = match plan(c, sql, args, true)? {
            Some(plan) => c.update(&*plan, limit, args),
            None => c.update(sql, limit, args),
        };
        rows.map(result)
    })
}

fn plan(
    client: &SpiClient,
    sql: &str,
    args: &[DatumWithOid],
    writes: bool,
) -> SpiResult<Option<Rc<OwnedPreparedStatement>>> {
    if !KEEPS.get() {
        return Ok(None);
    }
    let id = Id {
        sql: sql.into(),
        types: args.iter().map(DatumWithOid::oid).collect(),
        writes,
    };
    if let Some(plan) = PLANS.with_borrow(|p| p.get(&id).cloned()) {
        return Ok(Some(plan));
    }
    let types: Vec<pg_sys::PgOid> = id.types.iter().map(|t| pg_sys::PgOid::from(*t)).collect();
    let plan = if writes {
        client.prepare_mut(sql, &types)
    } else {
        client.prepare(sql, &types)
    };
    let plan = Rc::new(plan?.keep());
    PLANS.with_borrow_mut(|p| {
        if p.len() >= MOST {
            p.clear();
        }
        p.insert(id, plan.clone());
    });
    Ok(Some(plan))
}
