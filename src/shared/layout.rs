//! What lies where in the segment. Everything is plain data; what is not atomic is reached only through
//! the lock of its monitor.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use detector::{Ground, Lifecycle, Limits, Ratio, Terms};
use pgrx::pg_sys;

use crate::key::MAX_KEY;
use crate::maintenance::Stretch;
use crate::ratio::Membership;

/// Says "this is ours"; written last by the creator.
pub const MAGIC: u64 = 0x636c_6f75_6477_6d31;
/// Changes with every change of this file or of a state of the detector.
pub const LAYOUT: u32 = 23;
/// Unsealed buckets a series can hold. Lateness and a lagging worker have to fit in.
pub const RING: usize = 32;
/// Monitors of one database.
pub const MONITORS: usize = 64;
/// Ratios of one monitor.
pub const RATIOS: usize = 8;
/// Deltas that can wait while a monitor is being loaded.
pub const QUEUE: usize = 8192;
/// Prepared transactions whose outcome is waited for.
pub const PREPARED: usize = 128;
/// Transactions in progress that a load's snapshot may list.
pub const IN_PROGRESS: usize = 1024;
/// Stretches of maintenance that a monitor knows ahead.
pub const WINDOWS: usize = 16;
/// "No bucket": later than every bucket.
pub const NEVER: i64 = i64::MAX;

/// Nothing is known of the monitor yet.
pub const COLD: u32 = 0;
/// The models are the fold of the table.
pub const LIVE: u32 = 1;

/// Which deviations of a series may alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Above normal only.
    High = 0,
    /// Below normal only.
    Low = 1,
    /// Either.
    Both = 2,
}

impl Direction {
    /// Whether a deviation in this direction (+1, -1) may alert.
    pub fn allows(self, direction: i8) -> bool {
        match self {
            Direction::High => direction > 0,
            Direction::Low => direction < 0,
            Direction::Both => direction != 0,
        }
    }

    /// Whether deviations above, and below, may alert.
    pub fn sides(self) -> (bool, bool) {
        (self.allows(1), self.allows(-1))
    }

    /// The stored form.
    pub fn from_u8(v: u8) -> Direction {
        match v {
            0 => Direction::High,
            1 => Direction::Low,
            _ => Direction::Both,
        }
    }

    /// As written in `rules`.
    pub fn parse(text: &str) -> Option<Direction> {
        match text {
            "high" => Some(Direction::High),
            "low" => Some(Direction::Low),
            "both" => Some(Direction::Both),
            _ => None,
        }
    }
}

/// Counters since the segment was created.
#[repr(C)]
pub struct Stats {
    /// Rows judged.
    pub scored: AtomicU64,
    /// Rows later than the ring.
    pub late: AtomicU64,
    /// Rows dated beyond the tolerance, or at infinity.
    pub rejected: AtomicU64,
    /// Faults caught.
    pub errors: AtomicU64,
    /// When the last was, by the clock; 0 where none was.
    pub erred_at: AtomicI64,
    /// Loads and refolds done.
    pub refolds: AtomicU64,
    /// Deltas that found the queue full.
    pub overflows: AtomicU64,
    /// Buckets sealed.
    pub sealed: AtomicU64,
    /// Rounds of the worker.
    pub rounds: AtomicU64,
    /// Microseconds spent in rounds.
    pub round_us: AtomicU64,
    /// Alerts appended.
    pub alerts: AtomicU64,
}

impl Stats {
    /// Counts a fault.
    pub fn erred(&self) {
        self.erred_at
            .store(crate::calendar::now(), Ordering::Relaxed);
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// A delta waiting for a load to end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Pending {
    pub cell: u32,
    pub slot: u32,
    pub bucket: i64,
    pub sum: i64,
    pub rows: i32,
    pub xid: u32,
}

/// A prepared transaction that touched a monitor.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Prepared {
    pub xid: u32,
    pub cell: u32,
    pub bucket: i64,
}

/// What the queue lock protects.
#[repr(C)]
pub struct Waiting {
    pub pending_len: u32,
    pub prepared_len: u32,
    /// 1: a prepared transaction found no room in the list.
    pub prepared_lost: u32,
    pub pending: [Pending; QUEUE],
    pub prepared: [Prepared; PREPARED],
}

