//! A part of a whole: how many of the approved and denied were denied.
//!
//! A rise of `denied` may be a rise of everything, and a fall of everything may hide one; the share tells. What is
//! judged is `x` of `n` in a bucket, and in the last 5 and 20, against the share of before, under a beta-binomial law
//! ([`tail`]): the interval is wide where `n` is small, and learns how much wider than chance it has to be
//! (`spread`). Shares are followed over a few hours, longer where little comes; there is no season.

mod spread;
pub mod tail;

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::incident::{self, Closing, Event, Incident, Watch, REMEMBERED};
use crate::judgement::{Channel, Judgement, Verdict};
use crate::lifecycle::Own;
use crate::sensitivity::Sensitivity;
use crate::series::{is_reading, LARGEST};
use spread::Spread;

/// Buckets a window covers, by channel: point, five, twenty.
const WINDOWS: [usize; 3] = [1, 5, 20];
/// Buckets kept: the longest lag, and the one in hand.
const LENGTH: usize = 21;
/// Buckets over which the share is followed.
const HORIZON: f64 = 240.0;
/// It is followed over as many more as hold this many of the whole,
const EVENTS: f64 = 2000.0;
/// but at most over a week of minutes.
const LONGEST: f64 = 10_080.0;
/// Of the whole that has to be seen before a ratio is judged,
const LEARNING_EVENTS: f64 = 200.0;
/// and in how many buckets.
const LEARNING_BUCKETS: u64 = 30;
/// A share is taken with half a one on either side (Jeffreys' prior).
const PRIOR: f64 = 0.5;
/// How far a reading of an open incident is believed.
const INCIDENT_BELIEF: f64 = 0.02;
/// Surprise from which a reading is believed less, and from which hardly at all.
const DOUBTED: (f64, f64) = (3.0, 5.0);
const DOUBTED_BELIEF: f64 = 0.1;
/// Buckets without a reading after which the windows begin anew.
const GAP: i64 = 5;

/// The state of one ratio. Plain data.
///
/// Read bucket by bucket with [`step`](Ratio::step): the part and the whole. A bucket in which the whole is zero has
/// no reading.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The latest incidents: incident `k` (from 0) is at `k % 4`. Their figures are shares, 0 to 1.
    pub recent: [Incident; REMEMBERED],
    readings: u64,
    last_bucket: i64,
    /// Faded sums of part and whole: the share.
    part: f64,
    whole: f64,
    /// Mean of the whole of a bucket.
    volume: f64,
    /// The last buckets, by number of reading modulo 21.
    parts: [f64; LENGTH],
    wholes: [f64; LENGTH],
    /// Share and whole behind it, as they were after that bucket.
    shares: [f64; LENGTH],
    behind: [f64; LENGTH],
    spreads: [Spread; 3],
    watch: Watch,
    /// Incidents opened so far.
    pub incidents: u32,
    spare: u32,
}

impl Default for Ratio {
    fn default() -> Self {
        Self::new()
    }
}

/// One window: what it holds, and what was foretold of it.
#[derive(Clone, Copy)]
struct Window {
    part: f64,
    whole: f64,
    share: f64,
    /// Variance of the share foretold, in units of `p (1 - p)`.
    doubt: f64,
}

impl Ratio {
    /// A ratio that has read nothing.
    pub const fn new() -> Ratio {
        Ratio {
            recent: [Incident::NONE; REMEMBERED],
            readings: 0,
            last_bucket: i64::MIN,
            part: 0.0,
            whole: 0.0,
            volume: 0.0,
            parts: [0.0; LENGTH],
            wholes: [0.0; LENGTH],
            shares: [0.0; LENGTH],
            behind: [0.0; LENGTH],
            spreads: [Spread::NEW; 3],
            watch: Watch::NEW,
            incidents: 0,
            spare: 0,
        }
    }

    /// Buckets read.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// Buckets that it learns for at least before it judges.
    pub fn learns_for(&self) -> u64 {
        LEARNING_BUCKETS
    }

    /// The share foretold, 0 to 1.
    pub fn expected(&self) -> f64 {
        (self.part + PRIOR) / (self.whole + 2.0 * PRIOR)
    }

    /// Whether too little was seen for a verdict.
    pub fn is_learning(&self) -> bool {
        self.readings < LEARNING_BUCKETS || self.whole < LEARNING_EVENTS
    }

    /// The incident that goes on, if one does.
    pub fn open_incident(&self) -> Option<&Incident> {
        incident::latest(&self.recent, self.incidents).filter(|incident| incident.is_open())
    }

    /// Judges a bucket and learns it. None, and nothing changes, where it is no reading: the whole is not above zero,
    /// or a number is not finite or negative. A part above the whole is the whole. Windows whose whole is below
    /// `min_volume` say nothing.
    pub fn step(
        &mut self,
        part: f64,
        whole: f64,
        min_volume: f64,
        bucket: i64,
    ) -> Option<Judgement> {
        self.step_bounded(part, whole, min_volume, bucket, &Sensitivity::BUILT_IN)
            .map(|(judgement, _)| judgement)
    }

