//! The shape of the day: a mean for each half hour, for all days, weekdays and weekends.
//!
//! The season never sets a level. It moves one: what is used is its slope along the day, so that
//! day one needs no special case and nothing jumps on day two.

use serde::{Deserialize, Serialize};

use crate::elementary::{exp, ln};
use crate::level::STEEPEST;
use crate::moment::{Moment, DAY};

/// Half hours of a day.
const HALVES: usize = 48;
/// Minutes of a half hour.
const HALF: f64 = 30.0;
/// Minutes of readings from which a half hour is learned.
const ENOUGH: f64 = 8.0;
/// Rate from which a half hour follows, after its first days.
const RATE: f64 = 0.08;
/// Days of a kind up to which the other kind is a witness; see [`Witness`](crate::witness::Witness).
const YOUNG: u8 = 2;
/// Half hours for which it is one after a day of the other kind: its season was read yesterday, this one's a week ago.
const FRESH: u8 = 24;
/// Most days counted.
const DAYS: u8 = 50;
/// Weight of a neighbouring half hour, after so many days of the kind; it falls with more of them.
const NEIGHBOUR: f64 = 0.5;
const NEIGHBOURLY: f64 = 2.0;
/// Events of the thinnest of three half hours from which their logs are averaged more than they are themselves.
const RICH: f64 = 20.0;
/// Events that are added before a log is taken: the log of a Poisson count and a half is about the log of its mean on average.
const UNBIASED: f64 = 0.5;
/// Events of the slow mean that a half hour is shrunk towards.
const SHRINK: f64 = 4.0;
/// Least mean whose log is taken.
const LEAST: f64 = 0.003;
/// Slowest rate of the slow mean, per reading.
const MEAN_RATE: f64 = 1.0 / 4320.0;
/// Deviations of two half hours by which they must differ to be different.
const CERTAIN: f64 = 3.0;
/// Parts that steepness is kept in.
const PARTS: f64 = 255.0;
/// No half hour.
const NONE: u8 = u8::MAX;
/// In a byte of [`Profile::days`]: the days, and whose the half hour was when it last came.
const COUNTED: u8 = 0b0011_1111;
const CLAIM: u32 = 6;

/// Mean count per bucket of each half hour, and the days behind it.
///
/// A half hour with an incident in it is not learned from the incident. But what happens in the same half hour of every
/// such day is no incident, it is the day: a shop that closes at eight. So it is kept whether an incident had the half
/// hour when it last came, above or below (a *claim*); one that comes again on the same side is learned like any
/// reading.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    #[serde(with = "serde_big_array::BigArray")]
    mean: [f32; HALVES],
    /// [`DAYS`] at most; above them, in two bits, the claim: 0 none, 1 above, 2 below.
    #[serde(with = "serde_big_array::BigArray")]
    days: [u8; HALVES],
}

/// The claim of an incident on a side: 1 above, -1 below, 0 of none.
fn claim(side: i8) -> u8 {
    match side {
        0 => 0,
        1.. => 1,
        _ => 2,
    }
}

impl Profile {
    const NEW: Profile = Profile {
        mean: [0.0; HALVES],
        days: [0; HALVES],
    };

    fn at(&self, half: usize) -> (f64, f64) {
        (
            f64::from(self.mean[half % HALVES]),
            f64::from(self.days_of(half)),
        )
    }

    fn days_of(&self, half: usize) -> u8 {
        self.days[half % HALVES] & COUNTED
    }

    fn claim_of(&self, half: usize) -> u8 {
        self.days[half % HALVES] >> CLAIM
    }

    fn set_claim(&mut self, half: usize, claim: u8) {
        let days = &mut self.days[half % HALVES];
        *days = (*days & COUNTED) | (claim << CLAIM);
    }

    fn learn(&mut self, half: usize, mean: f64) {
        let (old, days) = self.at(half);
        self.mean[half % HALVES] = followed(old, days, mean);
        if self.days_of(half) < DAYS {
            self.days[half % HALVES] += 1;
        }
    }
}

/// A mean after so many days, when another comes.
fn followed(old: f64, days: f64, mean: f64) -> f32 {
    let rate = (1.0 / (days + 1.0)).max(RATE);
    (old + rate * (mean - old)) as f32
}

/// A mean over so many buckets, shrunk towards the slow mean by [`SHRINK`] events. Below the slow mean it is the mean of
/// a gamma law of that shape: four events are added to those seen, so that a night of one count a minute stays one
/// beside a day of hundreds. Above it, where that law would take half of a peak away from a thin series, both means are
/// weighted with their events.
fn shrunk(mean: f64, buckets: f64, slow: f64) -> f64 {
    let events = mean * buckets;
    if mean < slow {
        (events + SHRINK) / (buckets + SHRINK / slow)
    } else {
        (mean * events + slow * SHRINK) / (events + SHRINK)
    }
}

