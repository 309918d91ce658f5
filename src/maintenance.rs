//! Maintenance: stretches of buckets that page nobody and teach nothing. They are left out of the fold, as if there
//! were no data.

use crate::calendar::Calendar;

/// From the first bucket through the last.
pub type Stretch = (i64, i64);

/// The stretch that a time range touches, given as start (included) and end (not).
pub fn stretch(calendar: &Calendar, from: i64, to: i64) -> Stretch {
    (
        from.div_euclid(calendar.width),
        (to - 1).div_euclid(calendar.width),
    )
}

/// Stretches in order of time, those that touch joined.
pub fn joined(mut list: Vec<Stretch>) -> Vec<Stretch> {
    list.sort_unstable();
    let mut out: Vec<Stretch> = Vec::with_capacity(list.len());
    for (first, last) in list {
        match out.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

/// The last bucket of the stretch that a bucket lies in.
pub fn end_of(windows: &[Stretch], bucket: i64) -> Option<i64> {
    let n = windows.partition_point(|w| w.1 < bucket);
    windows.get(n).filter(|w| w.0 <= bucket).map(|w| w.1)
}

/// The last bucket that can be folded without a look at maintenance, from one that is not in it.
pub fn clear_through(windows: &[Stretch], bucket: i64) -> i64 {
    let n = windows.partition_point(|w| w.1 < bucket);
    windows.get(n).map_or(i64::MAX, |w| w.0 - 1)
}
