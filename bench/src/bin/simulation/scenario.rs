//! A series with what is wrong in it: the rate, the incidents laid over it, the counts drawn.

use crate::noise::Noise;
use crate::random::Random;

/// Minutes of a day.
pub const DAY: usize = 1440;
/// Days of a series.
pub const DAYS: usize = 14;
/// Readings of a series.
pub const LENGTH: usize = DAYS * DAY;
/// Where an incident is laid, the rate is at least this share of the mean for the next two hours: a cell's mean says
/// then what an incident has to show itself in.
const BUSY: f64 = 0.7;
const BUSY_FOR: usize = 120;

/// What was laid over a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Burst,
    Drop,
    Up,
    Down,
    Twin,
    SecondTwin,
    /// A level that changes for good.
    Level,
    /// A holiday: nothing is wrong, and much is unusual.
    Holiday,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Burst,
        Kind::Drop,
        Kind::Up,
        Kind::Down,
        Kind::Twin,
        Kind::SecondTwin,
        Kind::Level,
        Kind::Holiday,
    ];
}

/// One incident: readings `from..to` are its own.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub kind: Kind,
    pub from: usize,
    pub to: usize,
    pub direction: i8,
}

/// By how much an incident multiplies the rate, and for how long.
#[derive(Clone, Copy)]
pub struct Shape {
    pub factor: f64,
    pub minutes: usize,
}

/// What incidents look like. Chosen before anything was run.
#[derive(Clone, Copy)]
pub struct Definition {
    pub burst: Shape,
    pub drop: Shape,
    pub up: Shape,
    pub down: Shape,
    pub twin: Shape,
    /// A level that changes for good goes up or down by this.
    pub level: f64,
    /// The slow growth of `Plot::Drift`, per day.
    pub drift: f64,
}

impl Definition {
    /// Of the prototype's simulation.
    pub const PROTOTYPE: Definition = Definition {
        burst: Shape {
            factor: 6.0,
            minutes: 10,
        },
        drop: Shape {
            factor: 0.0,
            minutes: 20,
        },
        up: Shape {
            factor: 1.7,
            minutes: 120,
        },
        down: Shape {
            factor: 0.5,
            minutes: 120,
        },
        twin: Shape {
            factor: 4.0,
            minutes: 30,
        },
        level: 2.0,
        drift: 0.03,
    };

    /// Harder: bursts of five times, drops that let a tenth through, twins of three times.
    pub const OURS: Definition = Definition {
        burst: Shape {
            factor: 5.0,
            minutes: 10,
        },
        drop: Shape {
            factor: 0.1,
            minutes: 20,
        },
        up: Shape {
            factor: 1.7,
            minutes: 120,
        },
        down: Shape {
            factor: 0.5,
            minutes: 120,
        },
        twin: Shape {
            factor: 3.0,
            minutes: 30,
        },
        level: 2.0,
        drift: 0.03,
    };
}

/// What happens in a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// Nothing.
    Nothing,
    /// An incident a day from the third day on, of four kinds in turn.
    Incidents,
    /// The same incident at the same time of two days.
    Twins,
    /// A level that changes for good.
    Level,
    /// The level grows or shrinks slowly.
    Drift,
    /// Hours without data.
    Missing,
}

impl Plot {
    pub const ALL: [Plot; 6] = [
        Plot::Nothing,
        Plot::Incidents,
        Plot::Twins,
        Plot::Level,
        Plot::Drift,
        Plot::Missing,
    ];

    /// How many of so many repetitions it gets: the rarer ones half.
    pub fn repetitions(self, of: usize) -> usize {
        match self {
            Plot::Nothing | Plot::Incidents | Plot::Drift => of,
            _ => of.div_ceil(2),
        }
    }
}

/// A series to be read.
pub struct Scenario {
    /// The minute of its first reading, since a Monday's midnight.
    pub start: usize,
    /// Counts; NaN where there is no data.
    pub counts: Vec<f64>,
    pub events: Vec<Event>,
}

impl Scenario {
    /// The minute of a reading, since a Monday's midnight.
    pub fn minute(&self, reading: usize) -> usize {
        self.start + reading
    }