/// What is known of the season at one place of the day.
#[derive(Clone, Copy)]
struct Level {
    /// Log of the mean.
    log: f64,
    /// Days behind it, of any kind and of this kind of day.
    days: u8,
    days_of_kind: u8,
}

/// Where a bucket lies between the centres of two half hours.
#[derive(Clone, Copy)]
struct Place {
    half: usize,
    /// Share of the way to the next centre, 0 to 1.
    share: f64,
}

impl Place {
    /// The place of the middle of a bucket of `width` minutes that starts at `minute`. (A reading
    /// of one minute is put at its start.)
    fn of(minute: f64, width: f64) -> Place {
        let day = f64::from(DAY);
        let mut middle = minute + (width - 1.0) / 2.0;
        if !(0.0..day).contains(&middle) {
            middle = middle.rem_euclid(day);
        }
        let mut halves = (middle - HALF / 2.0) / HALF;
        if halves < 0.0 {
            halves += HALVES as f64;
        }
        let half = halves as usize;
        Place {
            half: half % HALVES,
            share: halves - half as f64,
        }
    }

    /// What lies here, given it at the two centres.
    fn between(self, here: f64, next: f64) -> f64 {
        here * (1.0 - self.share) + next * self.share
    }
}

/// By how much the log of a season rises from a bucket to the next.
#[derive(Clone, Copy)]
pub(crate) struct Rise {
    /// Along the day.
    pub of_day: f64,
    /// Since another kind of day begins. What is counted may have begun to follow it before midnight.
    pub of_kind: f64,
}

impl Rise {
    const NONE: Rise = Rise {
        of_day: 0.0,
        of_kind: 0.0,
    };
}

/// The season of a series.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Season {
    /// Log of the season's mean at the bucket in hand.
    pub log: f64,
    /// Slow mean of all readings.
    mean: f64,
    /// The half hour under way: sum of its readings.
    sum: f64,
    /// Log means of the two half hours around the bucket in hand; kept so that there are two logs
    /// per half hour and not per reading.
    here: f64,
    next: f64,
    /// The same of the other kind of day, where that is a witness.
    other: [f32; 2],
    /// Means of all days.
    #[serde(with = "serde_big_array::BigArray")]
    every: [f32; HALVES],
    /// Of weekdays, and of weekends.
    of_kind: [Profile; 2],
    /// Readings of the half hour under way.
    readings: u32,
    /// The half hour under way, and whether it is a weekend's.
    under_way: u8,
    under_way_weekend: u8,
    /// What `here` and `next` are of.
    kept_half: u8,
    kept_weekend: u8,
    /// Days behind both of them, of any kind and of this kind of day.
    days: u8,
    days_of_kind: u8,
    /// Local minute of the last bucket learned.
    last_minute: u16,
    /// Claim of the incident met in the half hour under way.
    claim: u8,
    /// Whether the other kind of day is a witness here.
    has_other: u8,
    /// Half hours since the other kind of day.
    since_other: u8,
    /// The steepest that the shape was found to be, in parts of [`STEEPEST`].
    steepest: u8,
}

impl Season {
    pub const NEW: Season = Season {
        log: 0.0,
        mean: 0.0,
        sum: 0.0,
        here: 0.0,
        next: 0.0,
        other: [0.0; 2],
        every: [0.0; HALVES],
        of_kind: [Profile::NEW; 2],
        readings: 0,
        under_way: NONE,
        under_way_weekend: 0,
        kept_half: NONE,
        kept_weekend: 0,
        days: 0,
        days_of_kind: 0,
        last_minute: 0,
        claim: 0,
        has_other: 0,
        since_other: u8::MAX,
        steepest: 0,
    };

    /// Whether this time of day was seen on this kind of day.
    pub fn is_known(&self) -> bool {
        self.days >= 1 && self.days_of_kind >= 1
    }

    /// Whether this time of day was seen on any day.
    pub fn is_seen(&self) -> bool {
        self.days >= 1
    }

    /// Days behind the season here, with a day of another kind counting for half of one.
    pub fn experience(&self) -> f64 {
        f64::from(self.days)
            .min(f64::from(self.days_of_kind) + 0.5)
            .max(0.5)
    }

    /// The first reading.
    pub fn start(&mut self, mean: f64) {
        self.mean = mean;
    }

