//! The only shared memory: one segment per database with the models of all its series.
//!
//! `layout` says what lies where, `segment` creates and attaches it, `merge` adds what a transaction
//! committed, `seal` folds buckets into the models, `load` replaces the models by refolded ones,
//! `sweep` lets go of segments that nobody can come back for.

mod layout;
mod load;
mod merge;
mod seal;
mod segment;
mod sweep;

pub use layout::{
    Cell, Direction, RatioModel, Seat, Settled, SlotModel, LIVE, MONITORS, NEVER, RATIOS, RING,
};
pub use load::{LoadedModel, LoadedSeries, Seen};
pub use merge::{Delta, PreparedWork};
pub use segment::{attach, attached, transaction_lock, Segment, LOCK_APPEND, LOCK_ROUND};
pub use sweep::{sweep, traces};