    /// The same; where the verdict under a sensitivity is not normal, also which shares would have been.
    pub fn step_bounded(
        &mut self,
        part: f64,
        whole: f64,
        min_volume: f64,
        bucket: i64,
        sensitivity: &Sensitivity,
    ) -> Option<(Judgement, Option<Bounds>)> {
        let (part, whole) = reading(part, whole)?;
        self.advance(bucket);
        let judgement = self.judge(part, whole, min_volume);
        let anomalous = sensitivity.verdict(&judgement, true) >= Verdict::Warning;
        let bounds = anomalous.then(|| self.bounds_under(whole, min_volume, sensitivity));
        self.learn(part, whole, min_volume, &judgement, bucket);
        Some((judgement, bounds))
    }

    /// What its own incident says of the bucket last learned.
    pub fn own(&self, bucket: i64) -> Own {
        let last = incident::latest(&self.recent, self.incidents);
        Own::of(&self.watch, last, bucket)
    }

    /// Moves on to a bucket: after a gap the windows begin anew.
    pub fn advance(&mut self, bucket: i64) {
        if self.readings > 0 && bucket.saturating_sub(self.last_bucket) > GAP {
            self.forget_windows();
            self.last_bucket = bucket.saturating_sub(1);
        }
    }

    /// What a bucket would mean. `expected` and the figures of the span are shares; the channels are the bucket, the
    /// last 5 and the last 20.
    pub fn judge(&self, part: f64, whole: f64, min_volume: f64) -> Judgement {
        let share = self.expected();
        let Some((part, whole)) = reading(part, whole) else {
            return Judgement::learning(share, share);
        };
        let mut judgement = Judgement {
            learning: self.is_learning(),
            span_observed: part / whole,
            ..Judgement::learning(share, part / whole)
        };
        for (k, length) in WINDOWS.into_iter().enumerate() {
            let w = self.window(length, part, whole);
            if w.whole < min_volume.max(1.0) {
                continue;
            }
            let correlation = self.spreads[k].bound() + w.doubt;
            let direction = if w.part >= w.whole * w.share { 1 } else { -1 };
            let surprise = if direction > 0 {
                tail::upper(w.part, w.whole, w.share, correlation)
            } else {
                tail::lower(w.part, w.whole, w.share, correlation)
            };
            judgement.channels[k] = surprise * f64::from(direction);
            if !judgement.learning && surprise > judgement.surprise {
                judgement.surprise = surprise;
                judgement.alone = surprise;
                judgement.direction = direction;
                judgement.channel = Channel::ALL[k];
                judgement.span = length as u32;
                judgement.span_observed = w.part / w.whole;
                judgement.span_expected = w.share;
            }
        }
        judgement
    }

    /// The shares that would be normal in a bucket of this whole: outside exactly where the verdict is not normal.
    /// They include the expectation; where no share would be normal they are the expectation alone.
    pub fn bounds(&self, whole: f64, min_volume: f64) -> Bounds {
        self.bounds_under(whole, min_volume, &Sensitivity::BUILT_IN)
    }

    /// The same under a sensitivity.
    pub fn bounds_under(&self, whole: f64, min_volume: f64, sensitivity: &Sensitivity) -> Bounds {
        let share = self.expected();
        let everything = Bounds {
            lower: 0.0,
            upper: 1.0,
        };
        if !is_reading(whole) || whole < 1.0 {
            return everything;
        }
        let whole = whole.min(LARGEST).floor();
        let side = |part: f64| {
            let j = self.judge(part, whole, min_volume);
            if j.surprise < sensitivity.warning {
                0
            } else {
                j.direction
            }
        };
        // The least part that is too high, and the greatest that is too low: surprise falls, then rises.
        let too_high = first(0.0, whole + 1.0, |part| part > whole || side(part) > 0);
        let not_low = first(0.0, whole + 1.0, |part| part > whole || side(part) >= 0);
        if not_low >= too_high {
            let nothing = Bounds {
                lower: share,
                upper: share,
            };
            return sensitivity.widen_share(nothing, share);
        }
        let bounds = Bounds {
            lower: (not_low / whole).min(share),
            upper: ((too_high - 1.0) / whole).max(share),
        };
        sensitivity.widen_share(bounds, share)
    }