    /// Moves to a bucket. Returns by how much the log of the season rises from the bucket before: from the last one learned,
    /// where the clock was set in between.
    pub fn advance(&mut self, at: Moment, width: f64) -> Rise {
        let minute = f64::from(at.minute % DAY);
        let place = Place::of(minute, width);
        let (half, weekend) = (place.half as u8, u8::from(at.weekend));
        let is_other_kind = self.kept_half != NONE && self.kept_weekend != weekend;
        if (self.kept_half, self.kept_weekend) != (half, weekend) || self.days == 0 {
            self.since_other = match self.kept_half {
                NONE => u8::MAX,
                _ if self.kept_weekend != weekend => 0,
                kept => {
                    let passed = (half + HALVES as u8 - kept) % HALVES as u8;
                    self.since_other.saturating_add(passed)
                }
            };
            let here = self.half_hour(place.half, at.weekend, width);
            let next = self.half_hour(place.half + 1, at.weekend, width);
            (self.here, self.next) = (here.log, next.log);
            (self.kept_half, self.kept_weekend) = (half, weekend);
            self.days = here.days.min(next.days);
            self.days_of_kind = here.days_of_kind.min(next.days_of_kind);
            self.call_other_kind(place.half, at.weekend, width);
        }
        self.log = place.between(self.here, self.next);
        if self.days == 0 {
            return Rise::NONE;
        }
        let of_kind = if is_other_kind {
            self.step_of_kind(minute - width, at.weekend, width)
        } else {
            0.0
        };
        let of_day = self.rise_of_day(at, width);
        Rise { of_day, of_kind }
    }

    /// By how much the other kind of day lies above or below this one at a minute, where both were seen there.
    fn step_of_kind(&self, minute: f64, weekend: bool, width: f64) -> f64 {
        let half = Place::of(minute, width).half;
        if self.of_kind.iter().any(|kind| kind.days_of(half) == 0) {
            return 0.0;
        }
        self.log_at(minute, weekend, width) - self.log_at(minute, !weekend, width)
    }

    /// By how much the log rises from the bucket before, as if that had been of this kind of day.
    fn rise_of_day(&self, at: Moment, width: f64) -> f64 {
        let minute = f64::from(at.minute % DAY);
        if self.is_moved(minute, width) {
            return self.rise_since_last(at, width);
        }
        // Within a half hour the slope is the line's; wider buckets step over it.
        let rise = if width <= HALF {
            self.slope() * width
        } else {
            self.log - self.log_at(minute - width, at.weekend, width)
        };
        let steepest = STEEPEST * width.max(1.0);
        rise.clamp(-steepest, steepest)
    }

    /// Whether the bucket in hand, the next one, does not lie a bucket later by the clock: it was set forward or back in
    /// between, and the day goes on at another hour of its shape.
    fn is_moved(&self, minute: f64, width: f64) -> bool {
        let day = f64::from(DAY);
        let late = minute - f64::from(self.last_minute) - width;
        // As nearly always.
        if late.abs() <= 1.0 {
            return false;
        }
        let late = late.rem_euclid(day);
        late.min(day - late) > 1.0
    }

    /// By how much the log of the season rises in a minute here; 0 where it was not seen.
    pub fn slope(&self) -> f64 {
        if self.days == 0 {
            0.0
        } else {
            (self.next - self.here) / HALF
        }
    }

    /// Keeps what the other kind of day has around this half hour, where it is a witness and was seen.
    fn call_other_kind(&mut self, half: usize, weekend: bool, width: f64) {
        self.has_other = 0;
        if !self.is_known() || !self.is_young() && self.since_other >= FRESH {
            return;
        }
        let here = self.half_hour(half, !weekend, width);
        let next = self.half_hour(half + 1, !weekend, width);
        if here.days_of_kind.min(next.days_of_kind) > 0 {
            self.other = [here.log as f32, next.log as f32];
            self.has_other = 1;
        }
    }

    /// Whether this kind of day was seen so seldom here that what went wrong on one of them is much of its season.
    pub fn is_young(&self) -> bool {
        self.days_of_kind <= YOUNG
    }

    /// Log of the mean that the other kind of day has at the bucket in hand, which starts at this minute and is so many
    /// minutes wide (0: no whole number); where it is to be asked.
    pub fn other_log(&self, minute: u16, width: u8) -> Option<f64> {
        (self.has_other != 0 && width > 0).then(|| {
            let [here, next] = self.other.map(f64::from);
            Place::of(f64::from(minute % DAY), f64::from(width)).between(here, next)
        })
    }

