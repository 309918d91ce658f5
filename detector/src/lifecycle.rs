//! When an anomaly of a series becomes an incident that people hear of, and when that is over.
//!
//! A [`Series`](crate::Series) has incidents of its own: they decide what it learns, and no rule changes them. A
//! [`Lifecycle`] stands beside it and decides what is said: by the judgements of the series, by
//! fixed limits, and by the terms of a rule. It too is a pure function of the readings.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::family::Family;
use crate::ground::{Ground, Sealing};
use crate::incident::{Closing, Incident, Watch, EXTREME, OPEN, REMEMBERED};
use crate::judgement::{Channel, Judgement, Verdict};
use crate::limit::{Broken, Limits};
use crate::sensitivity::Sensitivity;
use crate::series::LARGEST;

/// Normal readings in a row after which an incident is resolved, where no rule says otherwise.
pub const RESOLVE_AFTER: u32 = 5;
/// Times an incident may be reopened before it counts as flapping.
pub const FLAPS: u32 = 3;
/// Of the last three readings, so many warnings open an incident where no rule says otherwise.
const WARNINGS: u32 = 2;
const WARNINGS_WITHIN: u32 = 3;
/// Readings a rule can look back over.
pub const LONGEST_WITHIN: u32 = 30;

/// What a rule asks of an incident, in readings.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// An incident opens when so many ... 0: one critical reading, one of a sustained channel, one that breaks a
    /// fixed limit, or two warnings of three.
    pub open_after: u32,
    /// ... of so many readings are a warning or worse, on one side. At most [`LONGEST_WITHIN`].
    pub open_within: u32,
    /// It is resolved after so many normal readings in a row. 0: [`RESOLVE_AFTER`].
    pub resolve_after: u32,
    /// When it returns within so many buckets of its end, it is the same incident.
    pub reopen_within: u32,
    /// How unlikely and how far from what is expected a reading has to be.
    pub sensitivity: Sensitivity,
}

impl Terms {
    /// What holds where no rule says otherwise: resolved incidents stay resolved.
    pub const BUILT_IN: Terms = Terms {
        open_after: 0,
        open_within: 0,
        resolve_after: 0,
        reopen_within: 0,
        sensitivity: Sensitivity::BUILT_IN,
    };

    fn resolve_after(&self) -> u32 {
        if self.resolve_after == 0 {
            RESOLVE_AFTER
        } else {
            self.resolve_after
        }
    }

    /// Quiet readings after which an incident that flaps is over: it has to be stable first.
    fn stable_after(&self) -> u32 {
        self.resolve_after()
            .saturating_mul(2)
            .max(self.reopen_within)
    }
}

/// An incident that people hear of.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// Its figures, from its first opening to its last end.
    pub incident: Incident,
    /// Bucket in which it was last reopened; `i64::MIN` where it never was.
    pub reopened: i64,
    /// Bucket since which it flaps; `i64::MIN` where it does not.
    pub flapping: i64,
    /// How often it was reopened since it was last stable.
    pub reopenings: u32,
    spare: u32,
}

impl Alarm {
    /// No incident.
    pub const NONE: Alarm = Alarm {
        incident: Incident::NONE,
        reopened: i64::MIN,
        flapping: i64::MIN,
        reopenings: 0,
        spare: 0,
    };

    fn of(incident: Incident) -> Alarm {
        Alarm {
            incident,
            ..Alarm::NONE
        }
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.incident.is_open()
    }

    /// Whether it opens and ends so often that only its coming to rest is worth a word.
    pub fn is_flapping(&self) -> bool {
        self.flapping != i64::MIN
    }
}

/// A reading as the lifecycle is told of it.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// The reading, counts.
    pub x: f64,
    /// Its bucket.
    pub bucket: i64,
    /// What the series said of it.
    pub judgement: &'a Judgement,
    /// Which counts would have been normal; needed where the judgement is not.
    pub bounds: Option<Bounds>,
    /// The incident that the model has of its own, the reading learned.
    pub own: Own,
    /// Whether the statistics may speak above (the first) and below what is expected.
    pub allowed: (bool, bool),
    /// Fixed limits; they speak on either side.
    pub limits: &'a Limits,
    /// Whether the reading is no whole number: a share of a whole, or a value.
    pub share: bool,
}

