//! The part of a monitor that belongs to no single series: its total, and whether there is data.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::family::Model;
use crate::incident::Incident;
use crate::judgement::Judgement;
use crate::moment::{Moment, Pace};
use crate::sensitivity::Sensitivity;
use crate::volume::{Part, Sums, Volume};

/// Absent buckets in a row after which nothing is folded any more: a week of minutes.
pub const SILENT_MAX: u32 = 10_080;
/// Surprise of an empty bucket to the total from which absence says that data is missing, not that
/// every count was zero.
const MISSING: f64 = 3.0;

/// The total of a monitor, and the presence of its data.
///
/// A bucket in which no series has a row is *absent*. Whether its counts were zero or the data is
/// missing, only the total can tell: where it would not be surprised by an empty bucket (at night)
/// the counts were zero; where it would, nothing is known of the series, and the total alone reads
/// zero and so opens the incident that reports the silence. While that is open nothing is folded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ground {
    /// The sum of all series.
    pub total: Model,
    /// What a series would be that had only zeros: a series first seen now is a copy of it.
    pub blank: Model,
    /// The last bucket sealed; `i64::MIN` before the first one present.
    pub sealed: i64,
    /// Absent buckets in a row, up to `sealed`.
    pub absent: u32,
    pub(crate) spare: u32,
    /// What all series held together, bucket by bucket.
    pub volume: Volume,
}

/// What sealing a bucket gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sealing {
    /// A series without a row reads zero in this bucket; where false it has no data.
    pub counted: bool,
    /// How the total was judged, where it was folded.
    pub total: Option<Judgement>,
    /// Which totals would have been normal, where this one was not.
    pub bounds: Option<Bounds>,
    /// Buckets before it that were passed over in an open silence, and the last of them.
    pub silent: (u32, i64),
}

impl Sealing {
    /// Nothing is known of the bucket, nor of the total.
    pub const NOTHING: Sealing = Sealing {
        counted: false,
        total: None,
        bounds: None,
        silent: (0, i64::MIN),
    };
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

impl Ground {
    /// A monitor that has seen nothing.
    pub const fn new() -> Ground {
        Ground {
            total: Model::new(),
            blank: Model::new(),
            sealed: i64::MIN,
            absent: 0,
            spare: 0,
            volume: Volume::NEW,
        }
    }

    /// Folds the total over one bucket. `rows` is whether any series of the monitor has a row in
    /// it, `sum` their sum. To be called for each bucket in order; before the first present bucket
    /// nothing happens.
    pub fn seal(&mut self, at: Moment, rows: bool, sum: f64, pace: Pace) -> Sealing {
        self.seal_under(at, rows, sum, pace, &Sensitivity::BUILT_IN)
    }

    /// The same; the bounds of a reading that is not normal are those under a sensitivity.
    pub fn seal_under(
        &mut self,
        at: Moment,
        rows: bool,
        sum: f64,
        pace: Pace,
        sensitivity: &Sensitivity,
    ) -> Sealing {
        if rows {
            let silent = self.pass_over(at.bucket.saturating_sub(1));
            self.sealed = at.bucket;
            self.absent = 0;
            let (total, bounds) = self.total.step_bounded(sum, at, pace, sensitivity);
            return Sealing {
                counted: true,
                total: Some(total),
                bounds,
                silent,
            };
        }
        if self.sealed == i64::MIN {
            return Sealing::NOTHING;
        }
        if self.idle() {
            let silent = self.pass_over(at.bucket);
            return Sealing {
                silent,
                ..Sealing::NOTHING
            };
        }
        self.sealed = at.bucket;
        self.absent = self.absent.saturating_add(1);
        let (total, bounds) = self.total.step_bounded(0.0, at, pace, sensitivity);
        let counted = total.surprise_towards(-1) < MISSING;
        Sealing {
            counted,
            total: Some(total),
            bounds,
            silent: (0, i64::MIN),
        }
    }

    /// To be called after the series were folded over the same bucket.
    pub fn close(&mut self, at: Moment, sealing: &Sealing, pace: Pace) {
        if sealing.counted {
            self.blank.step(0.0, at, pace);
        }
    }

    /// Notes the [parts](Model::part) of all series in a bucket that counted, and gives what each of them is then
    /// to [note](Model::note_volume).
    pub fn carry(&mut self, parts: Part) -> Sums {
        self.volume.put(parts);
        self.volume.sums()
    }

    /// Whether further absent buckets change nothing, so that they may be skipped: before the first
    /// present bucket, while silence is reported, and after [`SILENT_MAX`] absent buckets in a row.
    pub fn idle(&self) -> bool {
        self.sealed == i64::MIN || self.absent > SILENT_MAX || self.is_silent()
    }

    /// Passes over the absent buckets up to this one, while [`idle`](Ground::idle). Nothing is folded; an open
    /// incident of silence counts them. To do it in one step or in several is the same. Gives how many buckets counted
    /// as silent, and the last of them.
    pub fn pass_over(&mut self, through: i64) -> (u32, i64) {
        if self.sealed == i64::MIN || through <= self.sealed {
            return (0, self.sealed);
        }
        let last = through.min(self.silent_through());
        let silent = (last - self.sealed).max(0) as u32;
        if silent > 0 {
            self.total.stay_silent(silent, last);
        }
        let passed = through.saturating_sub(self.sealed);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.absent = self.absent.saturating_add(passed);
        self.sealed = through;
        (silent, last)
    }

    /// Leaves out the buckets up to this one: nobody is to be told of them, and nothing learned. They are no silence
    /// either; an incident goes on after them.
    pub fn leave_out(&mut self, through: i64) {
        if self.sealed != i64::MIN {
            self.sealed = self.sealed.max(through);
        }
    }

    /// The last bucket that counts as silent if no row comes: a week of minutes after the last present one. The
    /// last one sealed where no silence is reported.
    pub fn silent_through(&self) -> i64 {
        if self.is_silent() {
            let left = SILENT_MAX.saturating_sub(self.absent);
            self.sealed.saturating_add(i64::from(left))
        } else {
            self.sealed
        }
    }

    /// Whether the total has an open incident of silence. (One on the low side that has met no empty
    /// bucket yet is not enough: it has not reported that nothing comes.)
    fn is_silent(&self) -> bool {
        self.total.open_incident().is_some_and(Incident::is_silence)
    }
}
