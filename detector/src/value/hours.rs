//! What is usual at an hour of the day, on all days, weekdays and weekends.

use serde::{Deserialize, Serialize};
use serde_big_array::BigArray;

use crate::moment::{Moment, DAY};

use super::scale::rate;
use super::tuning::Tuning;

const HOURS: usize = 24;
/// Horizon of the slow mean, readings.
const SLOW: f64 = 1000.0;

/// Mean of each hour, and the readings behind it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    mean: [f64; HOURS],
    #[serde(with = "BigArray")]
    readings: [u16; HOURS],
}

impl Profile {
    const NEW: Profile = Profile {
        mean: [0.0; HOURS],
        readings: [0; HOURS],
    };

    /// The mean of an hour, drawn to `prior` by as many readings as `shrink` says.
    fn drawn(&self, hour: usize, prior: f64, shrink: f64) -> f64 {
        let weight = shrink / (f64::from(self.readings[hour]) + shrink);
        self.mean[hour] + (prior - self.mean[hour]) * weight
    }

    fn learn(&mut self, hour: usize, x: f64, slowest: f64) {
        let readings = self.readings[hour].saturating_add(1);
        self.readings[hour] = readings;
        let rate = slowest.max(1.0 / f64::from(readings));
        self.mean[hour] += (x - self.mean[hour]) * rate;
    }
}

/// The hours of a series.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hours {
    /// Slow mean of all readings.
    slow: f64,
    every: Profile,
    weekday: Profile,
    weekend: Profile,
}

fn hour_of(at: Moment) -> usize {
    usize::from(at.minute % DAY) / 60
}

impl Hours {
    pub const NEW: Hours = Hours {
        slow: 0.0,
        every: Profile::NEW,
        weekday: Profile::NEW,
        weekend: Profile::NEW,
    };

    /// The first reading.
    pub fn start(&mut self, x: f64) {
        self.slow = x;
    }

    /// What is usual at this hour of this kind of day: its mean, drawn to the hour's on all days,
    /// drawn to the slow mean. An hour nobody has seen is the slow mean.
    pub fn usual(&self, at: Moment, tuning: &Tuning) -> f64 {
        let hour = hour_of(at);
        let of_all = self.every.drawn(hour, self.slow, tuning.shrink);
        self.kind(at).drawn(hour, of_all, tuning.shrink)
    }

    fn kind(&self, at: Moment) -> &Profile {
        if at.weekend {
            &self.weekend
        } else {
            &self.weekday
        }
    }

    /// An hour of a kind of day as it was learned elsewhere, by so many readings.
    pub fn tell(&mut self, mean: f64, readings: f64, at: Moment) {
        let hour = hour_of(at);
        let kind = if at.weekend {
            &mut self.weekend
        } else {
            &mut self.weekday
        };
        for profile in [&mut self.every, kind] {
            // The hour of all days is the mean of both kinds told.
            let known = f64::from(profile.readings[hour]);
            profile.mean[hour] += (mean - profile.mean[hour]) * readings / (known + readings);
            profile.readings[hour] = (known + readings) as u16;
        }
    }

    pub fn learn(&mut self, x: f64, at: Moment, readings: u64, tuning: &Tuning) {
        let hour = hour_of(at);
        self.every.learn(hour, x, tuning.hour_rate);
        let kind = if at.weekend {
            &mut self.weekend
        } else {
            &mut self.weekday
        };
        kind.learn(hour, x, tuning.hour_rate);
        self.slow += (x - self.slow) * rate(SLOW, readings);
    }

    pub fn is_sound(&self) -> bool {
        self.slow.is_finite()
            && [&self.every, &self.weekday, &self.weekend]
                .iter()
                .all(|profile| profile.mean.iter().all(|v| v.is_finite()))
    }
}