/// What the incident that a model has of its own says of the reading last learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its side; 0 where there is none.
    pub direction: i8,
    /// Whether the reading was quiet in the channel that the incident is owned by, whatever sums still say of what came
    /// before; or it ended with the reading.
    pub calm: bool,
    /// Whether it ended with the reading because it had become the normal level.
    pub accepted: bool,
}

impl Own {
    /// The model has no incident.
    pub const NONE: Own = Own {
        direction: 0,
        calm: false,
        accepted: false,
    };

    /// After the reading of a bucket.
    pub(crate) fn of(watch: &Watch, last: Option<&Incident>, bucket: i64) -> Own {
        Own::after((watch.direction() as i8, watch.is_quiet()), last, bucket)
    }

    /// The same, given the side of the open incident (0: none is) and whether it was quiet.
    pub(crate) fn after(open: (i8, bool), last: Option<&Incident>, bucket: i64) -> Own {
        let ended = last.filter(|i| !i.is_open() && i.resolved == bucket);
        match ended {
            _ if open.0 != 0 => Own {
                direction: open.0,
                calm: open.1,
                accepted: false,
            },
            Some(i) => Own {
                direction: i.direction,
                calm: true,
                accepted: i.is_accepted(),
            },
            None => Own::NONE,
        }
    }
}

/// One side of a series.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Side {
    /// Of the last readings, which were not normal; the newest is the lowest bit.
    hits: u32,
    /// Normal readings in a row.
    quiet: u32,
}

/// The incidents of one series that people hear of: one at a time on each side.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// The latest incidents: incident `k` (from 0) is at `k % 4`.
    pub recent: [Alarm; REMEMBERED],
    /// Incidents opened so far; to be reopened is not to be opened.
    pub incidents: u32,
    above: Side,
    below: Side,
    spare: u32,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

/// What one side hears of a reading.
struct Heard {
    verdict: Verdict,
    /// What counts for opening an incident: the governor of a noisy series has a say.
    opening: Verdict,
    surprise: f64,
    by_statistics: bool,
    broken: Option<Broken>,
    /// Whether it counts as normal for an incident that is open.
    quiet: bool,
    /// The level that the incident showed has become the normal one.
    accepted: bool,
}

impl Lifecycle {
    /// Of a series that has read nothing.
    pub const fn new() -> Lifecycle {
        Lifecycle {
            recent: [Alarm::NONE; REMEMBERED],
            incidents: 0,
            above: Side { hits: 0, quiet: 0 },
            below: Side { hits: 0, quiet: 0 },
            spare: 0,
        }
    }

    /// The incident of a side (1 or -1) that goes on, if one does.
    pub fn open_alarm(&self, direction: i8) -> Option<&Alarm> {
        self.recent
            .iter()
            .find(|a| a.is_open() && a.incident.direction == direction)
    }

    /// Whether an incident goes on.
    pub fn is_open(&self) -> bool {
        self.recent.iter().any(Alarm::is_open)
    }

    /// Takes a reading. What is no reading (NaN, infinite) changes nothing. Gives whether
    /// an incident was opened, went on or ended.
    pub fn step(&mut self, told: &Told, terms: &Terms) -> bool {
        if !told.x.is_finite() {
            return false;
        }
        let above = self.step_side(told, terms, 1);
        let below = self.step_side(told, terms, -1);
        above | below
    }

    /// Silence that nothing is learned of: buckets without data up to `last`, after the reading of a bucket that was
    /// empty. The incident below goes on, or again.
    pub fn stay_silent(&mut self, buckets: u32, last: i64, terms: &Terms) {
        let Some(n) = self.latest(-1) else {
            return;
        };
        let first = last.saturating_sub(i64::from(buckets)).saturating_add(1);
        if !self.recent[n].is_open() {
            if !self.may_reopen(n, first, terms) || !self.recent[n].incident.is_silence() {
                return;
            }
            self.reopen(n, first);
        }
        self.below = Side::default();
        let incident = &mut self.recent[n].incident;
        incident.last_seen = last;
        incident.buckets = incident.buckets.saturating_add(buckets);
        incident.empty = incident.empty.saturating_add(buckets);
    }

