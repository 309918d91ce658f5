//! What changes slowly: drifts, trends, shifts, nights and mornings.

mod generate;

use detector::{Incident, Series};
use generate::{daily, step, Random, DAY};

/// Reads `length` minutes from `from` on, of the mean that `mean` gives; returns the incidents opened.
fn read(
    series: &mut Series,
    random: &mut Random,
    from: i64,
    length: i64,
    mean: impl Fn(i64) -> f64,
) -> Vec<Incident> {
    let mut found: Vec<Incident> = Vec::new();
    for minute in from..from + length {
        let before = series.incidents;
        step(series, random.poisson(mean(minute)), minute);
        let Some(last) = series.last_incident() else {
            continue;
        };
        if series.incidents > before {
            found.push(*last);
        } else if let Some(open) = found.last_mut() {
            *open = *last;
        }
    }
    found
}

#[test]
fn a_trend_does_not_alert_for_ever() {
    for (seed, growth) in [(1, 0.05), (2, -0.05), (3, 0.1)] {
        let mut random = Random::new(seed);
        let mut series = Series::new();
        let mean = |minute: i64| daily(50.0, minute) * (growth * minute as f64 / DAY as f64).exp();
        let found = read(&mut series, &mut random, 0, 14 * DAY, mean);
        let minutes: i64 = found
            .iter()
            .map(|i| i.resolved.min(14 * DAY) - i.opened)
            .sum();
        assert!(found.len() <= 2 && minutes <= 960, "{growth}: {found:?}");
    }
}

#[test]
fn silence_counts_by_how_much_was_expected() {
    let night = |minute: i64| {
        // From 30 at nine in the evening to 0.5 at three, and back from five to eleven.
        let hour = minute.rem_euclid(DAY) as f64 / 60.0;
        let low = match hour {
            h if h >= 21.0 => (h - 21.0) / 6.0,
            h if h < 3.0 => (h + 3.0) / 6.0,
            h if h < 11.0 => 1.0 - ((h - 5.0) / 6.0).max(0.0),
            _ => 0.0,
        };
        30.0 * (0.5f64 / 30.0).powf(low)
    };
    let mut random = Random::new(5);
    let mut series = Series::new();
    read(&mut series, &mut random, 0, 5 * DAY, night);
    let mut at_night = series;
    let from = 5 * DAY + 4 * 60;
    let before = read(&mut at_night, &mut random, 5 * DAY, 4 * 60, night);
    assert!(before.is_empty(), "{before:?}");
    let silent = read(&mut at_night, &mut random, from, 10, |_| 0.0);
    assert!(silent.is_empty(), "{silent:?}");
    let mut at_noon = series;
    read(&mut at_noon, &mut random, 5 * DAY, 12 * 60, night);
    let silent = read(&mut at_noon, &mut random, 5 * DAY + 12 * 60, 5, |_| 0.0);
    assert_eq!(silent.len(), 1);
    assert!(silent[0].is_silence() && silent[0].opened <= 5 * DAY + 12 * 60 + 1);
}

/// A day that rises from 7 to 360 between half past five and half past eleven.
fn working_day(minute: i64) -> f64 {
    let of_day = minute.rem_euclid(DAY) as f64;
    let share = ((of_day - 330.0) / 360.0).clamp(0.0, 1.0);
    let evening = ((1440.0 - of_day) / 300.0).clamp(0.0, 1.0);
    7.0 * (360f64 / 7.0).powf(share * evening)
}

#[test]
fn second_morning_is_quiet_after_a_good_first_day() {
    for seed in 0..10 {
        let mut random = Random::new(seed);
        let mut series = Series::new();
        read(&mut series, &mut random, 0, DAY, working_day);
        let found = read(&mut series, &mut random, DAY, 870, working_day);
        let long = |i: &&Incident| i.resolved.min(DAY + 870) - i.opened > 30;
        assert_eq!(found.iter().filter(long).count(), 0, "{seed}: {found:?}");
    }
}

#[test]
fn second_morning_is_quiet_after_a_bad_first_day() {
    let mut long = 0;
    for seed in 0..10 {
        let mut random = Random::new(seed);
        let mut series = Series::new();
        // An outage from half past two to seven in the afternoon.
        let bad = |minute: i64| {
            let mean = working_day(minute);
            if (870..1140).contains(&minute) {
                0.25 * mean
            } else {
                mean
            }
        };
        read(&mut series, &mut random, 0, DAY, bad);
        // Up to the hour of the outage: what the first day showed there is what one day can teach.
        let found = read(&mut series, &mut random, DAY, 870, working_day);
        long += found
            .iter()
            .filter(|i| i.resolved.min(DAY + 870) - i.opened > 30)
            .count();
    }
    assert_eq!(long, 0);
}
