//! Creating, finding and attaching the segment, and its directory of series.
//!
//! No preload and no restart is needed: the segment is dynamic shared memory, pinned, and its handle is
//! kept in a small file beside the server's other temporary statistics. The file names the start of the
//! postmaster, so that a handle of a former life is never taken for a live one.

use std::cell::{Cell as StdCell, UnsafeCell};
use std::sync::atomic::Ordering;

use detector::{Lifecycle, Limits, Terms};
use pgrx::pg_sys;

use super::layout::*;
use crate::ratio::Membership;
use crate::{fault, key, monitor, settings, unguarded};

/// In place of a cell in slots that were given back.
const NO_CELL: u32 = u32::MAX;

/// A mapped segment. Valid for the life of the process: the mapping is pinned.
#[derive(Clone, Copy)]
pub struct Segment {
    base: *mut u8,
}

thread_local! {
    static ATTACHED: StdCell<Option<(u32, Segment)>> = const { StdCell::new(None) };
    /// After a failure, no new attempt before this time.
    static NOT_BEFORE: StdCell<i64> = const { StdCell::new(0) };
}

const LOCK_SPACE: u16 = 0xC1D0;
/// Lock under which `alerts` is appended to.
pub const LOCK_APPEND: u32 = 1;
/// Lock of one round of the monitor.
pub const LOCK_ROUND: u32 = 2;

/// A heavyweight lock of this extension in this database, held to the end of the transaction.
pub fn transaction_lock(purpose: u32, wait: bool) -> bool {
    let tag = tag(purpose);
    // SAFETY: a complete lock tag in the advisory space, with a private field4.
    let got = unsafe { pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, false, !wait) };
    got != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

fn tag(purpose: u32) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: set at connection start, constant afterwards.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: 0,
        locktag_field3: purpose,
        locktag_field4: LOCK_SPACE,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

/// The segment if this process has it already; does nothing that could fail.
pub fn attached() -> Option<Segment> {
    ATTACHED.get().map(|(_, s)| s)
}

/// The segment of the extension in this database, created where there is none.
pub fn attach(extension: pg_sys::Oid) -> Option<Segment> {
    let extension = extension.to_u32();
    if let Some((known, segment)) = ATTACHED.get() {
        if known == extension {
            return Some(segment);
        }
    }
    // SAFETY: reads a flag of the server. A standby inserts nothing; it becomes a primary with no models.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return None;
    }
    let now = crate::calendar::now();
    if now < NOT_BEFORE.get() {
        return None;
    }
    match fault::contained(|| find_or_create(extension)) {
        Ok(Some(segment)) => {
            ATTACHED.set(Some((extension, segment)));
            Some(segment)
        }
        Ok(None) => {
            NOT_BEFORE.set(now + 1_000_000);
            None
        }
        Err(message) => {
            NOT_BEFORE.set(now + 10_000_000);
            fault::once("no shared memory for the models", message);
            None
        }
    }
}

/// What the names of the files begin with that say where a segment is; database and extension follow.
pub(super) const HANDLES: &str = "pg_stat_tmp/cloudwalk_monitor.";

fn file(database: u32, extension: u32) -> String {
    format!("{HANDLES}{database}.{extension}")
}