    /// Takes what sealing a bucket with that sum said of the total of a monitor. `allowed` as in [`Told`]. Gives whether
    /// an incident was opened, went on or ended.
    pub fn step_total(
        &mut self,
        ground: &Ground,
        sealing: &Sealing,
        sum: f64,
        allowed: (bool, bool),
        terms: &Terms,
    ) -> bool {
        let (silent, last) = sealing.silent;
        if silent > 0 {
            self.stay_silent(silent, last, terms);
        }
        let Some(judgement) = &sealing.total else {
            return silent > 0;
        };
        let told = Told {
            x: sum,
            bucket: ground.sealed,
            judgement,
            bounds: sealing.bounds,
            own: ground.total.own(ground.sealed),
            allowed,
            limits: &Limits::NONE,
            share: ground.total.family() == Family::Values,
        };
        self.step(&told, terms) || silent > 0
    }

    fn step_side(&mut self, told: &Told, terms: &Terms, direction: i8) -> bool {
        let open = self.open_place(direction).is_some();
        let heard = hear(told, direction, &terms.sensitivity, open);
        match self.open_place(direction) {
            Some(n) => {
                self.go_on(n, told, terms, direction, &heard);
                true
            }
            None => self.begin(told, terms, direction, &heard),
        }
    }

    fn side(&mut self, direction: i8) -> &mut Side {
        if direction > 0 {
            &mut self.above
        } else {
            &mut self.below
        }
    }

    fn open_place(&self, direction: i8) -> Option<usize> {
        self.recent
            .iter()
            .position(|a| a.is_open() && a.incident.direction == direction)
    }

    /// Place of the latest incident of a side.
    fn latest(&self, direction: i8) -> Option<usize> {
        (0..self.recent.len())
            .filter(|n| {
                let i = &self.recent[*n].incident;
                i.opened != i64::MIN && i.direction == direction
            })
            .max_by_key(|n| self.recent[*n].incident.opened)
    }

    fn go_on(&mut self, n: usize, told: &Told, terms: &Terms, direction: i8, heard: &Heard) {
        if heard.verdict >= Verdict::Warning {
            carry(&mut self.recent[n].incident, told, heard);
        }
        let side = self.side(direction);
        side.hits = 0;
        side.quiet = if heard.quiet {
            side.quiet.saturating_add(1)
        } else {
            0
        };
        let quiet = side.quiet;
        let alarm = &mut self.recent[n];
        let enough = if alarm.is_flapping() {
            terms.stable_after()
        } else {
            terms.resolve_after()
        };
        if heard.accepted {
            alarm.incident.close(Closing::Accepted, told.bucket);
        } else if quiet >= enough {
            alarm.incident.close(Closing::Resolved, told.bucket);
        }
    }

    fn begin(&mut self, told: &Told, terms: &Terms, direction: i8, heard: &Heard) -> bool {
        let hit = heard.opening >= Verdict::Warning && !heard.quiet;
        let side = self.side(direction);
        side.hits = side.hits << 1 | u32::from(hit);
        let count = |within: u32| {
            let within = within.clamp(1, LONGEST_WITHIN);
            (side.hits & ((1 << within) - 1)).count_ones()
        };
        let opens = hit
            && if terms.open_after == 0 {
                heard.opening == Verdict::Critical
                    || heard.broken.is_some()
                    || told.judgement.channel.is_sustained()
                    || count(WARNINGS_WITHIN) >= WARNINGS
            } else {
                count(terms.open_within.max(terms.open_after)) >= terms.open_after
            };
        if !opens {
            return false;
        }
        *side = Side::default();
        match self.latest(direction) {
            Some(n) if self.may_reopen(n, told.bucket, terms) => {
                self.reopen(n, told.bucket);
                carry(&mut self.recent[n].incident, told, heard);
            }
            _ => {
                let opened = open(told, heard, direction);
                self.recent[self.incidents as usize % REMEMBERED] = Alarm::of(opened);
                self.incidents = self.incidents.saturating_add(1);
            }
        }
        true
    }

    /// Whether what begins in a bucket is an incident that ended a little before.
    fn may_reopen(&self, n: usize, bucket: i64, terms: &Terms) -> bool {
        let i = &self.recent[n].incident;
        i.closing == Closing::Resolved as u8
            && bucket.saturating_sub(i.resolved) <= i64::from(terms.reopen_within)
    }

    fn reopen(&mut self, n: usize, bucket: i64) {
        let alarm = &mut self.recent[n];
        alarm.incident.resolved = i64::MAX;
        alarm.incident.closing = 0;
        alarm.reopened = bucket;
        if alarm.is_flapping() {
            // It had come to rest.
            alarm.flapping = i64::MIN;
            alarm.reopenings = 0;
        }
        alarm.reopenings = alarm.reopenings.saturating_add(1);
        if alarm.reopenings >= FLAPS {
            alarm.flapping = bucket;
        }
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.recent.iter().all(|a| a.incident.is_finite())
    }
}

