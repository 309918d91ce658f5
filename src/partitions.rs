//! What happens to rows without a row trigger: partitions are attached, detached, dropped or truncated themselves, and
//! columns get another type. Each round that reads the monitors compares tables and
//! partitions with those it saw last, and has folded again what changed.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use crate::round::Place;
use crate::shared::NEVER;
use crate::store::{self, Partition};

/// Looks for changes of a monitor's table and its partitions since the last look, and marks the monitor dirty from the earliest
/// change on. Rows that are gone and were older than `sealed_horizon` are retention, and change nothing; rows that came
/// are taken in whatever their age, as inserted ones are. To be called where the extension's tables may be written,
/// under the lock of rounds.
pub fn notice(place: &Place) {
    let m = place.monitor;
    if !store::hold_table(m) {
        return;
    }
    let known = store::known_partitions(m);
    let now = store::partitions(m);
    if known.len() == now.len() && now.iter().all(|p| known.contains(p)) {
        return;
    }
    let newest = place.cell.newest.load(Ordering::Acquire);
    let horizon = place
        .segment
        .header()
        .sealed_horizon
        .load(Ordering::Relaxed);
    let recent = m.calendar.start(newest).saturating_sub(horizon);
    let mut from = NEVER;
    // At the first look there is nothing to compare with, and the models are not loaded yet.
    if !known.is_empty() {
        let by_relation: HashMap<u32, &Partition> = now.iter().map(|p| (p.relation, p)).collect();
        for p in &known {
            if by_relation.get(&p.relation) != Some(&p) && p.until >= recent {
                from = from.min(p.since);
            }
        }
        if from != NEVER {
            // They know of rows that count no more.
            store::drop_snapshots(m, m.calendar.bucket(from).unwrap_or(i64::MIN));
        }
        let came = now.iter().filter(|p| !known.contains(p));
        for p in came.filter(|p| store::has_rows(p.relation)) {
            from = from.min(p.since);
        }
    }
    store::set_known_partitions(m, &now);
    if from != NEVER {
        store::note_unfolded(m, from);
        place
            .cell
            .mark_dirty(m.calendar.bucket(from).unwrap_or(i64::MIN));
    }
}
