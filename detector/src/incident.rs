//! When an incident opens, goes on and ends.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::judgement::{Channel, Judgement, Verdict};

/// Surprise, in decades, from which a reading is not normal.
pub const OPEN: f64 = 5.0;
/// Surprise from which one reading opens an incident by itself.
pub const EXTREME: f64 = 6.3;

/// Surprise below which a reading is quiet. While an incident is open, one on its side that is not quiet
/// is part of it.
pub const QUIET: f64 = 2.0;
/// Quiet readings in a row after which an incident is resolved.
const QUIET_READINGS: u32 = 8;
/// Readings in a row that surprise the other way, after which a young incident is resolved.
const FLIPS: u32 = 3;
/// Readings after which an incident is old: the level it froze is stale.
pub(crate) const STALE: u32 = 120;
/// Readings after which what an incident shows is the new level.
const ACCEPT: u32 = 480;
/// The same on the first days of a kind (the first weekend).
const ACCEPT_NEW_KIND: u32 = 180;

/// How many incidents a series remembers.
pub const REMEMBERED: usize = 4;

/// One incident of one series. Plain data: no field has a forbidden value.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Bucket in which it opened; `i64::MIN` where there is no incident.
    pub opened: i64,
    /// Last bucket that was not normal, on the incident's side.
    pub last_seen: i64,
    /// Bucket in which it ended; `i64::MAX` while open.
    pub resolved: i64,
    /// 1 more than expected, -1 less.
    pub direction: i8,
    /// The worst [`Verdict`] so far, as a number.
    pub severity: u8,
    /// The [`Channel`] that opened it, as a number.
    pub channel: u8,
    /// 0 open, 1 resolved, 2 accepted as the new level.
    pub closing: u8,
    /// Buckets that were not normal, on the incident's side.
    pub buckets: u32,
    /// Those among them that were empty: a reading of zero.
    pub empty: u32,
    /// Buckets the channel that opened it covered, see [`Judgement::span`].
    pub span: u32,
    /// The reading that opened it, counts.
    pub observed: f64,
    /// What was expected of that reading.
    pub expected: f64,
    /// Least normal count when it opened, see [`Bounds`].
    pub lower: f64,
    /// Greatest normal count when it opened.
    pub upper: f64,
    /// Surprise at opening, decades.
    pub surprise: f64,
    /// What was seen over the span. Of a fixed limit: the reading.
    pub span_observed: f64,
    /// What was expected over the span. Of a fixed limit: the limit.
    pub span_expected: f64,
    /// The furthest reading so far on the incident's side: the highest, or the lowest.
    pub peak_observed: f64,
    /// What was expected of it.
    pub peak_expected: f64,
    /// The greatest surprise so far, decades; not always that of the furthest reading.
    pub peak_surprise: f64,
}

/// The latest of the incidents that are remembered, of which there were so many.
pub(crate) fn latest(recent: &[Incident; REMEMBERED], count: u32) -> Option<&Incident> {
    let last = count.checked_sub(1)?;
    recent.get(last as usize % REMEMBERED)
}

/// The one that goes on, if one does.
pub(crate) fn open_one(recent: &mut [Incident; REMEMBERED], count: u32) -> Option<&mut Incident> {
    let last = count.checked_sub(1)?;
    let incident = recent.get_mut(last as usize % REMEMBERED)?;
    incident.is_open().then_some(incident)
}

impl Incident {
    /// No incident.
    pub const NONE: Incident = Incident {
        opened: i64::MIN,
        last_seen: i64::MIN,
        resolved: i64::MAX,
        direction: 0,
        severity: 0,
        channel: Channel::None as u8,
        closing: 0,
        buckets: 0,
        empty: 0,
        span: 0,
        observed: 0.0,
        expected: 0.0,
        lower: 0.0,
        upper: 0.0,
        surprise: 0.0,
        span_observed: 0.0,
        span_expected: 0.0,
        peak_observed: 0.0,
        peak_expected: 0.0,
        peak_surprise: 0.0,
    };

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.opened != i64::MIN && self.closing == 0
    }

    /// Whether it is about nothing coming at all: it opened on an empty bucket where there should
    /// have been something, or has come to one since (an outage rarely begins with a minute). This
    /// is what the total of a monitor alerts on.
    pub fn is_silence(&self) -> bool {
        self.direction < 0 && self.empty > 0
    }

    /// Whether it ended because it had become the new level.
    pub fn is_accepted(&self) -> bool {
        self.closing == Closing::Accepted as u8
    }

    /// The worst verdict so far.
    pub fn verdict(&self) -> Verdict {
        Verdict::from_u8(self.severity)
    }

    /// An incident opened by this judgement.
    pub(crate) fn opened_by(j: &Judgement, x: f64, bounds: Bounds, bucket: i64) -> Incident {
        Incident {
            opened: bucket,
            last_seen: bucket,
            direction: j.direction,
            severity: j.verdict() as u8,
            channel: j.channel as u8,
            buckets: 1,
            empty: u32::from(x == 0.0),
            span: j.span,
            observed: x,
            expected: j.expected,
            lower: bounds.lower,
            upper: bounds.upper,
            surprise: j.surprise,
            span_observed: j.span_observed,
            span_expected: j.span_expected,
            peak_observed: x,
            peak_expected: j.expected,
            peak_surprise: j.surprise,
            ..Incident::NONE
        }
    }

    /// A later reading of an open incident.
    pub(crate) fn goes_on(&mut self, j: &Judgement, x: f64, bucket: i64) {
        if j.direction != self.direction || j.verdict() < Verdict::Warning {
            return;
        }
        self.last_seen = bucket;
        self.buckets = self.buckets.saturating_add(1);
        self.empty = self.empty.saturating_add(u32::from(x == 0.0));
        self.severity = self.severity.max(j.verdict() as u8);
        self.peak_surprise = self.peak_surprise.max(j.surprise);
        self.peak_by(x, j.expected);
    }

    /// Takes a reading for the peak where it lies further out than the peak so far.
    pub fn peak_by(&mut self, observed: f64, expected: f64) {
        let direction = f64::from(self.direction);
        if observed * direction > self.peak_observed * direction {
            self.peak_observed = observed;
            self.peak_expected = expected;
        }
    }

    /// Silence that nothing is learned of: buckets without data up to `last`.
    pub(crate) fn stay_silent(&mut self, buckets: u32, last: i64) {
        self.last_seen = last;
        self.buckets = self.buckets.saturating_add(buckets);
        self.empty = self.empty.saturating_add(buckets);
    }

    /// It ends in this bucket.
    pub(crate) fn close(&mut self, closing: Closing, bucket: i64) {
        self.resolved = bucket;
        self.closing = closing as u8;
    }

    pub(crate) fn is_finite(&self) -> bool {
        [
            self.observed,
            self.expected,
            self.lower,
            self.upper,
            self.surprise,
            self.span_observed,
            self.span_expected,
            self.peak_observed,
            self.peak_expected,
            self.peak_surprise,
        ]
        .iter()
        .all(|v| v.is_finite())
    }
}

