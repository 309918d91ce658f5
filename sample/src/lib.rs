//! Transactions per minute and status, as a payment company sees them: seeded, so that they can be made again, and
//! with incidents whose truth is known.
//!
//! ```
//! use sample::{Incident, IncidentKind, Stream};
//!
//! let midnight = sample::calendar::parse("2025-07-14").unwrap();
//! let storm = Incident::new(IncidentKind::DeclineStorm, midnight + 15 * 60);
//! let stream = Stream::new(1).start(midnight).days(1).incident(storm);
//! let denied: i32 = stream.rows().filter(|row| row.status == "denied").map(|row| row.count).sum();
//! assert!(denied > 6_000);
//! assert_eq!(stream.labels()[0].status, "denied");
//! ```
//!
//! Every count is a function of seed, profile, status, minute and the incidents of that minute, and of nothing else:
//! two days made apart are the two days made together, and adding an incident changes no other minute.

pub mod calendar;
mod incident;
mod noise;
mod profile;
mod sale;
mod stream;
mod text;

pub use incident::{eventful_day, Direction, Incident, IncidentKind, Label, TOTAL};
pub use profile::{Profile, STATUSES};
pub use sale::Sale;
pub use stream::{Row, Rows, Stream};
pub use text::{write_copy, write_csv};
