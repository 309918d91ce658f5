//! What was found of what was laid, and what was told without cause.

use crate::scenario::{is_weekend, Kind, Plot, Scenario, DAY, DAYS};
use crate::watcher::Told;

/// Readings after an incident's end in which what is told still belongs to it.
const AFTER: usize = 60;
/// Readings within which a lasting change has to be told.
const LASTING: usize = 720;
/// Minutes beyond which a false incident is a long one.
const LONG: usize = 30;

/// Figures of a cell.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub days: f64,
    /// By kind of event: found, laid, and the delays of those found.
    pub found: [u32; Kind::ALL.len()],
    pub laid: [u32; Kind::ALL.len()],
    pub delays: [Vec<u32>; Kind::ALL.len()],
    /// False incidents, above and below.
    pub high: u32,
    pub low: u32,
    /// Those of the first day, the second day, and the first weekend, with how many days of that kind there were.
    pub first_day: u32,
    pub second_day: u32,
    pub weekend: u32,
    pub series: u32,
    pub weekend_days: f64,
    /// Those that lasted more than half an hour, and the longest.
    pub long: u32,
    pub longest: usize,
    /// Told the other way while an incident was on or within an hour after: its echo.
    pub echoes: u32,
    /// Told more than a day after a level had changed for good.
    pub later: u32,
    /// Told on a holiday.
    pub on_holidays: u32,
    /// False ones by channel (point, five, twenty, long, zero run).
    pub channels: [u32; 5],
}

fn place(kind: Kind) -> usize {
    kind as usize
}

impl Tally {
    pub fn add(&mut self, scenario: &Scenario, told: &[Told]) {
        self.days += DAYS as f64;
        self.series += 1;
        for event in &scenario.events {
            let k = place(event.kind);
            let until = match event.kind {
                Kind::Level | Kind::Holiday => (event.from + LASTING).min(event.to),
                _ => event.to,
            };
            let hit = told.iter().find(|t| {
                t.opened + 1 >= event.from && t.opened < until && t.direction == event.direction
            });
            self.laid[k] += 1;
            if let Some(hit) = hit {
                self.found[k] += 1;
                self.delays[k].push(hit.opened.saturating_sub(event.from) as u32);
            }
        }
        let first_weekend = first_weekend(scenario);
        if let Some((from, to)) = first_weekend {
            self.weekend_days += (to - from) as f64 / DAY as f64;
        }
        for t in told {
            let cause = scenario
                .events
                .iter()
                .find(|e| t.opened + 1 >= e.from && t.opened < e.to + AFTER);
            match cause.map(|e| e.kind) {
                Some(Kind::Holiday) => self.on_holidays += 1,
                Some(Kind::Level) => {
                    let since = scenario.events.iter().find(|e| e.kind == Kind::Level);
                    self.later += u32::from(since.is_some_and(|e| t.opened > e.from + DAY));
                }
                Some(_) => {
                    self.echoes += u32::from(cause.is_some_and(|e| e.direction != t.direction));
                }
                None => self.add_false(t, first_weekend),
            }
        }
    }

    fn add_false(&mut self, t: &Told, first_weekend: Option<(usize, usize)>) {
        if t.direction > 0 {
            self.high += 1;
        } else {
            self.low += 1;
        }
        match t.opened / DAY {
            0 => self.first_day += 1,
            1 => self.second_day += 1,
            _ => {}
        }
        if first_weekend.is_some_and(|(from, to)| (from..to).contains(&t.opened)) {
            self.weekend += 1;
        }
        let length = t.closed - t.opened;
        self.long += u32::from(length > LONG);
        self.longest = self.longest.max(length);
        if let Some(count) = self.channels.get_mut(usize::from(t.channel)) {
            *count += 1;
        }
    }

    pub fn merge(&mut self, other: &Tally) {
        self.days += other.days;
        for k in 0..Kind::ALL.len() {
            self.found[k] += other.found[k];
            self.laid[k] += other.laid[k];
            self.delays[k].extend_from_slice(&other.delays[k]);
        }
        self.high += other.high;
        self.low += other.low;
        self.first_day += other.first_day;
        self.second_day += other.second_day;
        self.weekend += other.weekend;
        self.series += other.series;
        self.weekend_days += other.weekend_days;
        self.long += other.long;
        self.longest = self.longest.max(other.longest);
        self.echoes += other.echoes;
        self.later += other.later;
        self.on_holidays += other.on_holidays;
        for (mine, theirs) in self.channels.iter_mut().zip(other.channels) {
            *mine += theirs;
        }
    }

    /// False incidents a series-day.
    pub fn false_a_day(&self) -> f64 {
        f64::from(self.high + self.low) / self.days.max(1.0)
    }

    pub fn found_of(&self, kind: Kind) -> (u32, u32) {
        (self.found[place(kind)], self.laid[place(kind)])
    }

    /// Half of those found were told within so many minutes.
    pub fn median_delay(&self, kind: Kind) -> Option<u32> {
        let mut delays = self.delays[place(kind)].clone();
        delays.sort_unstable();
        delays.get(delays.len() / 2).copied()
    }
}

/// The readings of the first weekend that begins after the first day.
fn first_weekend(scenario: &Scenario) -> Option<(usize, usize)> {
    let length = scenario.counts.len();
    let from = (DAY / 2..length)
        .find(|i| is_weekend(scenario.minute(*i)) && !is_weekend(scenario.minute(*i) - 1))?;
    Some((from, (from + 2 * DAY).min(length)))
}

/// What a run is about: a cell, and the plot that is played in it.
#[derive(Clone, Copy)]
pub struct Job {
    pub cell: usize,
    pub plot: Plot,
    pub repetition: usize,
}