/// How an incident ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Closing {
    /// It is over.
    Resolved = 1,
    /// It has lasted so long that it is the new level.
    Accepted = 2,
}

/// What a reading means for the incidents of its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Nothing,
    Opens,
    Closes(Closing),
}

/// Decides when an incident opens and ends.
///
/// It opens at once at [`EXTREME`] or when a sustained channel reaches [`OPEN`], else at the second
/// reading in a row beyond [`OPEN`] on one side. It is owned by the shortest channel that has
/// spoken, and resolved when that one has been quiet for 8 readings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Readings since the open incident opened.
    age: u32,
    /// Quiet readings in a row.
    quiet: u32,
    /// Readings in a row that surprise the other way.
    flips: u32,
    /// Side of the open incident, 0 where none is open.
    direction: i8,
    /// The shortest channel that has spoken in it.
    owner: u8,
    /// While none is open: the side on which the reading before surprised.
    hit: i8,
    spare: u8,
}

impl Watch {
    pub const NEW: Watch = Watch {
        age: 0,
        quiet: 0,
        flips: 0,
        direction: 0,
        owner: 0,
        hit: 0,
        spare: 0,
    };

    pub fn is_open(&self) -> bool {
        self.direction != 0
    }

    pub fn direction(&self) -> f64 {
        f64::from(self.direction.signum())
    }

    pub fn age(&self) -> u32 {
        self.age
    }

    /// Number of the shortest channel that has spoken in the open incident.
    pub fn owner(&self) -> u8 {
        self.owner
    }

    /// Takes a judgement. `new_kind`: this time of day was seen before, but on no such day. `elsewhere`: the readings have
    /// not come back to where they were before.
    pub fn observe(&mut self, j: &Judgement, new_kind: bool, elsewhere: bool) -> Event {
        if self.is_open() {
            self.observe_open(j, new_kind, elsewhere)
        } else {
            self.observe_closed(j)
        }
    }

    fn observe_closed(&mut self, j: &Judgement) -> Event {
        let before = self.hit;
        let hit = j.surprise >= OPEN;
        self.hit = if hit { j.direction } else { 0 };
        let again = hit && before == j.direction;
        let opens = j.surprise >= EXTREME || again || (hit && j.channel.is_sustained());
        if !opens || j.direction == 0 {
            return Event::Nothing;
        }
        *self = Watch {
            direction: j.direction,
            owner: j.channel as u8,
            ..Watch::NEW
        };
        Event::Opens
    }

    fn observe_open(&mut self, j: &Judgement, new_kind: bool, elsewhere: bool) -> Event {
        self.age = self.age.saturating_add(1);
        let towards = j.channels.map(|signed| signed * self.direction());
        if let Some(spoke) = towards[..4].iter().position(|&s| s >= OPEN) {
            self.owner = self.owner.min(spoke as u8);
        }
        let five = towards[Channel::Five as usize].max(0.0);
        let loudest = match Channel::from_u8(self.owner) {
            Channel::Five => five,
            Channel::Twenty => five.max(towards[Channel::Twenty as usize]),
            Channel::Long => five.max(towards[Channel::Long as usize]),
            _ => five.max(towards[Channel::Point as usize]),
        };
        let is_quiet = loudest < QUIET && !elsewhere;
        self.quiet = if is_quiet {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        let flips = is_quiet
            && j.surprise >= OPEN
            && j.direction != self.direction
            && !j.channel.is_sustained();
        self.flips = if flips {
            self.flips.saturating_add(1)
        } else {
            0
        };

        if self.quiet >= QUIET_READINGS || (self.age < STALE && self.flips >= FLIPS) {
            Event::Closes(Closing::Resolved)
        } else if self.age >= if new_kind { ACCEPT_NEW_KIND } else { ACCEPT } {
            Event::Closes(Closing::Accepted)
        } else {
            Event::Nothing
        }
    }

    /// Whether the last reading was quiet in the open incident.
    pub fn is_quiet(&self) -> bool {
        self.quiet > 0
    }

    /// The open incident is over.
    pub fn close(&mut self) {
        *self = Watch::NEW;
    }
}
