//! How counts scatter around their rate.
//!
//! The first six are what the detector assumes, or close to it: a gamma factor for each minute, on top of that a slow
//! log-normal factor. The others are not.

use crate::random::Random;
use crate::scenario::{is_weekend, Event, Kind, DAY, DAYS, LENGTH};

/// Minutes after which the slow factor has forgotten a twentieth.
const SLOW_MEMORY: f64 = 0.95;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise {
    /// A gamma factor of this variance for each minute, and a first-order autoregressive log-normal one of this
    /// standard deviation.
    Mixed { dispersion: f64, slow: f64 },
    /// Each arrival brings on others: half of all are brought on, within some three minutes (Hawkes 1971).
    Excited,
    /// Arrivals come in groups of 3 on average (compound Poisson): a variance of five times the mean.
    Grouped,
    /// Every ten minutes, on average, a batch of three minutes' worth comes at once.
    Batches,
    /// Jobs of one size at all hours, which an outage reaches too: three minutes' worth on the hour, one at half past.
    Hourly,
    /// The same every five minutes: half a minute's worth.
    FiveMinutely,
    /// One weekday has 0.6 of its volume, from midnight to midnight.
    Holiday,
    /// The level changes for good, by half or to two thirds, once.
    LevelChange,
    /// One minute in a hundred is missing, and half a day.
    Gaps,
    /// From one to four at night next to nothing comes: a two hundredth, with five hours to get there and back.
    Asleep,
}

impl Noise {
    pub const ASSUMED: [Noise; 6] = [
        Noise::Mixed {
            dispersion: 0.0,
            slow: 0.0,
        },
        Noise::Mixed {
            dispersion: 0.05,
            slow: 0.0,
        },
        Noise::Mixed {
            dispersion: 0.1,
            slow: 0.0,
        },
        Noise::Mixed {
            dispersion: 0.3,
            slow: 0.0,
        },
        Noise::Mixed {
            dispersion: 0.1,
            slow: 0.05,
        },
        Noise::Mixed {
            dispersion: 0.3,
            slow: 0.1,
        },
    ];
    pub const PROTOTYPE: [Noise; 3] = [
        Noise::Mixed {
            dispersion: 0.0,
            slow: 0.0,
        },
        Noise::Mixed {
            dispersion: 0.1,
            slow: 0.05,
        },
        Noise::Mixed {
            dispersion: 0.3,
            slow: 0.1,
        },
    ];
    pub const FOREIGN: [Noise; 9] = [
        Noise::Excited,
        Noise::Grouped,
        Noise::Batches,
        Noise::Hourly,
        Noise::FiveMinutely,
        Noise::Holiday,
        Noise::LevelChange,
        Noise::Gaps,
        Noise::Asleep,
    ];

    pub fn name(&self) -> String {
        match *self {
            Noise::Mixed { dispersion, slow } => match (dispersion > 0.0, slow > 0.0) {
                (false, _) => "Poisson".to_owned(),
                (true, false) => format!("dispersion {dispersion}"),
                (true, true) => format!("dispersion {dispersion}, AR {slow}"),
            },
            Noise::Excited => "self-exciting".to_owned(),
            Noise::Grouped => "groups of 3".to_owned(),
            Noise::Batches => "batches".to_owned(),
            Noise::Hourly => "hourly jobs".to_owned(),
            Noise::FiveMinutely => "jobs every 5 min".to_owned(),
            Noise::Holiday => "holiday".to_owned(),
            Noise::LevelChange => "level change".to_owned(),
            Noise::Gaps => "missing minutes".to_owned(),
            Noise::Asleep => "deep nights".to_owned(),
        }
    }

