//! What is asked to find the incidents: the detector, and what people use instead.

use std::collections::VecDeque;

use detector::tail;
use detector::{Model, Moment, Pace};

use crate::scenario::{is_weekend, Scenario, DAY};

/// An incident that was told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Readings at which it opened and ended.
    pub opened: usize,
    pub closed: usize,
    pub direction: i8,
    /// The channel that opened it; of peers, 255.
    pub channel: u8,
}

/// Something that reads a series and tells incidents.
pub trait Watcher: Sync {
    fn name(&self) -> &'static str;
    fn read(&self, scenario: &Scenario) -> Vec<Told>;
}

/// A series declared to be one of counts, as rows are: it reads values where its readings do not bear that out.
pub struct Ours;

impl Watcher for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn read(&self, scenario: &Scenario) -> Vec<Told> {
        let mut series = Model::new();
        let (mut told, mut before) = (Vec::<Told>::new(), 0);
        for (i, &x) in scenario.counts.iter().enumerate() {
            let minute = scenario.minute(i);
            let at = Moment {
                bucket: minute as i64,
                minute: (minute % DAY) as u16,
                weekend: is_weekend(minute),
            };
            series.step(x, at, Pace { minutes: 1.0 });
            if series.incidents() > before {
                before = series.incidents();
                if let Some(incident) = series.last_incident() {
                    told.push(Told {
                        opened: i,
                        closed: usize::MAX,
                        direction: incident.direction,
                        channel: incident.channel,
                    });
                }
            }
            if let Some(last) = told.last_mut() {
                if last.closed == usize::MAX && series.open_incident().is_none() {
                    last.closed = i;
                }
            }
        }
        let end = scenario.counts.len();
        told.iter_mut().for_each(|t| t.closed = t.closed.min(end));
        told
    }
}

/// Readings without an alarm after which a peer's incident is over: as ours.
const QUIET: usize = 8;

/// Joins a peer's alarms (side, or 0) to incidents.
fn joined(alarms: impl Iterator<Item = i8>) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut last = (0, 0);
    for (i, side) in alarms.enumerate() {
        let goes_on = last.1 != 0 && i - last.0 <= QUIET;
        if side != 0 {
            if goes_on && side == last.1 {
                if let Some(open) = told.last_mut() {
                    open.closed = i;
                }
            } else {
                told.push(Told {
                    opened: i,
                    closed: i,
                    direction: side,
                    channel: 255,
                });
            }
            last = (i, side);
        }
    }
    told
}

/// How far a reading lies from the mean of the last thousand, in their standard deviations.
pub struct RollingZ {
    pub threshold: f64,
}

impl Watcher for RollingZ {
    fn name(&self) -> &'static str {
        if self.threshold > 5.0 {
            "rolling z > 6"
        } else {
            "rolling z > 4"
        }
    }

    fn read(&self, scenario: &Scenario) -> Vec<Told> {
        let mut held: VecDeque<f64> = VecDeque::new();
        let (mut sum, mut squares) = (0.0, 0.0);
        joined(scenario.counts.iter().map(|&x| {
            if x.is_nan() {
                return 0;
            }
            let n = held.len() as f64;
            let mut side = 0;
            if n >= 100.0 {
                let mean = sum / n;
                let deviation = (squares / n - mean * mean).max(0.25).sqrt();
                if (x - mean).abs() > self.threshold * deviation {
                    side = if x > mean { 1 } else { -1 };
                }
            }
            held.push_back(x);
            (sum, squares) = (sum + x, squares + x * x);
            if held.len() > 1000 {
                if let Some(old) = held.pop_front() {
                    (sum, squares) = (sum - old, squares - old * old);
                }
            }
            side
        }))
    }
}

/// Sums of five minutes against the median of those of the last day, by a Poisson tail of a millionth.
pub struct PoissonOverMedian;

impl Watcher for PoissonOverMedian {
    fn name(&self) -> &'static str {
        "Poisson over median"
    }

    fn read(&self, scenario: &Scenario) -> Vec<Told> {
        let mut five: VecDeque<f64> = VecDeque::new();
        let mut sums: VecDeque<f64> = VecDeque::new();
        let mut median = 0.0;
        joined(scenario.counts.iter().enumerate().map(|(i, &x)| {
            if x.is_nan() {
                return 0;
            }
            five.push_back(x);
            if five.len() > 5 {
                five.pop_front();
            }
            let sum: f64 = five.iter().sum();
            let mut side = 0;
            if sums.len() >= 24 {
                let expected = f64::max(median, 0.5);
                if tail::upper(sum, expected, 0.0) > 6.0 {
                    side = 1;
                } else if tail::lower(sum, expected, 0.0) > 6.0 {
                    side = -1;
                }
            }
            if i % 5 == 4 {
                sums.push_back(sum);
                if sums.len() > DAY / 5 {
                    sums.pop_front();
                }
                let mut sorted: Vec<f64> = sums.iter().copied().collect();
                sorted.sort_by(f64::total_cmp);
                median = sorted[sorted.len() / 2];
            }
            side
        }))
    }
}

/// In the manner of Farrington et al. (1996, J. R. Stat. Soc. A 159): a five-minute sum against those of the same
/// time (a quarter of an hour around it) on the last five days of the same kind, quasi-Poisson, with a limit on the
/// 2/3 power.
pub struct Farrington;

/// Standard deviations of its limit.
const LIMIT: f64 = 4.75;

impl Watcher for Farrington {
    fn name(&self) -> &'static str {
        "Farrington-like"
    }

    fn read(&self, scenario: &Scenario) -> Vec<Told> {
        let x = &scenario.counts;
        // Sums of five by their last reading.
        let sums: Vec<f64> = (0..x.len())
            .map(|i| {
                if i < 4 {
                    f64::NAN
                } else {
                    x[i - 4..=i].iter().sum()
                }
            })
            .collect();
        let mut base: Vec<f64> = Vec::new();
        joined((0..x.len()).map(|i| {
            base.clear();
            let mut days = 0;
            for back in 1..=(i / DAY) {
                let then = i - back * DAY;
                if is_weekend(scenario.minute(then)) != is_weekend(scenario.minute(i)) {
                    continue;
                }
                for shift in [-15i64, -10, -5, 0, 5, 10, 15] {
                    let place = then as i64 + shift;
                    if place >= 0 && !sums[place as usize].is_nan() {
                        base.push(sums[place as usize]);
                    }
                }
                days += 1;
                if days == 5 {
                    break;
                }
            }
            if base.len() < 7 || sums[i].is_nan() {
                return 0;
            }
            let n = base.len() as f64;
            let mean = (base.iter().sum::<f64>() / n).max(0.1);
            let scatter = base.iter().map(|b| (b - mean).powi(2) / mean).sum::<f64>() / (n - 1.0);
            // Variance of a future sum less the mean, relative to the mean squared; on the 2/3 power.
            let variance = scatter.max(1.0) * mean * (1.0 + 1.0 / n);
            let spread = 2.0 / 3.0 * LIMIT * variance.sqrt() / mean;
            let upper = mean * (1.0 + spread).powf(1.5);
            let lower = mean * (1.0 - spread).max(0.0).powf(1.5);
            if sums[i] > upper && sums[i] >= 5.0 {
                1
            } else if sums[i] < lower {
                -1
            } else {
                0
            }
        }))
    }
}
