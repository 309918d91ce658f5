//! Buckets and the local calendar. A bucket is numbered from 2000-01-01 00:00 UTC, PostgreSQL's epoch.

use std::cell::Cell;
use std::ffi::CString;

use detector::{Moment, Pace};
use pgrx::pg_sys;

use crate::measure::Measure;
use crate::unguarded;

/// Microseconds in a minute.
pub const MINUTE_US: i64 = 60_000_000;
const QUARTER_US: i64 = 15 * MINUTE_US;
/// Microseconds in an hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;
/// Microseconds in a day of 24 hours.
pub const DAY_US: i64 = 1440 * MINUTE_US;

/// How a monitor's buckets are read: their width, the time zone whose days its seasons follow, what their sums count.
pub struct Calendar {
    /// Width of a bucket, microseconds.
    pub width: i64,
    pub measure: Measure,
    zone: Option<*mut pg_sys::pg_tz>,
    /// Offset of the quarter of an hour last asked for: zones change theirs only between quarters.
    cached: Cell<(i64, i64)>,
}

impl Calendar {
    /// The calendar of a zone; an unknown zone name counts as UTC (watch_table refuses it).
    pub fn new(width: i64, zone: &str, measure: Measure) -> Calendar {
        Calendar {
            width: width.max(1),
            measure,
            zone: find_zone(zone),
            cached: Cell::new((i64::MIN, 0)),
        }
    }

    /// The bucket of a time, or None for infinity.
    #[inline]
    pub fn bucket(&self, time: i64) -> Option<i64> {
        (time != i64::MIN && time != i64::MAX).then(|| time.div_euclid(self.width))
    }

    /// The start of a bucket.
    #[inline]
    pub fn start(&self, bucket: i64) -> i64 {
        bucket.saturating_mul(self.width)
    }

    /// How many whole buckets a span touches, rounded up.
    pub fn buckets_in(&self, span: i64) -> i64 {
        (span.max(0) + self.width - 1).div_euclid(self.width)
    }

    /// Width for the detector.
    pub fn pace(&self) -> Pace {
        Pace {
            minutes: self.width as f64 / MINUTE_US as f64,
        }
    }

    /// Where a bucket lies in the local day and week.
    #[inline]
    pub fn moment(&self, bucket: i64) -> Moment {
        let start = self.start(bucket);
        let local = start.saturating_add(self.offset(start));
        // Of the day that it lies in for the most part: days begin in UTC, and in the evening of the day before elsewhere.
        let day = local.saturating_add(self.width / 2).div_euclid(DAY_US);
        Moment {
            bucket,
            minute: (local.rem_euclid(DAY_US) / MINUTE_US) as u16,
            // Day 0, 2000-01-01, was a Saturday.
            weekend: day.rem_euclid(7) < 2,
        }
    }

    /// What the clock on the wall shows at a time, as a time in UTC.
    pub fn wall(&self, time: i64) -> i64 {
        time.saturating_add(self.offset(time))
    }

    fn offset(&self, time: i64) -> i64 {
        let Some(zone) = self.zone else { return 0 };
        let quarter = time.div_euclid(QUARTER_US);
        let (known, offset) = self.cached.get();
        if known == quarter {
            return offset;
        }
        let mut tz = 0;
        let mut tm = pg_sys::pg_tm::default();
        let mut fsec = 0;
        // SAFETY: plain arithmetic over valid out-pointers and a zone that lives as long as the process.
        let failed = unsafe {
            pg_sys::timestamp2tm(
                time,
                &mut tz,
                &mut tm,
                &mut fsec,
                std::ptr::null_mut(),
                zone,
            )
        };
        let offset = if failed != 0 {
            0
        } else {
            -i64::from(tz) * 1_000_000
        };
        self.cached.set((quarter, offset));
        offset
    }
}

/// The server's zone of a name; None for UTC and for names it does not know.
fn find_zone(name: &str) -> Option<*mut pg_sys::pg_tz> {
    if name.eq_ignore_ascii_case("utc") {
        return None;
    }
    let name = CString::new(name).ok()?;
    // SAFETY: reads the name; the result is cached by the server for the life of the process.
    let zone = unsafe { pg_sys::pg_tzset(name.as_ptr()) };
    (!zone.is_null()).then_some(zone)
}

/// Microseconds of an interval; a month counts 30 days. The longest intervals are longer than an i64 can say.
pub fn span(i: &pgrx::datum::Interval) -> i128 {
    i128::from(i.micros())
        + i128::from(i.days()) * i128::from(DAY_US)
        + i128::from(i.months()) * 30 * i128::from(DAY_US)
}

/// The clock, microseconds from PostgreSQL's epoch.
pub fn now() -> i64 {
    unguarded::now()
}
