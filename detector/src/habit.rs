//! How often a series has surprised this much: what comes every hour is not one in a million.
//!
//! The law of a series is a model, and some series are not like it: arrivals in batches, jobs that run
//! when they like. Such a series surprises again and again, and the scale of scores, *once in `N`
//! buckets*, would not hold. So the occasions on which it surprised are counted, by side and size, and
//! where a size has come often, how often is what is said of it. Few occasions say nothing: an incident
//! and its twins of the next days are as surprising as ever. Of a series that has many surprises of a
//! lesser size fewer of the next one are needed: its law has a longer tail than ours. What lies far beyond
//! the greatest surprise there was is as surprising as ever, however many there were.

use core::f64::consts::LN_2;

use serde::{Deserialize, Serialize};

use crate::elementary::{exp, ln, log10};
use crate::judgement::Channel;

/// Surprises, in decades, from which occasions are counted.
const EDGES: [f64; SIZES] = [3.0, 5.0, 8.0, 14.0, 30.0, 75.0, 200.0];
const SIZES: usize = 7;
/// Number of the size from which a reading is far too high.
const FAR: usize = 1;
/// Readings after which the occasions counted so far count half.
const HALVED: u16 = 5040;
/// Readings that occasions are counted over, on average: so many, half of those before, and so on.
const MEMORY: f64 = 7560.0;
/// Occasions from which a size is known to be usual in part, and in full.
const FEW: f64 = 12.0;
const MANY: f64 = 24.0;
/// Share of them that is enough of readings that are too high by themselves: what lasts is told of by its sums all the same,
/// a few readings later.
const SOON: f64 = 0.4;
/// By how much fewer they may be where as many occasions of the next lesser size were not of this one.
const LESS: f64 = 0.75;
/// Times the greatest surprise there was, beyond which habits say nothing.
const BEYOND: f64 = 1.5;
/// Steps in which the greatest surprise is kept, per doubling; and how many of them it loses each time the occasions are
/// halved.
const STEPS: f64 = 12.0;
const FORGOTTEN: u8 = 6;
/// Readings that one occasion lasts; what comes later is another.
const APART: u16 = 5;
/// The scale of scores: a surprise of `S` is one in `10^(S - 0.4)` readings.
const SCALE: f64 = 0.4;

/// Occasions of one side, as readings by themselves or as sums of them see it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Side {
    /// Occasions of at least this size.
    occasions: [u8; SIZES],
    /// Sizes reached in the occasion under way.
    reached: u8,
    /// The greatest surprise, in steps of its logarithm; it fades.
    greatest: u8,
}

/// The size of a surprise: how many edges it passes.
fn size(surprise: f64) -> usize {
    EDGES.iter().filter(|edge| **edge <= surprise).count()
}

/// The surprise, decades, of what came on so many occasions. (Of few series it is asked: it must not weigh on the rest.)
#[cold]
fn usual(occasions: f64) -> f64 {
    (log10(MEMORY / occasions) + SCALE).max(EDGES[0])
}

impl Side {
    const NEW: Side = Side {
        occasions: [0; SIZES],
        reached: 0,
        greatest: 0,
    };

    /// What a surprise is worth: where occasions of its size are many, what their number says. What lies beyond the
    /// greatest one is added in full. `enough`: the share of occasions that it takes.
    fn tempered(&self, surprise: f64, enough: f64) -> f64 {
        // As nearly always; the sizes need not be counted.
        if surprise < EDGES[0] {
            return surprise;
        }
        let size = size(surprise).max(1) - 1;
        let known = self.known(size, enough);
        if known <= 0.0 {
            return surprise;
        }
        let usual = usual(f64::from(self.occasions[size]));
        let met = surprise.min(BEYOND * self.greatest());
        surprise - known * (met - usual).max(0.0)
    }

