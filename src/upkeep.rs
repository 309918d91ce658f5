//! What a round by hand does of the worker's other work where no worker runs: states are stored, old alerts go,
//! a heartbeat is sent.

use std::sync::atomic::Ordering;

use crate::calendar::{self, DAY_US};
use crate::round::{self, Place};
use crate::shared::Segment;
use crate::{delivery, keeping, settings, store};

/// Batches of old alerts that one call deletes at most.
const BATCHES: usize = 10;

/// The settings that triggers read from shared memory, as the server's configuration has them now.
pub fn take_settings(segment: Segment) {
    let h = segment.header();
    h.lateness.store(settings::lateness(), Ordering::Relaxed);
    h.future_tolerance
        .store(settings::future_tolerance(), Ordering::Relaxed);
    h.sealed_horizon
        .store(settings::sealed_horizon(), Ordering::Relaxed);
}

/// Does it, in the caller's transaction.
pub fn by_hand(segment: Segment, places: &[Place], horizon: i64) {
    store::forget_unreadable();
    for place in places {
        segment.forget_snapshot(place.cell, calendar::now());
        store_states(place);
    }
    let before = calendar::now().saturating_sub(settings::retention());
    let mut after = Some(0);
    for _ in 0..BATCHES {
        let Some(id) = after else { break };
        after = store::prune_alerts(before, horizon, id);
    }
    store::prune_silences(before);
    delivery::beat_by_hand(segment, calendar::now());
}

/// Once a day of the data, where the worker does it once an hour.
fn store_states(place: &Place) {
    let m = place.monitor;
    let sealed = place.cell.sealed_hint.load(Ordering::Acquire);
    if sealed == i64::MIN {
        return;
    }
    let day = |b: i64| m.calendar.start(b).div_euclid(DAY_US);
    // The first are stored by the load that reads a second day.
    let stored = store::newest_snapshot(m);
    if stored.is_some_and(|b| day(b) < day(sealed)) {
        if let Some(states) = round::capture_shared(place) {
            keeping::store(m, &[states]);
        }
    }
}
