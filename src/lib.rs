//! cloudwalk_monitor: real-time transaction monitoring inside PostgreSQL.
//!
//! This crate is the glue between the server and the crate `detector`, which holds all the
//! statistics. One row's way through it: `trigger` reads the row with a `plan`, `overlay` judges it
//! and keeps what the transaction added, the COMMIT callback in `overlay` merges that into `shared`,
//! the `worker` runs `round`, which seals, refolds (`fold`) and lets `reconcile` write `alerts`.

mod api;
mod calendar;
mod calling;
mod certain;
mod delivery;
mod fault;
mod fold;
mod hash;
mod keeping;
mod kept;
mod key;
mod ledger;
mod maintenance;
mod measure;
mod monitor;
mod notices;
mod overlay;
mod partitions;
mod payload;
mod plan;
mod quiet;
mod ratio;
mod reconcile;
mod round;
mod settings;
mod shared;
mod statement;
mod store;
mod trigger;
mod tuple;
mod unfolded;
mod unguarded;
mod upkeep;
mod worker;

pgrx::pg_module_magic!();

/// Runs when the server loads the library: at boot when preloaded, else at the first use in a session.
#[allow(non_snake_case)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
    overlay::register_callbacks();
    store::follow_catalog();
    certain::follow_statements();
    worker::start_at_boot();
}