    /// How far a size is known to be usual, 0 to 1: never further than a lesser one.
    fn known(&self, size: usize, enough: f64) -> f64 {
        let (mut known, mut lesser) = (1.0_f64, None);
        for occasions in self.occasions[..=size].iter().map(|o| f64::from(*o)) {
            let beside = lesser.map_or(0.0, |lesser: f64| (lesser - occasions).max(0.0));
            let needed = enough * (1.0 - LESS * (beside / MANY).min(1.0));
            let share = (occasions - needed * FEW) / (needed * (MANY - FEW));
            known = known.min(share.clamp(0.0, 1.0));
            lesser = Some(occasions);
        }
        known
    }

    /// The greatest surprise, decades, no less than it was; a step more at most.
    fn greatest(&self) -> f64 {
        exp(f64::from(self.greatest) * (LN_2 / STEPS)).max(EDGES[0])
    }

    fn learn(&mut self, surprise: f64) {
        let sizes = size(surprise);
        for occasions in self.occasions[..sizes]
            .iter_mut()
            .skip(usize::from(self.reached))
        {
            *occasions = occasions.saturating_add(1);
        }
        self.reached = self.reached.max(sizes as u8);
        let steps = (STEPS / LN_2 * ln(surprise)).ceil();
        self.greatest = self.greatest.max(steps as u8);
    }
}

/// How often a series has surprised, above and below.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Habit {
    /// Above and below; readings by themselves, sums of them.
    sides: [[Side; 2]; 2],
    /// Readings since the occasion under way began, by side and view.
    since: [[u16; 2]; 2],
    /// Readings since the counts were halved.
    age: u16,
    spare: [u8; 2],
}

impl Habit {
    pub const NEW: Habit = Habit {
        sides: [[Side::NEW; 2]; 2],
        since: [[APART; 2]; 2],
        age: 0,
        spare: [0; 2],
    };

    /// What the surprise of a channel (signed) is worth in this series, signed: no more than it is,
    /// rising with it.
    pub fn tempered(&self, channel: Channel, signed: f64) -> f64 {
        let side = &self.sides[usize::from(signed < 0.0)][view(channel)];
        let is_single_rise = channel == Channel::Point && signed > 0.0;
        let enough = if is_single_rise { SOON } else { 1.0 };
        side.tempered(signed.abs(), enough).copysign(signed)
    }

    /// Whether readings that are far too high by themselves may be usual.
    pub fn knows_rises(&self) -> bool {
        let rises = &self.sides[0][view(Channel::Point)];
        rises.occasions[FAR] > 1 && rises.known(FAR, SOON) > 0.0
    }

    /// Takes the surprises of a reading as its law has them, in the order of [`Channel::ALL`].
    pub fn learn(&mut self, channels: &[f64; 5]) {
        self.age = self.age.saturating_add(1);
        if self.age >= HALVED {
            self.age = 0;
            for side in self.sides.iter_mut().flatten() {
                side.occasions = side.occasions.map(|occasions| occasions / 2);
                side.greatest = side.greatest.saturating_sub(FORGOTTEN);
            }
        }
        if channels.iter().all(|signed| signed.abs() < EDGES[0]) {
            for since in self.since.iter_mut().flatten() {
                *since = since.saturating_add(1);
            }
            return;
        }
        for (below, sides) in self.sides.iter_mut().enumerate() {
            for (v, side) in sides.iter_mut().enumerate() {
                let since = &mut self.since[below][v];
                *since = since.saturating_add(1);
                let surprise = Channel::ALL
                    .into_iter()
                    .zip(channels)
                    .filter(|(channel, signed)| {
                        view(*channel) == v && (**signed < 0.0) == (below == 1)
                    })
                    .fold(0.0, |most: f64, (_, signed)| most.max(signed.abs()));
                if surprise < EDGES[0] {
                    continue;
                }
                if *since >= APART {
                    *since = 0;
                    side.reached = 0;
                }
                side.learn(surprise);
            }
        }
    }
}