fn this_database() -> u32 {
    // SAFETY: constant after connection start.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

fn stored_handle(database: u32, extension: u32) -> Option<pg_sys::dsm_handle> {
    let text = std::fs::read_to_string(file(database, extension)).ok()?;
    let (start, handle) = text.trim().split_once(' ')?;
    // SAFETY: set by the postmaster before this process began.
    (start.parse::<i64>().ok()? == unsafe { pg_sys::PgStartTime })
        .then(|| handle.parse().ok())
        .flatten()
}

/// What the stored handle leads to.
enum Found {
    Nothing,
    Ours(Segment),
    /// Made by a library with another layout: neither read nor replaced, since its users go on with it.
    Foreign,
}

fn find(extension: u32) -> Found {
    let Some(handle) = stored_handle(this_database(), extension) else {
        return Found::Nothing;
    };
    // SAFETY: attaching an unknown handle answers NULL; the mapping is pinned before it is used.
    unsafe {
        let mut dsm = pg_sys::dsm_find_mapping(handle);
        if dsm.is_null() {
            dsm = pg_sys::dsm_attach(handle);
            if dsm.is_null() {
                return Found::Nothing;
            }
            pg_sys::dsm_pin_mapping(dsm);
        }
        let segment = Segment {
            base: pg_sys::dsm_segment_address(dsm).cast(),
        };
        // The first fields, up to the layout, are the same in every layout.
        let h = segment.header();
        if h.magic.load(Ordering::Acquire) != MAGIC {
            return Found::Nothing;
        }
        if h.layout != LAYOUT {
            return Found::Foreign;
        }
        if h.database != pg_sys::MyDatabaseId.to_u32() || h.extension != extension {
            return Found::Nothing;
        }
        pg_sys::LWLockRegisterTranche(h.tranche, c"CloudwalkMonitor".as_ptr());
        Found::Ours(segment)
    }
}

fn find_or_create(extension: u32) -> Option<Segment> {
    match find(extension) {
        Found::Ours(s) => return Some(s),
        Found::Foreign => return foreign(),
        Found::Nothing => {}
    }
    let tag = tag(extension);
    // SAFETY: the lock is released below, and by the transaction's end if an error comes first.
    unsafe {
        pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, false, false);
        let segment = match find(extension) {
            Found::Ours(s) => Some(s),
            Found::Foreign => foreign(),
            Found::Nothing => create(extension),
        };
        pg_sys::LockRelease(&tag, pg_sys::ExclusiveLock as i32, false);
        segment
    }
}

fn foreign() -> Option<Segment> {
    fault::once(
        "the library was exchanged under a running server",
        "The shared memory of the models was laid out by another version. Restart the server."
            .into(),
    );
    None
}

/// Creates the segment. A smaller one is tried where the machine has not enough shared memory.
unsafe fn create(extension: u32) -> Option<Segment> {
    let mut size = settings::shared_memory();
    let least = std::mem::size_of::<Header>() + 64 * std::mem::size_of::<Slot>();
    let mut dsm: *mut pg_sys::dsm_segment = std::ptr::null_mut();
    while dsm.is_null() {
        size = size.max(least);
        let attempt = fault::contained(|| {
            let made = pg_sys::dsm_create(size, pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32);
            if !made.is_null() {
                // Before the subtransaction ends, which would detach it.
                pg_sys::dsm_pin_mapping(made);
                pg_sys::dsm_pin_segment(made);
            }
            made as usize
        });
        match attempt {
            Ok(0) => return None,
            Ok(p) => dsm = p as *mut pg_sys::dsm_segment,
            Err(message) if size == least => {
                fault::once("no shared memory for the models", message);
                return None;
            }
            Err(_) => size /= 2,
        }
    }
    let handle = pg_sys::dsm_segment_handle(dsm);
    let base: *mut u8 = pg_sys::dsm_segment_address(dsm).cast();
    // Fresh shared memory reads as zeros; only what starts otherwise is written.
    let room = size - std::mem::size_of::<Header>() - 16;
    // The table takes 2 to 4 entries a slot.
    let slots = room / (std::mem::size_of::<Slot>() + 4 * std::mem::size_of::<u32>());
    let table = (slots * 2).next_power_of_two();
    let header = &mut *base.cast::<Header>();
    let tranche = pg_sys::LWLockNewTrancheId();
    pg_sys::LWLockRegisterTranche(tranche, c"CloudwalkMonitor".as_ptr());
    header.layout = LAYOUT;
    header.database = pg_sys::MyDatabaseId.to_u32();
    header.extension = extension;
    header.tranche = tranche;
    header.slots = slots as u32;
    header.table = table as u32;
    header
        .lateness
        .store(settings::lateness(), Ordering::Relaxed);
    header
        .future_tolerance
        .store(settings::future_tolerance(), Ordering::Relaxed);
    header
        .sealed_horizon
        .store(settings::sealed_horizon(), Ordering::Relaxed);
    header.rules_version.store(1, Ordering::Relaxed);
    pg_sys::LWLockInitialize(header.directory.get(), tranche);
    pg_sys::LWLockInitialize(header.queue_lock.get(), tranche);
    for cell in &header.cells {
        pg_sys::LWLockInitialize(cell.lock.get(), tranche);
        cell.id.store(-1, Ordering::Relaxed);
        cell.clear(&mut *cell.model.get());
    }
    header.magic.store(MAGIC, Ordering::Release);
    let (started, pid) = (pg_sys::PgStartTime, pg_sys::MyProcPid);
    let text = format!("{started} {handle}");
    let name = file(this_database(), extension);
    let draft = format!("{name}.{pid}");
    let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &name));
    if let Err(e) = written {
        pg_sys::dsm_unpin_segment(handle);
        fault::once(
            "the handle of the shared memory cannot be stored",
            e.to_string(),
        );
        return None;
    }
    Some(Segment { base })
}

