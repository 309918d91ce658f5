//! Values: rates, amounts, latencies, and counts too large or too ragged for the count family.
//!
//! Nothing is assumed of their law. A [`Values`] looks at a reading in five ways; each way is a
//! *channel*, a residual with its own history:
//!
//! | channel | residual |
//! |---|---|
//! | [`Look::Level`] | the reading less the level of the last 80 readings |
//! | [`Look::Hour`] | the reading less what is usual at this hour of this kind of day |
//! | [`Look::ShortLevel`] | the mean of the last 40 minutes less the level |
//! | [`Look::ShortHour`] | the mean over 40 minutes of the reading less what is usual at its hour |
//! | [`Look::Drift`] | the mean of ten readings, each less what was foretold of it |
//!
//! How surprising a residual is, is asked twice. Its *severity* compares it with the typical one, by
//! a Student tail; its *rarity* with all sizes so far, as a generalised Pareto law. Severity alone
//! cries at every spike of a spiky series, and rarity alone goes deaf where a tenth of all readings
//! is anomalous, so both must agree. What both find surprising is then looked up in a *memory of
//! sizes*: of a size that was seen twelve times in three thousand readings, the surprise is that,
//! and not the one in ten million that a fitted tail says.
//!
//! The two looks at the reading itself speak by their mean, the two at 40 minutes mostly by the
//! louder one; a drift is heard where nine of its ten readings lie on one side. The loudest is the
//! surprise of the reading, in decades. A *governor* says which readings become alerts: it asks more
//! of a series that has alerted much. It touches no score and no verdict.
//!
//! An *incident* opens with a reading that the governor lets through. It is over after five hours
//! without such a reading (60 readings at most), or after three in a row on the other side. After
//! eight hours (between 8 and 480 readings) it is accepted: the level is what the short mean shows,
//! and that side is not reported again before it has been quiet for long. The level follows all the
//! time, within some 80 readings, so a trend does not alert for ever. What an incident does not teach
//! is its size: the memory counts it once.
//!
//! Every look is at the size of a residual: a fall is as surprising as a rise.

mod channel;
mod drift;
mod governor;
mod hours;
mod judgement;
mod life;
mod outlook;
mod pareto;
mod scale;
mod sizes;
mod state;
mod tuning;

pub use judgement::{Look, ValueJudgement, LOOKS};
pub use state::Values;
pub use tuning::Tuning;
