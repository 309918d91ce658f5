//! The statistics of `cloudwalk_monitor`: a streaming detector for counts and values.
//!
//! A [`Series`] is one count per bucket of time: how many `denied` in the minute. It is read once,
//! in order, with a state of fixed size and without looking ahead: each reading is judged against
//! what the earlier ones foretell and is learned afterwards. What a judgement says is *surprise*:
//! `S = -log10 P`, the decades of improbability of a reading at least this extreme, under a
//! negative binomial law whose mean and dispersion the series has learned itself.
//!
//! ```
//! use detector::{Moment, Pace, Series, Verdict};
//!
//! let pace = Pace { minutes: 1.0 };
//! let mut denied = Series::new();
//! for bucket in 0..240 {
//!     let at = Moment { bucket, minute: bucket as u16, weekend: false };
//!     denied.step([6.0, 4.0, 9.0, 5.0, 7.0][bucket as usize % 5], at, pace);
//! }
//! let burst = denied.step(31.0, Moment { bucket: 240, minute: 240, weekend: false }, pace);
//! assert_eq!(burst.verdict(), Verdict::Critical);
//! assert!(denied.open_incident().is_some());
//! ```
//!
//! A [`Values`] does the same for readings that are no counts, and a [`Model`] is either: it chooses
//! its family from its own readings, and chooses again where they change.
//!
//! The crate knows nothing of PostgreSQL, allocates nothing per reading, and does not panic, whatever
//! it is given.
//!
//! | module | holds |
//! |---|---|
//! | [`moment`] | where a bucket lies in the calendar, how wide it is |
//! | [`judgement`] | what judging a reading gives: verdict, channel, surprise |
//! | [`tail`] | tail probabilities of the negative binomial law |
//! | `elementary` | logarithms and exponentials of our own, several at once |
//! | `dispersion`, `level`, `season`, `window` | what a series learns: spread, levels and trend, the day's shape, the last 21 readings |
//! | `outlook` | what all of that foretells of the next reading, and how a reading is judged by it |
//! | `clump` | whether what is counted comes in groups |
//! | `hour` | jobs: what a minute of the hour holds beyond the level |
//! | `witness` | what the other kind of day says, while this one is young |
//! | `habit` | how often a series surprises: what comes every hour is no surprise |
//! | [`series`] | the state of a series: advance, judge, learn |
//! | [`bounds`] | which counts would be normal |
//! | [`value`] | the family of values |
//! | [`family`] | the choice between counts and values |
//! | [`incident`] | when an incident of a series opens, goes on and ends: what it learns by |
//! | [`lifecycle`] | the incidents people hear of: terms, reopening, flapping |
//! | [`limit`] | fixed limits, beside the statistics |
//! | [`ratio`] | a part of a whole, under a beta-binomial law |
//! | [`ground`] | the total of a monitor and the presence of its data |
//! | [`volume`] | a series beside the others of its monitor |
//! | [`sensitivity`] | what a rule asks before it speaks |
//! | [`score`](mod@score) | surprise as 0 to 100 |
//! | [`reason`](mod@reason) | the same numbers in words |
//! | [`snapshot`] | states as bytes, and back |

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod bounds;
mod clump;
mod dispersion;
mod edge;
mod elementary;
pub mod family;
pub mod ground;
mod habit;
mod hour;
pub mod incident;
pub mod judgement;
mod level;
pub mod lifecycle;
pub mod limit;
pub mod moment;
mod outlook;
pub mod ratio;
pub mod reason;
pub mod score;
mod season;
pub mod sensitivity;
pub mod series;
pub mod snapshot;
pub mod tail;
pub mod value;
pub mod volume;
mod window;
mod witness;

pub use bounds::Bounds;
pub use family::{Family, Model};
pub use ground::{Ground, Sealing, SILENT_MAX};
pub use incident::{Incident, EXTREME, OPEN, QUIET, REMEMBERED};
pub use judgement::{Channel, Judgement, Verdict};
pub use lifecycle::{Alarm, Lifecycle, Own, Terms, Told};
pub use limit::Limits;
pub use moment::{Moment, Pace};
pub use ratio::Ratio;
pub use reason::{reason, reason_of_share, ReasonInput};
pub use score::score;
pub use sensitivity::Sensitivity;
pub use series::{Foretelling, Series, LARGEST};
pub use snapshot::StateError;
pub use value::{ValueJudgement, Values};
pub use volume::{Part, Sums, Volume};