/// Unpins the segment of an extension that is gone: its memory is free once the last session that knew it ends.
pub(super) fn let_go(database: u32, extension: u32) {
    let handle = stored_handle(database, extension);
    // Whoever removes the file is the one who unpins.
    if std::fs::remove_file(file(database, extension)).is_ok() {
        if let Some(handle) = handle {
            // SAFETY: a handle of this life of the server, pinned when its file was written.
            unsafe { pg_sys::dsm_unpin_segment(handle) };
        }
    }
}

/// A lock held; released when it goes out of scope.
pub struct Held(*mut pg_sys::LWLock);

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: acquired by `hold` in this process. After an error the server has released all.
        unsafe { unguarded::unlock(self.0) };
    }
}

pub fn hold(lock: &UnsafeCell<pg_sys::LWLock>, exclusive: bool) -> Held {
    let mode = if exclusive {
        pg_sys::LWLockMode::LW_EXCLUSIVE
    } else {
        pg_sys::LWLockMode::LW_SHARED
    };
    // SAFETY: an initialised lock in pinned shared memory.
    unsafe { unguarded::lock(lock.get(), mode) };
    Held(lock.get())
}

/// A monitor's models, readable.
pub struct Reading<'a> {
    segment: Segment,
    pub cell: &'a Cell,
    _held: Held,
}

impl Reading<'_> {
    /// The monitor's own part.
    pub fn model(&self) -> &Model {
        // SAFETY: the lock is held at least shared, nobody writes.
        unsafe { &*self.cell.model.get() }
    }
    /// A series' part.
    pub fn slot(&self, slot: u32) -> &SlotModel {
        // SAFETY: as above; a slot belongs to one cell.
        unsafe { &*self.segment.slot(slot).model.get() }
    }
}

/// A monitor's models, writable.
pub struct Writing<'a> {
    segment: Segment,
    pub cell: &'a Cell,
    _held: Held,
}

impl Writing<'_> {
    /// The monitor's own part.
    pub fn model(&mut self) -> &mut Model {
        // SAFETY: the lock is held exclusively, and the borrow of self keeps it single in this process.
        unsafe { &mut *self.cell.model.get() }
    }
    /// A series' part.
    pub fn slot(&mut self, slot: u32) -> &mut SlotModel {
        // SAFETY: as above.
        unsafe { &mut *self.segment.slot(slot).model.get() }
    }
    /// Both at once: they are different memory.
    pub fn parts(&mut self, slot: u32) -> (&mut Model, &mut SlotModel) {
        // SAFETY: as above; the monitor's part and a slot never overlap.
        unsafe {
            (
                &mut *self.cell.model.get(),
                &mut *self.segment.slot(slot).model.get(),
            )
        }
    }
}

