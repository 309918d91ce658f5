//! What pages nobody: buckets older than `alert_horizon`, and those whose rows came from a dump. What those did
//! was announced where they come from, and is recorded in the `alerts` that come along, now or later.

use std::sync::atomic::Ordering;

use pgrx::pg_sys;

use crate::monitor::Monitor;
use crate::shared::Cell;
use crate::store;

/// Whether this session restores a dump into a table: pg_dump's output and pg_restore begin with this setting, and little
/// else does. But anybody may set it; so only who has the rights of the table's owner restores, as pg_restore does, and
/// who may just insert silences nobody.
///
/// # Safety
/// `table` must be an open relation.
pub unsafe fn session_restores(table: pg_sys::Relation) -> bool {
    !pg_sys::check_function_bodies
        && pg_sys::has_privs_of_role(pg_sys::GetUserId(), (*(*table).rd_rel).relowner)
}

/// Start of the time whose buckets may page, given what `alert_horizon` says. Notes on disk what came from a
/// dump, so that it holds after a restart. To be called where `alerts` may be written.
pub fn horizon(m: &Monitor, cell: &Cell, horizon: i64) -> i64 {
    let heard = cell.quiet_until.load(Ordering::Acquire);
    let newest = cell.newest.load(Ordering::Acquire);
    let known = store::quiet_until(m.id);
    let now = match known {
        // A monitor that nobody has set up in this database came with a dump, and its rows with it.
        None => heard.max(m.calendar.start(newest)),
        Some(known) => heard.max(known),
    };
    if known != Some(now) {
        store::set_quiet_until(m.id, now);
    }
    cell.quiet_until.fetch_max(now, Ordering::AcqRel);
    horizon.max(now.saturating_add(1))
}