/// Start of the segment.
#[repr(C)]
pub struct Header {
    pub magic: AtomicU64,
    pub layout: u32,
    pub database: u32,
    pub extension: u32,
    pub tranche: i32,
    pub slots: u32,
    pub table: u32,
    /// Slots ever taken; those given back are in a list.
    pub used: AtomicU32,
    /// First slot given back, plus one; and how many there are. Under the directory's lock.
    pub free_slot: AtomicU32,
    pub free_slots: AtomicU32,
    /// Monitors that found no cell.
    pub unplaced: AtomicU32,
    pub lateness: AtomicI64,
    pub future_tolerance: AtomicI64,
    pub sealed_horizon: AtomicI64,
    pub worker_pid: AtomicI32,
    pub worker_latch: AtomicUsize,
    pub worker_asked: AtomicI64,
    pub worker_refused: AtomicU32,
    pub last_round: AtomicI64,
    /// When the worker's round began; 0 between rounds.
    pub round_began: AtomicI64,
    /// When the worker means to look next.
    pub due_at: AtomicI64,
    /// When a heartbeat was last sent.
    pub heartbeat_at: AtomicI64,
    /// Notifications that the worker keeps until the queue has room.
    pub unannounced: AtomicU64,
    /// Notifications that were not sent since the queue had no room; the next heartbeat stands for them.
    pub withheld: AtomicU64,
    pub rules_version: AtomicU64,
    pub stats: Stats,
    pub directory: UnsafeCell<pg_sys::LWLock>,
    pub queue_lock: UnsafeCell<pg_sys::LWLock>,
    pub waiting: UnsafeCell<Waiting>,
    pub cells: [Cell; MONITORS],
}

/// The snapshot that a load folded: who was visible to it must not be added again.
#[repr(C)]
pub struct LoadSnapshot {
    pub xmax: u32,
    pub len: u32,
    pub in_progress: [u32; IN_PROGRESS],
    pub taken_at: i64,
    /// First bucket that was read from the table; earlier ones came with the state the load went on from.
    pub from: i64,
}

/// What the lock of a monitor protects.
#[repr(C)]
pub struct Model {
    /// Changes whenever the monitor was locked for writing: as long as it does not, neither do the models.
    pub epoch: u64,
    /// Last bucket that is folded into the models.
    pub sealed: i64,
    /// Total, blank and presence.
    pub ground: Ground,
    pub ratios: [RatioModel; RATIOS],
    /// The rules that defined `ratios`: a series that does not know them yet has to be told before it is sealed.
    pub ratios_version: u64,
    /// What is heard of the total.
    pub life: Lifecycle,
    pub total_direction: u8,
    pub total_terms: Terms,
    /// Maintenance that ends after `sealed`, in order of time.
    pub windows: [Stretch; WINDOWS],
    pub windows_len: u32,
    /// From this bucket on there may be more than is kept here.
    pub windows_end: i64,
    pub seen: LoadSnapshot,
}

/// The model of one ratio and its rule.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RatioModel {
    /// Number of its definition; 0: none.
    pub id: u64,
    pub min_volume: f64,
    pub ratio: Ratio,
    pub life: Lifecycle,
    pub limits: Limits,
    pub terms: Terms,
    pub direction: u8,
}