/// What a reading means for one side.
fn hear(told: &Told, direction: i8, sensitivity: &Sensitivity, open: bool) -> Heard {
    let j = told.judgement;
    let allowed = if direction > 0 {
        told.allowed.0
    } else {
        told.allowed.1
    };
    let broken = told
        .limits
        .broken(told.x)
        .filter(|broken| broken.direction == direction);
    let by_statistics = allowed && !j.learning && j.direction == direction;
    // What only carries on the series' own incident opens nothing for whoever asked for more than that one did.
    let held = open || sensitivity.warning <= OPEN;
    let stat = if by_statistics {
        sensitivity.verdict(j, held)
    } else {
        Verdict::Normal
    };
    let opening = if by_statistics && j.calmed > 0.0 {
        sensitivity.verdict(&j.calm(), false)
    } else {
        stat
    };
    let limit = broken.map_or(Verdict::Normal, |b| b.verdict);
    // Sums still hold what came before; while the series has an incident of its own, it knows better
    // than they whether that goes on.
    let own = told.own.direction == direction;
    let calm = if own {
        told.own.calm
    } else {
        stat < Verdict::Warning
    };
    Heard {
        verdict: stat.max(limit),
        opening: opening.max(limit),
        surprise: if by_statistics { j.surprise } else { 0.0 }.max(nominal(limit)),
        by_statistics: stat >= Verdict::Warning && stat >= limit,
        broken,
        quiet: broken.is_none() && (calm || !allowed),
        accepted: own && told.own.accepted,
    }
}

/// The surprise that a limit's verdict has, so that its score agrees with it.
fn nominal(verdict: Verdict) -> f64 {
    match verdict {
        Verdict::Critical => EXTREME,
        Verdict::Warning => OPEN,
        _ => 0.0,
    }
}

fn expected(told: &Told) -> f64 {
    let expected = told.judgement.expected;
    if expected.is_finite() {
        expected
    } else {
        0.0
    }
}

/// The incident that a reading opens. Of a fixed limit, `span_expected` is the limit, and `lower` and `upper` are the
/// counts that break none.
fn open(told: &Told, heard: &Heard, direction: i8) -> Incident {
    let x = told.x.clamp(-LARGEST, LARGEST);
    let j = told.judgement;
    let by_limit = heard.broken.filter(|_| !heard.by_statistics);
    let anything = Bounds {
        lower: 0.0,
        upper: LARGEST,
    };
    let bounds = if by_limit.is_some() && told.share {
        told.limits.narrow_share(anything)
    } else if by_limit.is_some() {
        told.limits.narrow(anything)
    } else {
        told.bounds.unwrap_or(anything)
    };
    Incident {
        opened: told.bucket,
        last_seen: told.bucket,
        direction,
        severity: heard.verdict as u8,
        channel: by_limit.map_or(j.channel, |_| Channel::Limit) as u8,
        buckets: 1,
        empty: u32::from(x == 0.0),
        span: by_limit.map_or(j.span, |_| 1),
        observed: x,
        expected: expected(told),
        lower: bounds.lower.clamp(-LARGEST, LARGEST),
        upper: bounds.upper.clamp(-LARGEST, LARGEST),
        surprise: heard.surprise,
        span_observed: by_limit.map_or(j.span_observed, |_| x),
        span_expected: by_limit.map_or(j.span_expected, |b| b.limit.clamp(-LARGEST, LARGEST)),
        peak_observed: x,
        peak_expected: expected(told),
        peak_surprise: heard.surprise,
        ..Incident::NONE
    }
}

/// Another reading of an incident that goes on.
fn carry(incident: &mut Incident, told: &Told, heard: &Heard) {
    let x = told.x.clamp(-LARGEST, LARGEST);
    incident.last_seen = told.bucket;
    incident.buckets = incident.buckets.saturating_add(1);
    incident.empty = incident.empty.saturating_add(u32::from(x == 0.0));
    incident.severity = incident.severity.max(heard.verdict as u8);
    incident.peak_surprise = incident.peak_surprise.max(heard.surprise);
    incident.peak_by(x, expected(told));
}