/// 0 for what looks at readings by themselves, 1 for sums of them.
fn view(channel: Channel) -> usize {
    usize::from(channel != Channel::Point)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A point surprise of a reading, then `quiet` readings without one.
    fn occasion(habit: &mut Habit, surprise: f64, quiet: usize) {
        habit.learn(&[surprise, 0.0, 0.0, 0.0, 0.0]);
        (0..quiet).for_each(|_| habit.learn(&[0.5, 0.0, 0.0, 0.0, 0.0]));
    }

    #[test]
    fn few_occasions_say_nothing() {
        let mut habit = Habit::NEW;
        (0..4).for_each(|_| occasion(&mut habit, 20.0, 200));
        assert_eq!(habit.tempered(Channel::Point, 20.0), 20.0);
        let mut habit = Habit::NEW;
        (0..12).for_each(|_| occasion(&mut habit, -20.0, 200));
        assert_eq!(habit.tempered(Channel::Point, -20.0), -20.0);
    }

    /// Of a month of days with one of them each, it is told of each.
    #[test]
    fn what_comes_once_a_day_is_a_surprise() {
        let mut habit = Habit::NEW;
        for day in 0..30 {
            let tempered = habit.tempered(Channel::Point, 14.0);
            assert!(tempered > 8.0, "{day}: {tempered}");
            occasion(&mut habit, 14.0, 1439);
        }
    }

    #[test]
    fn what_comes_every_hour_is_no_surprise_and_what_is_greater_is() {
        let mut habit = Habit::NEW;
        (0..72).for_each(|_| occasion(&mut habit, 14.0, 59));
        let tempered = |channel, surprise| habit.tempered(channel, surprise);
        assert!(tempered(Channel::Point, 14.0) < 5.0);
        assert_eq!(tempered(Channel::Point, 31.0), 31.0);
        assert_eq!(tempered(Channel::Point, -14.0), -14.0);
        assert_eq!(tempered(Channel::Twenty, 14.0), 14.0);
    }

    /// Sizes that each come a third as often as the one below: the law of the series has a longer tail than ours.
    #[test]
    fn of_many_sizes_the_next_is_soon_usual() {
        let mut habit = Habit::NEW;
        for k in 1..=580 {
            let surprise = match k {
                k if k % 27 == 0 => 14.0,
                k if k % 9 == 0 => 8.0,
                k if k % 3 == 0 => 5.0,
                _ => 3.0,
            };
            occasion(&mut habit, surprise, 12);
        }
        assert!(habit.tempered(Channel::Point, 14.0) < 5.0);
        // As many of that size alone, as incidents are.
        let mut habit = Habit::NEW;
        (0..5).for_each(|_| occasion(&mut habit, 14.0, 358));
        assert!(habit.tempered(Channel::Point, 14.0) > 10.0);
    }

    #[test]
    fn a_disaster_is_no_habit() {
        let mut habit = Habit::NEW;
        (0..100).for_each(|_| occasion(&mut habit, 300.0, 24));
        assert!(habit.tempered(Channel::Point, 300.0) < 5.0);
        assert!(habit.tempered(Channel::Point, 10_000.0) > 9_000.0);
    }

    #[test]
    fn one_occasion_counts_once() {
        let mut habit = Habit::NEW;
        for _ in 0..12 {
            (0..5).for_each(|_| occasion(&mut habit, -14.0, 0));
            occasion(&mut habit, 0.0, 100);
        }
        assert_eq!(habit.tempered(Channel::Point, -14.0), -14.0);
    }

    #[test]
    fn rises_with_the_surprise() {
        let mut habit = Habit::NEW;
        (0..200).for_each(|k| occasion(&mut habit, f64::from(k % 40), 20));
        let mut last = 0.0;
        for step in 0..1000 {
            let surprise = 0.1 * f64::from(step);
            let tempered = habit.tempered(Channel::Point, surprise);
            assert!(tempered >= last && tempered <= surprise);
            last = tempered;
        }
    }
}