    /// By how much the log of the season rose since the last reading, over a gap.
    pub fn rise_since_last(&self, at: Moment, width: f64) -> f64 {
        if self.days == 0 {
            return 0.0;
        }
        self.log - self.log_at(f64::from(self.last_minute), at.weekend, width)
    }

    /// Takes a reading into the slow mean.
    pub fn learn_mean(&mut self, x: f64, readings: u64) {
        self.mean += (x - self.mean) * MEAN_RATE.max(1.0 / (readings as f64 + 1.0));
    }

    /// Takes a reading into the half hour under way, and on which side of an incident it lies (0: in none). In an incident
    /// it is learned only where one on the same side had this half hour when it last came. When a half hour is over and
    /// at least 8 minutes of it were read, it is learned.
    pub fn learn(&mut self, x: f64, incident: i8, at: Moment, width: f64) {
        let half = ((at.minute % DAY) / 30) as u8;
        if self.under_way != half || width > HALF {
            self.close_half_hour(width);
            self.sum = 0.0;
            self.readings = 0;
            self.claim = 0;
            self.under_way = half;
            self.under_way_weekend = u8::from(at.weekend);
        }
        let claim = claim(incident);
        if claim == 0 || claim == self.of_kind[usize::from(at.weekend)].claim_of(usize::from(half))
        {
            self.sum += x;
            self.readings = self.readings.saturating_add(1);
        }
        if claim != 0 {
            self.claim = claim;
        }
        self.last_minute = at.minute % DAY;
    }

    /// Learns the half hour under way, and the others that its bucket covers.
    fn close_half_hour(&mut self, width: f64) {
        if self.under_way == NONE {
            return;
        }
        let covered = (width / HALF).clamp(1.0, HALVES as f64) as usize;
        let first = usize::from(self.under_way);
        let kind = usize::from(self.under_way_weekend != 0);
        for half in first..first + covered {
            self.of_kind[kind].set_claim(half, self.claim);
        }
        let enough = (ENOUGH / width).max(1.0);
        if f64::from(self.readings) < enough {
            return;
        }
        let mean = self.sum / f64::from(self.readings);
        for half in first..first + covered {
            let (old, days) = self.of_all(half);
            self.every[half % HALVES] = followed(old, days, mean);
            self.of_kind[kind].learn(half, mean);
        }
        if covered == 1 {
            self.learn_steepness(first, width);
        }
    }

    /// How steep the shape is that ends in this half hour, where it has gone one way for an hour.
    fn learn_steepness(&mut self, half: usize, width: f64) {
        let halves = [2, 1, 0].map(|back| self.of_all(half + HALVES - back));
        if halves.iter().any(|(_, days)| *days == 0.0) {
            return;
        }
        let means = halves.map(|(mean, _)| mean.max(LEAST));
        let logs = means.map(ln);
        let is_one_way = (logs[1] - logs[0]) * (logs[2] - logs[1]) > 0.0;
        let doubt = |i: usize| width / (HALF * halves[i].1 * means[i]);
        let step = (logs[2] - logs[0]).abs() - CERTAIN * (doubt(0) + doubt(2)).sqrt();
        if is_one_way && step > 0.0 {
            let parts = (PARTS / STEEPEST * step / (2.0 * HALF)).min(PARTS) as u8;
            self.steepest = self.steepest.max(parts);
        }
    }

    /// Relative variance of the season's mean at the bucket in hand, of so many minutes (0: no whole number): that of a
    /// gamma law of as many events as are behind it, the [`SHRINK`] that it was given among them. 0 where it was not seen.
    pub fn variance(&self, width: u8) -> f64 {
        if self.days == 0 {
            return 0.0;
        }
        let width = if width == 0 { HALF } else { f64::from(width) };
        let buckets = HALF / width * (1.0 + 2.0 * NEIGHBOUR) * f64::from(self.days);
        1.0 / (exp(self.log) * buckets).max(1.0)
    }

    /// By how much the log of the shape was found to rise or fall in a minute, at most.
    pub fn steepest(&self) -> f64 {
        STEEPEST / PARTS * f64::from(self.steepest)
    }

    /// Days behind a half hour, of any kind.
    fn days_of_all(&self, half: usize) -> u8 {
        let half = half % HALVES;
        let [weekday, weekend] = &self.of_kind;
        (weekday.days_of(half) + weekend.days_of(half)).min(DAYS)
    }

    /// The mean of a half hour on all days, and the days behind it.
    fn of_all(&self, half: usize) -> (f64, f64) {
        let mean = f64::from(self.every[half % HALVES]);
        (mean, f64::from(self.days_of_all(half)))
    }

