//! Copies of series that a backend keeps from one transaction to the next.
//!
//! A single-row INSERT is judged by a copy of its series that was stepped through the buckets not sealed yet. Its
//! next one, of the same minute, would copy and step the same again; unless something else was committed to those
//! buckets, or the models changed, the copy still holds. What it is made of is compared, so that the answer is the
//! same with it and without.

use crate::key;
use crate::shared::Seat;

/// Copies of one backend: at most so many, of some 3 KB each.
const PLACES: usize = 64;

struct Entry<T> {
    seat: Seat,
    key: Vec<u8>,
    copy: Box<T>,
}

/// At most one copy a place; a series has its place by its key.
pub struct Kept<T> {
    entries: Vec<Option<Entry<T>>>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Kept {
            entries: Vec::new(),
        }
    }
}

fn place(seat: Seat, key: &[u8]) -> usize {
    key::hash(seat.cell as i32, key) as usize % PLACES
}

impl<T> Kept<T> {
    /// Takes out the copy of a series.
    pub fn take(&mut self, seat: Seat, key: &[u8]) -> Option<Box<T>> {
        if self.entries.is_empty() {
            self.entries.resize_with(PLACES, || None);
        }
        let entry = self.entries.get_mut(place(seat, key))?;
        let found = entry.take_if(|e| e.seat == seat && e.key == key)?;
        Some(found.copy)
    }

    /// Keeps a copy, in place of another where there is one. Called at the end of a transaction: allocates nothing,
    /// so that a copy is dropped where none was ever asked for.
    pub fn put(&mut self, seat: Seat, key: Vec<u8>, copy: Box<T>) {
        if let Some(entry) = self.entries.get_mut(place(seat, &key)) {
            *entry = Some(Entry { seat, key, copy });
        }
    }
}