    pub fn make(
        random: &mut Random,
        mean: f64,
        noise: &Noise,
        plot: Plot,
        definition: &Definition,
    ) -> Scenario {
        let start = random.whole(0, 7) * DAY + random.whole(0, DAY);
        let growth = match plot {
            Plot::Drift if random.chance(0.5) => definition.drift,
            Plot::Drift => -definition.drift,
            _ => 0.0,
        };
        let mut events = Vec::new();
        let usual = usual_rate(random, mean, start, growth);
        let usual = noise.shaped(random, usual, start, &mut events);
        let mut rate = usual.clone();
        let mut lay = |kind, from: usize, shape: Shape| {
            let to = (from + shape.minutes).min(LENGTH);
            rate[from..to].iter_mut().for_each(|r| *r *= shape.factor);
            let direction = if shape.factor > 1.0 { 1 } else { -1 };
            events.push(Event {
                kind,
                from,
                to,
                direction,
            });
        };
        let mut missing = Vec::new();
        match plot {
            Plot::Nothing | Plot::Drift => {}
            Plot::Incidents => {
                for day in 2..DAYS - 1 {
                    let from = busy_minute(random, &usual, mean, day);
                    match (day + start) % 4 {
                        0 => lay(Kind::Burst, from, definition.burst),
                        1 => lay(Kind::Drop, from, definition.drop),
                        2 => lay(Kind::Up, from, definition.up),
                        _ => lay(Kind::Down, from, definition.down),
                    }
                }
            }
            Plot::Twins => {
                let day = random.whole(8, 10);
                let from = busy_minute(random, &usual, mean, day);
                lay(Kind::Twin, from, definition.twin);
                lay(Kind::SecondTwin, from + DAY, definition.twin);
            }
            Plot::Level => {
                let from = 7 * DAY + random.whole(0, DAY);
                let up = random.chance(0.5);
                let factor = if up {
                    definition.level
                } else {
                    1.0 / definition.level
                };
                lay(
                    Kind::Level,
                    from,
                    Shape {
                        factor,
                        minutes: LENGTH,
                    },
                );
            }
            Plot::Missing => {
                missing = [0, 3, 6, 10]
                    .map(|day| day * DAY + random.whole(0, DAY - 60))
                    .to_vec();
            }
        }
        let mut counts = noise.draw(random, &rate, &usual, start, mean);
        for from in missing {
            counts[from..from + 60].fill(f64::NAN);
        }
        Scenario {
            start,
            counts,
            events,
        }
    }
}

/// A minute of a day from which on the series is busy for two hours; any, if fifty tries find none.
fn busy_minute(random: &mut Random, rate: &[f64], mean: f64, day: usize) -> usize {
    let mut from = 0;
    for _ in 0..50 {
        from = day * DAY + random.whole(0, DAY - 150);
        if rate[from..from + BUSY_FOR]
            .iter()
            .all(|r| *r >= BUSY * mean)
        {
            break;
        }
    }
    from
}

/// The rate of each minute: a day's curve of two harmonics of random size, later and 0.6 of it at the weekend, of the
/// given mean on a weekday.
fn usual_rate(random: &mut Random, mean: f64, start: usize, growth: f64) -> Vec<f64> {
    let (first, second) = (random.between(0.5, 1.5), random.between(0.0, 0.4));
    let (peak, other) = (random.between(13.0, 16.0), random.between(0.0, 12.0));
    let curve = |minute: f64, late: f64| {
        let hour = minute / 60.0 - late;
        let angle = core::f64::consts::TAU * (hour - peak) / 24.0;
        let twice = 2.0 * core::f64::consts::TAU * (hour - other) / 24.0;
        (first * angle.cos() + second * twice.cos()).exp()
    };
    let level = (0..DAY).map(|m| curve(m as f64, 0.0)).sum::<f64>() / DAY as f64;
    (0..LENGTH)
        .map(|i| {
            let minute = start + i;
            let weekend = weekend_share(minute);
            let grown = (growth * i as f64 / DAY as f64).exp();
            let of_day = (minute % DAY) as f64;
            mean / level * curve(of_day, 1.5 * weekend) * (1.0 - 0.4 * weekend) * grown
        })
        .collect()
}

/// 1 at the weekend, 0 on weekdays, in two hours from one to the other around midnight.
fn weekend_share(minute: usize) -> f64 {
    const WEEK: f64 = 7.0 * DAY as f64;
    let since = |begin: f64| (minute as f64 - begin + WEEK / 2.0).rem_euclid(WEEK) - WEEK / 2.0;
    let saturday = since(5.0 * DAY as f64);
    let monday = since(0.0);
    if saturday.abs() <= 60.0 {
        (saturday + 60.0) / 120.0
    } else if monday.abs() <= 60.0 {
        (60.0 - monday) / 120.0
    } else if is_weekend(minute) {
        1.0
    } else {
        0.0
    }
}

/// Whether a minute since a Monday's midnight lies on a Saturday or a Sunday.
pub fn is_weekend(minute: usize) -> bool {
    minute / DAY % 7 >= 5
}