    /// What taught the shape: the mean of each half hour times the days behind it.
    pub fn taught(&self) -> f64 {
        (0..HALVES)
            .map(|half| self.of_all(half))
            .map(|(mean, days)| mean * days)
            .sum()
    }

    /// The whole shape becomes so many times as high, for a level that has moved.
    pub fn scale(&mut self, factor: f64) {
        let rise = ln(factor);
        self.log += rise;
        self.mean *= factor;
        (self.here, self.next) = (self.here + rise, self.next + rise);
        self.other = self.other.map(|log| log + rise as f32);
        let [weekday, weekend] = &mut self.of_kind;
        for mean in [&mut self.every, &mut weekday.mean, &mut weekend.mean]
            .into_iter()
            .flatten()
        {
            *mean *= factor as f32;
        }
    }

    /// Forgets the shape; the slow mean begins at a level.
    pub fn start_anew(&mut self, level: f64) {
        *self = Season {
            mean: level,
            log: ln(level),
            last_minute: self.last_minute,
            ..Season::NEW
        };
    }

    /// The season's mean at a minute of the day and the days behind it; none where it was not seen.
    pub fn mean_at(&self, minute: u16, weekend: bool, width: f64) -> Option<(f64, u8)> {
        let minute = f64::from(minute % DAY);
        let place = Place::of(minute, width);
        let days = self
            .days_of_all(place.half)
            .min(self.days_of_all(place.half + 1));
        (days > 0).then(|| (exp(self.log_at(minute, weekend, width)), days))
    }

    /// Log of the season's mean at a minute of the day, which may lie on the day before.
    fn log_at(&self, minute: f64, weekend: bool, width: f64) -> f64 {
        let place = Place::of(minute, width);
        let here = self.half_hour(place.half, weekend, width).log;
        let next = self.half_hour(place.half + 1, weekend, width).log;
        place.between(here, next)
    }

    /// A half hour on one kind of day, smoothed over its neighbours. Its mean on this kind of day
    /// is shrunk to its mean on all days, by about ten events, and then to the slow mean, by four:
    /// empirical Bayes with the weight of what is borrowed counted in events, so that thin series
    /// borrow much and busy ones nothing.
    ///
    /// Where there are events enough it is the logs that are averaged: a morning on which counts double every half hour is a
    /// straight line then, where the mean of three half hours would be a fifth too high.
    fn half_hour(&self, half: usize, weekend: bool, width: f64) -> Level {
        let half = half % HALVES;
        let slow = self.mean.max(LEAST);
        let kind = &self.of_kind[usize::from(weekend)];
        if self.days_of_all(half) == 0 {
            return Level {
                log: ln(slow),
                days: 0,
                days_of_kind: 0,
            };
        }
        let neighbour = NEIGHBOUR * (NEIGHBOURLY / f64::from(kind.days_of(half)).max(1.0)).min(1.0);
        let (mut sum, mut logs, mut weights, mut fewest) = (0.0, 0.0, 0.0, f64::INFINITY);
        for (half, weight) in [
            (half + HALVES - 1, neighbour),
            (half, 1.0),
            (half + 1, neighbour),
        ] {
            let (of_all, days) = self.of_all(half);
            if days > 0.0 {
                let (of_kind, days_of_kind) = kind.at(half);
                let borrowed = (0.1 + 0.33 * width / of_all.max(0.01 * width)).min(4.0);
                let mean = (days_of_kind * of_kind + borrowed * of_all) / (days_of_kind + borrowed);
                let buckets = days * HALF / width;
                sum += weight * mean;
                logs += weight * ln(mean + UNBIASED / buckets);
                weights += weight;
                fewest = fewest.min(mean * buckets);
            }
        }
        let buckets = (HALF / width) * f64::from(self.days_of_all(half)) * weights;
        let of_mean = ln(shrunk(sum / weights, buckets, slow));
        let of_logs = logs / weights;
        Level {
            log: of_mean + fewest / (fewest + RICH) * (of_logs - of_mean),
            days: self.days_of_all(half),
            days_of_kind: kind.days_of(half),
        }
    }

    pub fn is_finite(&self) -> bool {
        [self.log, self.mean, self.sum, self.here, self.next]
            .iter()
            .all(|v| v.is_finite())
            && self.other.iter().all(|v| v.is_finite())
            && [&self.every, &self.of_kind[0].mean, &self.of_kind[1].mean]
                .iter()
                .all(|means| means.iter().all(|v| v.is_finite()))
    }
}