    fn learn(&mut self, part: f64, whole: f64, min_volume: f64, j: &Judgement, bucket: i64) {
        let event = self.watch.observe(j, false, false);
        self.record(event, part, whole, min_volume, j, bucket);
        let belief = if self.watch.is_open() {
            INCIDENT_BELIEF
        } else if j.learning {
            1.0
        } else {
            belief(j.surprise)
        };
        if !self.watch.is_open() {
            for (k, length) in WINDOWS.into_iter().enumerate() {
                let w = self.window(length, part, whole);
                if self.readings >= length as u64 {
                    let share = w.share.clamp(1e-9, 1.0 - 1e-9);
                    let overlap = length as f64;
                    self.spreads[k].learn(w.part, w.whole, share, w.doubt, overlap, belief);
                }
            }
        }
        let n = self.readings;
        self.volume += (whole - self.volume) / HORIZON.min(n as f64 + 1.0);
        let horizon = (HORIZON + EVENTS / self.volume.max(1e-6)).min(LONGEST);
        let kept = if (n as f64) < horizon {
            1.0
        } else {
            1.0 - 1.0 / horizon
        };
        // What is not believed is taken as foretold, so that an incident does not age the share.
        let foretold = whole * self.expected();
        self.part = self.part * kept + foretold + belief * (part - foretold);
        self.whole = self.whole * kept + whole;
        let at = (n % LENGTH as u64) as usize;
        self.parts[at] = part;
        self.wholes[at] = whole;
        self.shares[at] = self.expected();
        self.behind[at] = self.whole;
        self.readings = n.saturating_add(1);
        self.last_bucket = bucket;
        if let Event::Closes(closing) = event {
            self.close_incident(closing);
        }
    }

    fn record(
        &mut self,
        event: Event,
        part: f64,
        whole: f64,
        min_volume: f64,
        j: &Judgement,
        bucket: i64,
    ) {
        let share = part / whole;
        if event == Event::Opens {
            let bounds = self.bounds(whole, min_volume);
            self.recent[self.incidents as usize % REMEMBERED] =
                Incident::opened_by(j, share, bounds, bucket);
            self.incidents = self.incidents.saturating_add(1);
            return;
        }
        if let Some(incident) = incident::open_one(&mut self.recent, self.incidents) {
            incident.goes_on(j, share, bucket);
            if let Event::Closes(closing) = event {
                incident.close(closing, bucket);
            }
        }
    }

    fn close_incident(&mut self, closing: Closing) {
        self.watch.close();
        if closing == Closing::Accepted {
            // What the last 20 buckets hold is the new share; its level was the other one.
            let (mut part, mut whole) = (0.0, 0.0);
            for i in 0..LENGTH {
                part += self.parts[i];
                whole += self.wholes[i];
            }
            self.part = part;
            self.whole = whole;
            self.spreads = [Spread::NEW; 3];
        }
        self.forget_windows();
    }

    /// What came before does not speak again.
    fn forget_windows(&mut self) {
        self.parts = [0.0; LENGTH];
        self.wholes = [0.0; LENGTH];
        self.shares = [self.expected(); LENGTH];
        self.behind = [self.whole; LENGTH];
    }

    /// The window that ends with a bucket in hand, against the share before it.
    fn window(&self, length: usize, part: f64, whole: f64) -> Window {
        let place =
            |back: usize| ((self.readings % LENGTH as u64) as usize + LENGTH - back) % LENGTH;
        let (mut x, mut n) = (part, whole);
        for back in 1..length.min(self.readings as usize + 1) {
            x += self.parts[place(back)];
            n += self.wholes[place(back)];
        }
        let (share, behind) = if self.readings >= length as u64 {
            (self.shares[place(length)], self.behind[place(length)])
        } else {
            (self.expected(), self.whole)
        };
        Window {
            part: x,
            whole: n,
            share,
            doubt: 1.0 / (behind + 2.0),
        }
    }

    pub(crate) fn is_finite(&self) -> bool {
        let numbers = [self.part, self.whole, self.volume];
        let rings = [&self.parts, &self.wholes, &self.shares, &self.behind];
        numbers.iter().all(|v| v.is_finite())
            && rings.iter().all(|ring| ring.iter().all(|v| v.is_finite()))
            && self.spreads.iter().all(Spread::is_finite)
            && self.recent.iter().all(Incident::is_finite)
    }
}

/// Part and whole as a reading, or none.
fn reading(part: f64, whole: f64) -> Option<(f64, f64)> {
    if !is_reading(part) || !is_reading(whole) || whole <= 0.0 {
        return None;
    }
    let whole = whole.min(LARGEST);
    Some((part.min(whole), whole))
}

/// How far a reading of this surprise is believed.
fn belief(surprise: f64) -> f64 {
    let (from, to) = DOUBTED;
    let doubt = ((surprise - from) / (to - from)).clamp(0.0, 1.0);
    1.0 - doubt * (1.0 - DOUBTED_BELIEF)
}

/// The first whole number from `low` on for which this holds, where it holds from some number below `high` on.
fn first(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    if holds(low) {
        return low;
    }
    while high - low > 1.0 {
        let middle = ((low + high) / 2.0).floor();
        if middle <= low || middle >= high {
            break;
        }
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}