impl Segment {
    /// The header.
    #[inline]
    pub fn header(&self) -> &'static Header {
        // SAFETY: mapped and pinned for the life of the process.
        unsafe { &*self.base.cast::<Header>() }
    }

    /// Lets the memory go when its last user ends.
    pub fn unpin(&self) {
        let h = self.header();
        h.magic.store(0, Ordering::Release);
        let_go(h.database, h.extension);
    }

    #[inline]
    fn table(&self) -> &'static [std::sync::atomic::AtomicU32] {
        let h = self.header();
        // SAFETY: the table follows the header and has `table` entries, counted in at creation.
        unsafe {
            std::slice::from_raw_parts(
                self.base.add(std::mem::size_of::<Header>()).cast(),
                h.table as usize,
            )
        }
    }

    #[inline]
    fn slot_at(&self, slot: u32) -> *mut Slot {
        let h = self.header();
        let offset = std::mem::size_of::<Header>() + h.table as usize * 4;
        let offset = (offset + 15) & !15;
        debug_assert!(slot < h.slots);
        // SAFETY: slots follow the table; the number is below `slots` for everybody who got it from here.
        unsafe {
            self.base
                .add(offset + slot as usize * std::mem::size_of::<Slot>())
                .cast::<Slot>()
        }
    }

    /// A series' slot.
    #[inline]
    pub fn slot(&self, slot: u32) -> &'static Slot {
        // SAFETY: mapped and pinned for the life of the process; written only while nobody can reach it.
        unsafe { &*self.slot_at(slot) }
    }

    /// The cells in use.
    pub fn cells(&self) -> impl Iterator<Item = (u32, &'static Cell)> {
        self.header()
            .cells
            .iter()
            .enumerate()
            .filter(|(_, c)| c.id.load(Ordering::Acquire) >= 0)
            .map(|(i, c)| (i as u32, c))
    }

    /// The cell of a monitor, taken into use where it is new. None when all are taken.
    pub fn cell(&self, id: i32) -> Option<(u32, &'static Cell)> {
        if let Some(found) = self
            .cells()
            .find(|(_, c)| c.id.load(Ordering::Acquire) == id)
        {
            return Some(found);
        }
        let _held = hold(&self.header().directory, true);
        if let Some(found) = self
            .cells()
            .find(|(_, c)| c.id.load(Ordering::Acquire) == id)
        {
            return Some(found);
        }
        let cells = &self.header().cells;
        let free = cells
            .iter()
            .position(|c| c.id.load(Ordering::Acquire) == -1)?;
        cells[free].id.store(id, Ordering::Release);
        Some((free as u32, &cells[free]))
    }

    /// The cell of a monitor, to be asked for again where it does not hold any more.
    pub fn seat(&self, id: i32) -> Option<Seat> {
        let (n, cell) = self.cell(id)?;
        let seat = Seat {
            cell: n,
            generation: cell.generation.load(Ordering::Acquire),
        };
        // Read after the generation: a cell that was given to another meanwhile is not taken for its own.
        (cell.id.load(Ordering::Acquire) == id).then_some(seat)
    }

    /// Whether a monitor has its cell still. Under the cell's lock it stays so.
    pub fn holds(&self, seat: Seat) -> bool {
        let cell = &self.header().cells[seat.cell as usize];
        cell.generation.load(Ordering::Acquire) == seat.generation
    }

    /// The slots of a monitor.
    pub fn slots_of(&self, cell: &Cell) -> SlotsOf {
        SlotsOf {
            segment: *self,
            next: cell.first_slot.load(Ordering::Acquire),
        }
    }

    /// Locks a monitor for reading.
    pub fn read<'a>(&self, cell: &'a Cell) -> Reading<'a> {
        Reading {
            segment: *self,
            _held: hold(&cell.lock, false),
            cell,
        }
    }

    /// Locks a monitor for writing.
    pub fn write<'a>(&self, cell: &'a Cell) -> Writing<'a> {
        let mut held = Writing {
            segment: *self,
            _held: hold(&cell.lock, true),
            cell,
        };
        let model = held.model();
        model.epoch = model.epoch.wrapping_add(1);
        held
    }

    fn probe(&self, cell: u32, hash: u64, key: &[u8]) -> Result<u32, usize> {
        let table = self.table();
        let mask = table.len() - 1;
        let mut i = hash as usize & mask;
        loop {
            match table[i].load(Ordering::Acquire) {
                0 => return Err(i),
                n => {
                    let s = self.slot(n - 1);
                    if s.hash == hash && s.cell == cell && s.key() == key {
                        return Ok(n - 1);
                    }
                }
            }
            i = (i + 1) & mask;
        }
    }

    /// The slot of a series, if it has one.
    pub fn find_slot(&self, cell: u32, key: &[u8]) -> Option<u32> {
        let id = self.header().cells[cell as usize]
            .id
            .load(Ordering::Acquire);
        let _held = hold(&self.header().directory, false);
        self.probe(cell, key::hash(id, key), key).ok()
    }

    /// Takes a slot for a series that has none, as `probe` says. None when there is no room. The directory's lock is
    /// held.
    fn take_slot(&self, seat: Seat, key: &[u8], hash: u64, at: usize) -> Option<u32> {
        let owner = &self.header().cells[seat.cell as usize];
        let id = owner.id.load(Ordering::Acquire);
        let n = self.unused_slot()?;
        // SAFETY: the slot is in no monitor's list and not in the table, so nobody else can reach it.
        let slot = unsafe { &mut *self.slot_at(n) };
        slot.hash = hash;
        slot.cell = seat.cell;
        slot.key_len = key.len() as u32;
        slot.key[..key.len()].copy_from_slice(key);
        slot.sums = Default::default();
        slot.rows = Default::default();
        slot.alarm_bucket = i64::MIN.into();
        slot.alarm_above = 0.into();
        slot.changed = 0.into();
        slot.settled = Settled::new();
        *slot.model.get_mut() = SlotModel {
            series: detector::Model::new(),
            life: Lifecycle::new(),
            limits: Limits::NONE,
            terms: Terms::BUILT_IN,
            born: NEVER,
            direction: monitor::default_direction(id, key) as u8,
            member: Membership::default(),
            rules_version: 0,
        };
        slot.next = owner.first_slot.load(Ordering::Acquire);
        owner.first_slot.store(n + 1, Ordering::Release);
        self.table()[at].store(n + 1, Ordering::Release);
        Some(n)
    }

    fn unused_slots(&self) -> u32 {
        let h = self.header();
        h.slots - h.used.load(Ordering::Acquire) + h.free_slots.load(Ordering::Acquire)
    }

    /// A slot that was given back, or else one that was never used. The directory's lock is held.
    fn unused_slot(&self) -> Option<u32> {
        let h = self.header();
        if let Some(n) = h.free_slot.load(Ordering::Acquire).checked_sub(1) {
            h.free_slot.store(self.slot(n).next, Ordering::Release);
            h.free_slots.fetch_sub(1, Ordering::AcqRel);
            return Some(n);
        }
        let n = h.used.load(Ordering::Acquire);
        (n < h.slots).then(|| {
            h.used.store(n + 1, Ordering::Release);
            n
        })
    }
}

