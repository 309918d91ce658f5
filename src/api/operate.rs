//! `run_monitor`, and the start of the worker.

use std::sync::atomic::Ordering;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use super::{may_write, segment};
use crate::fault::raise;
use crate::round::{self, Place};
use crate::{calendar, notices, overlay, partitions, shared, store, upkeep};

/// One round by hand.
#[pg_extern(sql = false)]
fn run_monitor(at: TimestampWithTimeZone) -> i32 {
    let at = store::micros(at);
    if at == i64::MIN {
        raise(
            PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW,
            "a round cannot be run at -infinity".into(),
            "It is to see what has happened by then.".into(),
            "run_monitor() is one of now.",
        );
    }
    let at = at.min(calendar::now());
    if !may_write() {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "a round cannot be run in a read-only transaction".into(),
            "It records alerts.".into(),
            "Run it on the primary. detect_anomalies reads on a standby too.",
        );
    }
    // SAFETY: reads a setting of the transaction.
    if unsafe { pg_sys::XactIsoLevel } > pg_sys::XACT_READ_COMMITTED as i32 {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "a round needs isolation level READ COMMITTED".into(),
            "It has to see what has committed by now.".into(),
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;",
        );
    }
    let Some(s) = segment() else {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "there is no shared memory for the models".into(),
            "It could not be created or attached.".into(),
            "See the server log, and cloudwalk_monitor.shared_memory.",
        )
    };
    shared::transaction_lock(shared::LOCK_ROUND, true);
    round::look_at_prepared(s);
    let horizon = calendar::now().saturating_sub(store::configured_alert_horizon());
    let monitors = store::monitors();
    let h = s.header();
    if h.worker_pid.load(Ordering::Acquire) == 0 {
        upkeep::take_settings(s);
        s.retire_cells(&monitors.iter().map(|m| m.id).collect::<Vec<_>>());
    }
    let places: Vec<Place> = monitors.iter().filter_map(|m| Place::of(s, m)).collect();
    let unplaced = monitors.len() - places.len();
    h.unplaced.store(unplaced as u32, Ordering::Release);
    let mut loads = Vec::new();
    for place in &places {
        if place.cell.state.load(Ordering::Acquire) == shared::LIVE {
            let (rules, _) = round::rules_of(place);
            if round::ratios_are_stale(place, &rules) {
                round::define_ratios(place, &rules);
            }
        }
        // SAFETY: reads the transaction state. A load needs a transaction that has not written.
        let clean = unsafe { pg_sys::GetTopTransactionIdIfAny() } == pg_sys::InvalidTransactionId;
        place.catch_up();
        if place.needs_load() && clean {
            round::adopt_prepared(s, place.seat.cell);
            // The first load after a restart is for the verdicts.
            let loaded = round::load(place).or_else(|| round::load(place));
            if let Some(l) = &loaded {
                // Should this transaction roll back, nobody else would record it.
                overlay::with(|o| o.has_loaded(place.monitor.id, l.from));
            }
            loads.push(loaded);
        } else {
            loads.push(None);
        }
    }
    let mut added = 0;
    for (place, loaded) in places.iter().zip(loads) {
        if let Some(l) = loaded {
            added += round::record_load(place, &l, horizon);
        }
        let (rules, version) = round::rules_of(place);
        if round::rules_are_stale(place) {
            round::apply_rules(place, &rules, version);
        }
        place.seal(at);
        if let Some(changes) = round::survey(place, &rules) {
            if !changes.is_empty() {
                let recorded = round::record_changes(place, &rules, &changes, horizon);
                added += recorded.map_or(0, |(n, _)| n);
                // This transaction may yet roll back: the next survey must see the same again.
                for (_, slot) in s.slots_of(place.cell) {
                    slot.changed.store(1, Ordering::Release);
                }
            }
        }
        added += notices::tick(place.monitor).0;
    }
    if h.worker_pid.load(Ordering::Acquire) == 0 {
        h.stats.rounds.fetch_add(1, Ordering::Relaxed);
        h.last_round.store(calendar::now(), Ordering::Release);
        upkeep::by_hand(s, &places, horizon);
    }
    places.iter().for_each(partitions::notice);
    added as i32
}

/// Has the worker look for monitors and rules once this commits.
#[pg_extern(sql = false)]
fn start_monitor() {
    if segment().is_some() {
        overlay::with(|o| o.rules_changed());
    }
}