/// One monitor.
#[repr(C)]
pub struct Cell {
    pub lock: UnsafeCell<pg_sys::LWLock>,
    /// Id of the monitor; -1 where the cell is free.
    pub id: AtomicI32,
    /// How often the cell was taken away from a monitor; changes under the cell's lock.
    pub generation: AtomicU32,
    pub state: AtomicU32,
    /// 1 while the worker folds the table.
    pub loading: AtomicU32,
    /// What the load under way has taken over from `dirty_from`. Its process may end without a word.
    pub load_from: AtomicI64,
    /// Earliest bucket that the models do not account for; NEVER when they are exact.
    pub dirty_from: AtomicI64,
    /// Earliest bucket that sessions changed which are switched off; NEVER where none did. It becomes dirty later, once for
    /// all of them.
    pub passed_over_from: AtomicI64,
    /// When the first of them committed, by the clock.
    pub passed_over_at: AtomicI64,
    /// Earliest bucket of a committed row that was rejected because it lay in the future.
    pub future_from: AtomicI64,
    /// Earliest bucket that a load found further ahead of what is sealed than the ring reaches.
    pub beyond_from: AtomicI64,
    /// Newest bucket with a committed row; i64::MIN before the first.
    pub newest: AtomicI64,
    /// The same before the table was cleared, where it was.
    pub newest_before: AtomicI64,
    /// Start of the newest bucket whose rows came from a dump; i64::MIN where none did.
    pub quiet_until: AtomicI64,
    /// When something was last merged, by the clock.
    pub touched_at: AtomicI64,
    /// Width of a bucket, microseconds; 0 until the worker has seen the monitor.
    pub width: AtomicI64,
    /// How long after its end a bucket's first row tends to come, microseconds.
    pub delay: AtomicI64,
    /// 1 once a row came in time: from then on the clock moves the frontier too.
    pub follows_clock: AtomicU32,
    /// Counts every change of what a verdict depends on.
    pub version: AtomicU64,
    /// Copy of the model's `sealed`, to be read without the lock.
    pub sealed_hint: AtomicI64,
    /// Counts what was recorded of the monitor, under the lock of rounds.
    pub records: AtomicU64,
    /// What was recorded of the total.
    pub settled_total: Settled,
    /// And of each ratio.
    pub settled_ratios: [Settled; RATIOS],
    /// Version of the rules that the total knows.
    pub total_rules_version: AtomicU64,
    /// First slot of the monitor's list, plus one.
    pub first_slot: AtomicU32,
    /// 1 once a series found no slot: from then on no further one gets a slot, so that each is either a series of its
    /// own all the time or a part of `(other)` all the time.
    pub full: AtomicU32,
    pub rows: [AtomicI64; RING],
    pub sums: [AtomicI64; RING],
    pub model: UnsafeCell<Model>,
}

/// The model of one series and its rule; protected by the monitor's lock.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SlotModel {
    pub series: detector::Model,
    pub life: Lifecycle,
    pub limits: Limits,
    pub terms: Terms,
    /// Bucket of the first row; NEVER before it is sealed.
    pub born: i64,
    pub direction: u8,
    /// The ratios it is part of.
    pub member: Membership,
    pub rules_version: u64,
}

/// One series.
#[repr(C)]
pub struct Slot {
    pub hash: u64,
    pub cell: u32,
    /// Next slot of the monitor, plus one.
    pub next: u32,
    pub key_len: u32,
    pub key: [u8; MAX_KEY],
    pub sums: [AtomicI64; RING],
    pub rows: [AtomicI32; RING],
    /// The bucket that `alarm_above` was computed for.
    pub alarm_bucket: AtomicI64,
    /// A sum above this (bits of an f64) wakes the worker.
    pub alarm_above: AtomicU64,
    pub changed: AtomicU32,
    pub settled: Settled,
    pub model: UnsafeCell<SlotModel>,
}

/// What `alerts` was last brought up to, of one series.
#[repr(C)]
pub struct Settled {
    /// Signature of its incidents; 0 where it had none.
    signature: AtomicU64,
    /// The last bucket sealed then.
    until: AtomicI64,
    /// Incidents until then.
    incidents: AtomicU32,
}

impl Settled {
    /// Nothing yet.
    pub const fn new() -> Settled {
        Settled {
            signature: AtomicU64::new(0),
            until: AtomicI64::new(i64::MIN),
            incidents: AtomicU32::new(0),
        }
    }

    pub fn signature(&self) -> u64 {
        self.signature.load(Ordering::Acquire)
    }

    pub fn sign(&self, signature: u64) {
        self.signature.store(signature, Ordering::Release);
    }

    /// Notes that the incidents of a state are all recorded.
    pub fn reaches(&self, incidents: u32, until: i64) {
        self.incidents.store(incidents, Ordering::Release);
        self.until.store(until, Ordering::Release);
    }

    /// Where more incidents came than a state remembers: the bucket from which on the table has to be asked.
    pub fn lost(&self, incidents: u32) -> Option<i64> {
        // The last one that was told of may have gone on, so it has to be remembered too.
        let known = self.incidents.load(Ordering::Acquire).saturating_sub(1);
        let forgotten = incidents.saturating_sub(detector::REMEMBERED as u32);
        (forgotten > known).then(|| self.until.load(Ordering::Acquire).saturating_add(1))
    }