/// Walks the slots of a monitor.
pub struct SlotsOf {
    segment: Segment,
    next: u32,
}

impl Iterator for SlotsOf {
    type Item = (u32, &'static Slot);
    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        let n = self.next - 1;
        let slot = self.segment.slot(n);
        self.next = slot.next;
        Some((n, slot))
    }
}

impl Segment {
    /// The slot of a series, taken into use where it is new; that of `(other)` where all are taken. None where the seat
    /// is lost.
    pub fn place_series(&self, seat: Seat, key: &[u8]) -> Option<u32> {
        if let Some(found) = self.find_slot(seat.cell, key) {
            return Some(found);
        }
        let header = self.header();
        let owner = &header.cells[seat.cell as usize];
        let _held = hold(&header.directory, true);
        // Cells are taken away under this lock.
        if !self.holds(seat) {
            return None;
        }
        let id = owner.id.load(Ordering::Acquire);
        let place = |key: &[u8], has_room: bool| {
            let hash = key::hash(id, key);
            match self.probe(seat.cell, hash, key) {
                Ok(found) => Some(found),
                Err(at) if has_room => self.take_slot(seat, key, hash, at),
                Err(_) => None,
            }
        };
        // Some are left for `(other)` of each monitor.
        let has_room = key == key::OTHER_KEY
            || owner.full.load(Ordering::Acquire) == 0 && self.unused_slots() > self.kept_back();
        place(key, has_room).or_else(|| {
            owner.full.store(1, Ordering::Release);
            header.stats.overflows.fetch_add(1, Ordering::Relaxed);
            place(key::OTHER_KEY, true)
        })
    }