    /// The rate as this kind of series has it; what nobody would call wrong becomes an event of its own.
    pub fn shaped(
        &self,
        random: &mut Random,
        mut rate: Vec<f64>,
        start: usize,
        events: &mut Vec<Event>,
    ) -> Vec<f64> {
        match self {
            Noise::Holiday => {
                let midnight = DAY - start % DAY;
                let weekdays: Vec<usize> = (6..DAYS - 1)
                    .map(|day| midnight + day * DAY)
                    .filter(|from| !is_weekend(start + from))
                    .collect();
                let from = weekdays[random.whole(0, weekdays.len())];
                let to = (from + DAY).min(LENGTH);
                rate[from..to].iter_mut().for_each(|r| *r *= 0.6);
                events.push(Event {
                    kind: Kind::Holiday,
                    from,
                    to,
                    direction: -1,
                });
            }
            Noise::LevelChange => {
                let from = random.whole(5, 10) * DAY + random.whole(0, DAY);
                let up = random.chance(0.5);
                let factor = if up { 1.5 } else { 1.0 / 1.5 };
                rate[from..].iter_mut().for_each(|r| *r *= factor);
                let direction = if up { 1 } else { -1 };
                events.push(Event {
                    kind: Kind::Level,
                    from,
                    to: LENGTH,
                    direction,
                });
            }
            Noise::Asleep => {
                for (i, r) in rate.iter_mut().enumerate() {
                    *r *= (-(200f64.ln()) * asleep(start + i)).exp();
                }
            }
            _ => {}
        }
        rate
    }

    /// A count for each minute of that rate.
    /// `usual` is the rate without what is wrong.
    pub fn draw(
        &self,
        random: &mut Random,
        rate: &[f64],
        usual: &[f64],
        start: usize,
        mean: f64,
    ) -> Vec<f64> {
        let jobs = |random: &mut Random, worth: fn(usize) -> f64| {
            (0..rate.len())
                .map(|i| {
                    let reached = (rate[i] / usual[i]).min(1.0);
                    let job = worth(start + i) * mean * reached;
                    let factor = random.gamma(0.02);
                    random.poisson((rate[i] + job) * factor)
                })
                .collect()
        };
        match *self {
            Noise::Mixed { dispersion, slow } => mixed(random, rate, dispersion, slow),
            Noise::Excited => excited(random, rate),
            Noise::Grouped => rate
                .iter()
                .map(|r| {
                    (0..random.poisson(r / 3.0) as u64)
                        .map(|_| random.geometric(3.0))
                        .sum()
                })
                .collect(),
            Noise::Batches => rate
                .iter()
                .map(|r| {
                    let worth = if random.chance(0.1) {
                        3.0 * random.gamma(0.5)
                    } else {
                        0.0
                    };
                    random.poisson(r * (1.0 + worth))
                })
                .collect(),
            Noise::Hourly => jobs(random, |minute| match minute % 60 {
                0 => 3.0,
                30 => 1.0,
                _ => 0.0,
            }),
            Noise::FiveMinutely => jobs(random, |minute| if minute % 5 == 0 { 0.5 } else { 0.0 }),
            Noise::Holiday | Noise::LevelChange | Noise::Asleep => mixed(random, rate, 0.05, 0.03),
            Noise::Gaps => {
                let mut counts = mixed(random, rate, 0.05, 0.03);
                for count in &mut counts {
                    if random.chance(0.01) {
                        *count = f64::NAN;
                    }
                }
                let from = random.whole(3, 12) * DAY + random.whole(0, DAY);
                counts[from..(from + DAY / 2).min(LENGTH)].fill(f64::NAN);
                counts
            }
        }
    }
}

/// 1 from one to four at night, 0 from nine in the morning to eight in the evening, and half a cosine between.
fn asleep(minute: usize) -> f64 {
    let from_middle = ((minute % DAY) as f64 - 150.0).abs();
    let from_middle = from_middle.min(DAY as f64 - from_middle);
    let awake = ((from_middle - 90.0) / 300.0).clamp(0.0, 1.0);
    0.5 + 0.5 * (core::f64::consts::PI * awake).cos()
}

fn mixed(random: &mut Random, rate: &[f64], dispersion: f64, slow: f64) -> Vec<f64> {
    let step = slow * (1.0 - SLOW_MEMORY * SLOW_MEMORY).sqrt();
    let mut log = slow * random.normal();
    rate.iter()
        .map(|r| {
            let factor = (log - slow * slow / 2.0).exp();
            log = SLOW_MEMORY * log + step * random.normal();
            let gamma = random.gamma(dispersion);
            random.poisson(r * factor * gamma)
        })
        .collect()
}

fn excited(random: &mut Random, rate: &[f64]) -> Vec<f64> {
    const BRANCHING: f64 = 0.5;
    const DECAY: f64 = 0.7;
    let mut brought_on = 0.0;
    rate.iter()
        .map(|r| {
            let count = random.poisson(r * (1.0 - BRANCHING) + brought_on);
            brought_on = DECAY * brought_on + (1.0 - DECAY) * BRANCHING * count;
            count
        })
        .collect()
}