    fn reset(&self) {
        self.sign(0);
        self.reaches(0, i64::MIN);
    }
}

// SAFETY: the segment is shared between processes; every field is atomic, constant after creation, or
// reached only under its LWLock.
unsafe impl Sync for Header {}
unsafe impl Sync for Cell {}
unsafe impl Sync for Slot {}

/// A cell as it was given to a monitor: worth nothing once the cell was taken away again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    pub cell: u32,
    pub generation: u32,
}

/// Place of a bucket in a ring.
#[inline]
pub fn place(bucket: i64) -> usize {
    bucket.rem_euclid(RING as i64) as usize
}

impl Model {
    /// The maintenance known.
    pub fn windows(&self) -> &[Stretch] {
        &self.windows[..(self.windows_len as usize).min(WINDOWS)]
    }

    /// Keeps as much maintenance as there is room for.
    pub fn keep_windows(&mut self, windows: &[Stretch]) {
        let n = windows.len().min(WINDOWS);
        self.windows[..n].copy_from_slice(&windows[..n]);
        self.windows_len = n as u32;
        self.windows_end = windows.get(n).map_or(NEVER, |w| w.0);
    }
}

impl Cell {
    /// As a cell is that nobody has used. Its lock is held, or nobody knows of it yet.
    pub fn clear(&self, model: &mut Model) {
        self.state.store(COLD, Ordering::Release);
        self.loading.store(0, Ordering::Release);
        self.dirty_from.store(NEVER, Ordering::Release);
        self.load_from.store(NEVER, Ordering::Release);
        self.passed_over_from.store(NEVER, Ordering::Release);
        self.future_from.store(NEVER, Ordering::Release);
        self.beyond_from.store(NEVER, Ordering::Release);
        self.newest.store(i64::MIN, Ordering::Release);
        self.newest_before.store(i64::MIN, Ordering::Release);
        self.sealed_hint.store(i64::MIN, Ordering::Release);
        self.quiet_until.store(i64::MIN, Ordering::Release);
        for counter in [&self.touched_at, &self.width, &self.delay] {
            counter.store(0, Ordering::Release);
        }
        self.follows_clock.store(0, Ordering::Release);
        self.settled_total.reset();
        self.settled_ratios.iter().for_each(Settled::reset);
        self.total_rules_version.store(0, Ordering::Release);
        self.first_slot.store(0, Ordering::Release);
        self.full.store(0, Ordering::Release);
        for r in self.rows.iter().chain(&self.sums) {
            r.store(0, Ordering::Release);
        }
        model.sealed = i64::MIN;
        model.ground = Ground::new();
        model.ratios = [RatioModel::NONE; RATIOS];
        model.ratios_version = 0;
        model.life = Lifecycle::new();
        model.total_direction = Direction::Low as u8;
        model.total_terms = Terms::BUILT_IN;
        model.keep_windows(&[]);
        model.seen.xmax = 0;
    }

    /// Learns how far behind the clock a stream runs, from the first row of a new bucket. A feed that brings
    /// each minute some minutes late is not late each time.
    pub fn note_delay(&self, bucket: i64, now: i64) {
        let width = self.width.load(Ordering::Relaxed);
        let delay = now.saturating_sub(bucket.saturating_add(1).saturating_mul(width));
        // Further behind it is history being loaded, not a stream.
        if width == 0 || delay > width.saturating_mul(RING as i64 / 2) {
            return;
        }
        let known = self.delay.load(Ordering::Relaxed);
        let next = delay.max(known - known / 16).max(0);
        self.delay.store(next, Ordering::Relaxed);
    }

    /// Notes that the models do not account for something at or after a bucket.
    pub fn mark_dirty(&self, from: i64) {
        self.dirty_from.fetch_min(from, Ordering::AcqRel);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether sessions that are switched off changed something that is not accounted for.
    pub fn is_behind(&self) -> bool {
        self.passed_over_from.load(Ordering::Acquire) != NEVER
    }
}

impl Slot {
    /// The series' key.
    pub fn key(&self) -> &[u8] {
        &self.key[..(self.key_len as usize).min(MAX_KEY)]
    }
}