    /// Whether a series has a slot of its own, taken into use where it is new; else it is a part of `(other)`.
    pub fn gives_place(&self, seat: Seat, key: &[u8]) -> bool {
        let slot = self.place_series(seat, key);
        slot.is_some_and(|n| self.slot(n).key() == key)
    }

    /// The key under which a series is counted: its own, or that of `(other)` where there was no room for it.
    pub fn counted_as<'k>(&self, cell: u32, key: &'k [u8]) -> &'k [u8] {
        let full = &self.header().cells[cell as usize].full;
        if full.load(Ordering::Acquire) == 0 || self.find_slot(cell, key).is_some() {
            key
        } else {
            key::OTHER_KEY
        }
    }

    /// Slots that are kept for `(other)` of monitors that have none yet, those to come included.
    fn kept_back(&self) -> u32 {
        let has_other = |n: u32, c: &Cell| {
            let id = c.id.load(Ordering::Acquire);
            let hash = key::hash(id, key::OTHER_KEY);
            self.probe(n, hash, key::OTHER_KEY).is_ok()
        };
        let others = self.cells().filter(|(n, c)| has_other(*n, c)).count() as u32;
        (MONITORS as u32)
            .min(self.header().slots / 4)
            .saturating_sub(others)
    }

    /// Takes their cells and slots away from monitors that are watched no more. No round may be under way:
    /// the caller is the worker with the lock of rounds, or has that lock while no worker is alive.
    pub fn retire_cells(&self, watched: &[i32]) {
        for (n, cell) in self.cells() {
            if !watched.contains(&cell.id.load(Ordering::Acquire)) {
                self.retire(n, cell);
            }
        }
    }

    fn retire(&self, n: u32, cell: &Cell) {
        let h = self.header();
        let _directory = hold(&h.directory, true);
        let mut w = self.write(cell);
        // From here on transactions that had this seat find that it does not hold.
        cell.generation.fetch_add(1, Ordering::AcqRel);
        self.forget_waiting(n);
        let mut next = cell.first_slot.load(Ordering::Acquire);
        while let Some(s) = next.checked_sub(1) {
            // SAFETY: a slot is reached through the directory or its monitor's list, under the locks held here.
            let slot = unsafe { &mut *self.slot_at(s) };
            next = slot.next;
            slot.cell = NO_CELL;
            slot.next = h.free_slot.load(Ordering::Acquire);
            h.free_slot.store(s + 1, Ordering::Release);
            h.free_slots.fetch_add(1, Ordering::AcqRel);
        }
        cell.clear(w.model());
        self.rebuild_table();
        cell.id.store(-1, Ordering::Release);
    }

    /// Enters all slots anew: from an open addressing table nothing can simply be taken out.
    fn rebuild_table(&self) {
        let table = self.table();
        for entry in table {
            entry.store(0, Ordering::Release);
        }
        for n in 0..self.header().used.load(Ordering::Acquire) {
            let s = self.slot(n);
            if s.cell != NO_CELL {
                if let Err(at) = self.probe(s.cell, s.hash, s.key()) {
                    table[at].store(n + 1, Ordering::Release);
                }
            }
        }
    }
}
