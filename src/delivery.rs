//! How alerts are announced. What a round of the worker records is announced in a transaction of its own, right
//! after the one that recorded it. NOTIFY holds a lock of the whole server until its transaction is over, and one
//! that wrote an alert may have to wait for a standby: together they would stop every other NOTIFY of the server.
//! The queue of notifications is shared by all databases too; its last part is left to others.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use serde_json::{json, Value};

use crate::payload::fit;
use crate::shared::{self, Segment};
use crate::{notices, settings, store};

/// Notifications that are kept while the queue has no room. Those that come later are not sent one by one: a
/// heartbeat then tells listeners that `alerts` has more.
const KEPT: usize = 1_000;

/// What the worker has yet to announce.
#[derive(Default)]
struct Outbox {
    /// Of the transaction that goes on.
    recorded: Vec<String>,
    /// Of those that have committed.
    ready: Vec<String>,
    /// What the transaction that goes on sends.
    sending: Option<Sending>,
}

struct Sending {
    /// So many of those that are ready.
    ready: usize,
    /// The heartbeat that goes out stands for so many that were withheld.
    withheld: u64,
    /// When the heartbeat that goes out was due, if one was.
    heartbeat: Option<i64>,
}

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
    static OUTBOX: RefCell<Outbox> = RefCell::new(Outbox::default());
}

/// From now on this process announces in transactions of their own: it calls `settle` after each transaction, and
/// `flush` when something `is_due`.
pub fn set_apart() {
    IS_WORKER.set(true);
}

/// Announces a payload on the channel, if alerts are to be announced and the queue has room.
pub fn announce(payload: &Value) {
    let Some(channel) = settings::channel() else {
        return;
    };
    let text = fit(payload.clone()).to_string();
    if IS_WORKER.get() {
        OUTBOX.with_borrow_mut(|o| o.recorded.push(text));
    } else if queue_has_room() {
        store::pg_notify(&channel, &text);
    } else if let Some(s) = shared::attached() {
        // The worker's next heartbeat stands for it.
        s.header().withheld.fetch_add(1, Ordering::AcqRel);
    }
}

fn queue_has_room() -> bool {
    store::queue_usage() < settings::queue_limit()
}

/// A transaction of the worker has ended.
pub fn settle(segment: Option<Segment>, committed: bool) {
    OUTBOX.with_borrow_mut(|o| {
        let mut recorded = std::mem::take(&mut o.recorded);
        let sending = o.sending.take();
        let Some(h) = segment.map(|s| s.header()) else {
            return;
        };
        match sending {
            Some(sent) if committed => {
                o.ready.drain(..sent.ready);
                if let Some(at) = sent.heartbeat {
                    h.heartbeat_at.store(at, Ordering::Release);
                }
            }
            Some(unsent) => {
                h.withheld.fetch_add(unsent.withheld, Ordering::AcqRel);
            }
            None => {}
        }
        if committed {
            let fitting = recorded.len().min(KEPT - o.ready.len());
            o.ready.extend(recorded.drain(..fitting));
            h.withheld
                .fetch_add(recorded.len() as u64, Ordering::AcqRel);
        }
        h.unannounced.store(o.ready.len() as u64, Ordering::Release);
    });
}

/// Microseconds until a heartbeat is due, negative where it is late; None: there is to be none.
pub fn next_heartbeat(segment: Segment, now: i64) -> Option<i64> {
    let interval = settings::heartbeat_us();
    if interval == 0 || settings::channel().is_none() {
        return None;
    }
    let last = segment.header().heartbeat_at.load(Ordering::Acquire);
    Some(last.saturating_add(interval).saturating_sub(now))
}

/// Whether there is something to send.
pub fn is_due(segment: Segment, now: i64) -> bool {
    OUTBOX.with_borrow(|o| !o.ready.is_empty())
        || segment.header().withheld.load(Ordering::Acquire) > 0
        || next_heartbeat(segment, now).is_some_and(|us| us <= 0)
}

/// Sends what waits, and a heartbeat if one is due, in the transaction that goes on, which does nothing else.
/// False: the queue has no room.
pub fn flush(segment: Segment, now: i64) -> bool {
    let h = segment.header();
    let Some(channel) = settings::channel() else {
        // Switched off since those were recorded.
        h.withheld.store(0, Ordering::Release);
        OUTBOX.with_borrow_mut(|o| o.ready.clear());
        return true;
    };
    if !queue_has_room() {
        return false;
    }
    let ready = OUTBOX.with_borrow(|o| o.ready.clone());
    let due = next_heartbeat(segment, now).is_some_and(|us| us <= 0);
    let withheld = h.withheld.swap(0, Ordering::AcqRel);
    h.unannounced.store(0, Ordering::Release);
    OUTBOX.with_borrow_mut(|o| {
        o.sending = Some(Sending {
            ready: ready.len(),
            withheld,
            heartbeat: due.then_some(now),
        });
    });
    for text in &ready {
        store::pg_notify(&channel, text);
    }
    if due || withheld > 0 {
        store::pg_notify(&channel, &fit(heartbeat(now)).to_string());
    }
    true
}

/// A heartbeat where no worker sends one, if it is due, in the caller's transaction.
pub fn beat_by_hand(segment: Segment, now: i64) {
    let h = segment.header();
    let Some(channel) = settings::channel() else {
        return;
    };
    let due = next_heartbeat(segment, now).is_some_and(|us| us <= 0);
    let withheld = h.withheld.load(Ordering::Acquire);
    if (due || withheld > 0) && queue_has_room() {
        // Should this transaction roll back, the next heartbeat is an interval late.
        h.withheld.fetch_sub(withheld, Ordering::AcqRel);
        h.heartbeat_at.store(now, Ordering::Release);
        store::pg_notify(&channel, &fit(heartbeat(now)).to_string());
    }
}

/// Says that somebody is alive, and how far `alerts` has come: a listener that is behind reads it.
fn heartbeat(now: i64) -> Value {
    json!({
        "v": 1,
        "event": "heartbeat",
        "time": notices::iso(now),
        "interval": settings::heartbeat_us() as f64 / 1e6,
        "database": store::database_name(),
        "last_alert": store::last_alert(),
        "status": store::health_status(),
    })
}
