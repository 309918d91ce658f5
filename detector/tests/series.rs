//! What a series finds, and what it leaves alone.

mod generate;

use detector::{Channel, Incident, Moment, Pace, Series, Verdict, EXTREME, OPEN};
use generate::{daily, minute, moment, quiet, step, Random, DAY, MINUTE};

/// Reads `readings` from `from` on; returns after how many an incident was open.
fn opens_within(
    series: &mut Series,
    from: i64,
    readings: impl IntoIterator<Item = f64>,
) -> Option<i64> {
    let before = series.incidents;
    for (i, x) in readings.into_iter().enumerate() {
        step(series, x, from + i as i64);
        if series.incidents > before {
            return Some(i as i64 + 1);
        }
    }
    None
}

fn last(series: &Series) -> Incident {
    *series.last_incident().expect("there is an incident")
}

#[test]
fn state_is_small() {
    assert!(size_of::<Series>() <= 2048, "{}", size_of::<Series>());
}

#[test]
fn flat_noise_is_left_alone() {
    let mut incidents = 0;
    for (seed, mean) in [0.3, 1.0, 5.0, 50.0, 300.0].into_iter().enumerate() {
        for repetition in 0..4 {
            let mut random = Random::new(100 * seed as u64 + repetition);
            incidents += quiet(&mut random, mean, 3 * DAY).incidents;
        }
    }
    // 60 days of series; about 0.01 a day are expected.
    assert!(incidents <= 3, "{incidents}");
}

#[test]
fn daily_curve_is_left_alone() {
    let mut incidents = 0;
    for (seed, mean) in [5.0, 50.0, 300.0].into_iter().enumerate() {
        let mut random = Random::new(7 + seed as u64);
        let mut series = Series::new();
        for bucket in 0..9 * DAY {
            step(&mut series, random.poisson(daily(mean, bucket)), bucket);
        }
        incidents += series.incidents;
    }
    assert!(incidents <= 2, "{incidents}");
}

#[test]
fn burst_is_critical_at_once() {
    let mut random = Random::new(1);
    let mut series = quiet(&mut random, 6.0, 500);
    series.advance(minute(500), MINUTE);
    let (j, bounds) = (series.judge(31.0), series.bounds());
    series.learn(31.0, &j, minute(500), MINUTE);
    assert_eq!(
        (j.verdict(), j.direction, j.channel, j.span),
        (Verdict::Critical, 1, Channel::Point, 1)
    );
    assert!(j.score() > 94.0);

    let incident = last(&series);
    assert!(incident.is_open() && !incident.is_silence());
    assert_eq!(
        (incident.opened, incident.last_seen, incident.resolved),
        (500, 500, i64::MAX)
    );
    assert_eq!(
        (incident.direction, incident.buckets, incident.span),
        (1, 1, 1)
    );
    assert_eq!(
        (incident.observed, incident.expected, incident.surprise),
        (31.0, j.expected, j.surprise)
    );
    assert_eq!(
        (incident.lower, incident.upper),
        (bounds.lower, bounds.upper)
    );
    assert!(
        incident.upper < 31.0
            && incident.lower <= incident.expected
            && incident.expected <= incident.upper
    );

    step(&mut series, 54.0, 501);
    let incident = last(&series);
    assert_eq!(
        (incident.peak_observed, incident.last_seen, incident.buckets),
        (54.0, 501, 2)
    );
    assert_eq!(incident.verdict(), Verdict::Critical);
    for bucket in 502..520 {
        step(&mut series, 6.0, bucket);
    }
    let incident = last(&series);
    assert!(!incident.is_open() && !incident.is_accepted());
    assert!((509..=515).contains(&incident.resolved), "{incident:?}");
    assert_eq!(series.incidents, 1);
}

#[test]
fn two_warnings_in_a_row_open() {
    let mut random = Random::new(2);
    let mut series = quiet(&mut random, 20.0, 600);
    series.advance(minute(600), MINUTE);
    let warning = (20..90)
        .map(f64::from)
        .find(|&x| (OPEN..EXTREME).contains(&series.judge(x).surprise));
    let j = step(&mut series, warning.expect("some count is a warning"), 600);
    assert_eq!((j.verdict(), series.incidents), (Verdict::Warning, 0));
    step(&mut series, 60.0, 601);
    assert_eq!((series.incidents, last(&series).opened), (1, 601));
}

#[test]
fn drop_to_zero_is_found() {
    for (mean, within) in [(5.0, 6), (30.0, 2), (300.0, 1)] {
        let mut random = Random::new(3);
        let mut series = quiet(&mut random, mean, 600);
        let found = opens_within(&mut series, 600, [0.0; 20]).expect("found");
        assert!(found <= within, "mean {mean}: {found}");
        assert!(last(&series).is_silence());
        assert_eq!(last(&series).direction, -1);
    }
}

#[test]
fn zero_baseline() {
    let mut series = Series::new();
    for bucket in 0..DAY {
        step(&mut series, 0.0, bucket);
    }
    let calm = series;
    let found =
        opens_within(&mut series, DAY, [3.0; 10]).expect("three a minute out of nothing is found");
    assert!(found <= 3, "{found}");

    for lone in [1.0, 2.0] {
        let mut series = calm;
        let readings = (0..600).map(|i| if i % 200 == 0 { lone } else { 0.0 });
        assert_eq!(
            opens_within(&mut series, DAY, readings),
            None,
            "a lone {lone}"
        );
    }
}

#[test]
fn a_year_of_zeros_is_finite() {
    let mut series = Series::new();
    for bucket in 0..400 * DAY {
        step(&mut series, 0.0, bucket);
    }
    assert_eq!(series.incidents, 0);
    assert_eq!(Series::decode(&series.encode()), Ok(series));
    let found = opens_within(&mut series, 400 * DAY, [3.0; 10]);
    assert!(found.is_some_and(|after| after <= 3), "{found:?}");
}

#[test]
fn long_incident_is_not_learned_and_found_again() {
    let mut random = Random::new(4);
    let mut series = Series::new();
    for bucket in 0..3 * DAY {
        let of_day = bucket % DAY;
        let burst = bucket >= DAY && (600..720).contains(&of_day);
        step(
            &mut series,
            random.poisson(if burst { 25.0 } else { 10.0 }),
            bucket,
        );
        if burst && of_day >= 640 {
            let incident = series.open_incident().copied().unwrap_or(Incident::NONE);
            assert!(incident.is_open(), "day {} minute {of_day}", bucket / DAY);
            assert!(incident.opened % DAY >= 600);
        }
    }
    assert_eq!(series.incidents, 2);
}

#[test]
fn level_shift_is_accepted_after_eight_hours() {
    let mut random = Random::new(5);
    let shift = 3 * DAY + 300;
    let mut series = quiet(&mut random, 20.0, shift);
    for bucket in shift..=shift + 480 {
        step(&mut series, random.poisson(200.0), bucket);
    }
    let incident = last(&series);
    assert!(incident.is_accepted(), "{incident:?}");
    assert_eq!((incident.opened, incident.resolved), (shift, shift + 480));
    let found = opens_within(&mut series, shift + 481, (0..30).map(|_| 200.0));
    assert_eq!(found, None, "the new level is normal");
    let expected = step(&mut series, 200.0, shift + 511).expected;
    assert!((140.0..260.0).contains(&expected), "{expected}");
}

#[test]
fn gap_is_not_zero() {
    let mut random = Random::new(6);
    let mut series = quiet(&mut random, 50.0, 900);
    for bucket in 1020..1200 {
        step(&mut series, random.poisson(50.0), bucket);
    }
    assert_eq!(series.incidents, 0);
}

#[test]
fn short_gap_keeps_slow_evidence() {
    // One event a minute where there is one in a hundred; a minute is lost now and then.
    let mut random = Random::new(8);
    let found = |lost: bool, random: &mut Random| {
        let mut series = quiet(random, 0.01, 900);
        let before = series.incidents;
        (900..940).find(|&bucket| {
            if !(lost && bucket % 7 == 0) {
                step(&mut series, f64::from(u8::from(bucket % 2 == 0)), bucket);
            }
            series.incidents > before
        })
    };
    let (whole, broken) = (found(false, &mut random), found(true, &mut random));
    assert!(whole.is_some() && broken.is_some(), "{whole:?} {broken:?}");
}

#[test]
fn zero_run_speaks_with_its_own_span() {
    let mut spoke = 0;
    for (seed, mean) in [0.5, 1.0, 1.5, 2.0, 3.0].into_iter().enumerate() {
        let mut random = Random::new(9 + seed as u64);
        let start = 3 * DAY;
        let mut series = quiet(&mut random, mean, start);
        step(&mut series, 1.0, start);
        for zeros in 1..=30 {
            let j = step(&mut series, 0.0, start + zeros);
            if j.channel == Channel::ZeroRun {
                spoke += 1;
                assert_eq!((i64::from(j.span), j.span_observed), (zeros, 0.0));
                assert!(j.span_expected <= 2.0 * mean * zeros as f64, "{j:?}");
            }
        }
        assert!(mean < 1.0 || series.incidents > 0, "{mean}");
    }
    assert!(spoke > 10, "{spoke}");
}

#[test]
fn bounds_agree_with_the_verdict() {
    let (mut states, mut empty) = (0, 0);
    for seed in 0..24 {
        let mut random = Random::new(1000 + seed);
        let mean = [0.05, 0.3, 1.0, 5.0, 50.0, 300.0][seed as usize % 6];
        let mut series = Series::new();
        let mut factor = 1.0;
        for bucket in 0..2 * DAY {
            if random.uniform() < 0.003 {
                factor = [1.0, 1.0, 0.0, 0.4, 2.5, 6.0][(random.next() % 6) as usize];
            }
            if random.uniform() < 0.002 {
                continue;
            }
            let at = minute(bucket);
            let noise = 0.6 + 0.8 * random.uniform();
            let x = random.poisson(daily(mean, bucket) * factor * noise);
            series.advance(at, MINUTE);
            let j = series.judge(x);
            if bucket % 8 == 0 || j.verdict() > Verdict::Normal {
                let bounds = series.bounds();
                if series.readings() > 0 {
                    let expected = j.expected;
                    assert!(
                        bounds.lower <= expected && expected <= bounds.upper,
                        "{bounds:?} {j:?}"
                    );
                }
                if !j.learning {
                    states += 1;
                    let edges = [
                        bounds.lower.floor() - 1.0,
                        bounds.lower,
                        bounds.upper,
                        bounds.upper.ceil() + 1.0,
                    ];
                    for x in edges
                        .into_iter()
                        .chain([x])
                        .filter(|&x| x >= 0.0 && x == x.floor())
                    {
                        let j = series.judge(x);
                        let outside = !bounds.contains(x);
                        if outside {
                            assert!(
                                j.verdict() > Verdict::Normal,
                                "{x} outside {bounds:?}: {j:?}"
                            );
                        } else if j.verdict() > Verdict::Normal {
                            // Stretched to the expectation: some other channel speaks.
                            assert_ne!(j.channel, Channel::Point, "{x} inside {bounds:?}: {j:?}");
                            empty += 1;
                        }
                    }
                }
            }
            series.learn(x, &j, at, MINUTE);
        }
    }
    assert!(states > 8000, "{states}");
    assert!(empty < states / 20, "{empty} of {states}");
}

#[test]
fn what_is_no_reading_changes_nothing() {
    let mut random = Random::new(10);
    let mut series = quiet(&mut random, 5.0, 300);
    let before = series;
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
        let j = step(&mut series, x, 300);
        assert_eq!(j.verdict(), Verdict::Learning);
        assert!(j.expected.is_finite() && j.surprise == 0.0);
        assert_eq!(series, before);
    }
    let mut fresh = Series::new();
    step(&mut fresh, f64::NAN, 0);
    assert_eq!(fresh, Series::new());
}

#[test]
fn any_size_of_count() {
    for mean in [1e6, 1e9, 1e12] {
        let mut random = Random::new(11);
        let mut series = Series::new();
        for bucket in 0..2 * DAY {
            let x = (mean * (1.0 + 0.1 * (random.uniform() - 0.5))).floor();
            step(&mut series, x, bucket);
        }
        assert_eq!(series.incidents, 0, "{mean}");
        series.advance(minute(2 * DAY), MINUTE);
        let bounds = series.bounds();
        assert!(
            bounds.lower > 0.2 * mean && bounds.upper < 5.0 * mean,
            "{mean}: {bounds:?}"
        );
        assert_eq!(series.judge(20.0 * mean).verdict(), Verdict::Critical);
        assert_eq!(series.judge(0.0).verdict(), Verdict::Critical);
    }
    let mut series = Series::new();
    let sizes = [0.0, 1e12, f64::MAX, 1.0, f64::MIN_POSITIVE, 0.5, 1e300, 0.0];
    for bucket in 0..3 * DAY {
        let j = step(&mut series, sizes[(bucket / 37 % 8) as usize], bucket);
        assert!(j.surprise.is_finite() && j.expected.is_finite(), "{j:?}");
        if bucket % 50 == 0 {
            let bounds = series.bounds();
            assert!(bounds.lower <= bounds.upper && bounds.upper.is_finite());
        }
    }
    assert_eq!(Series::decode(&series.encode()), Ok(series));
}

#[test]
fn any_clock() {
    let mut series = Series::new();
    let buckets = [0, 1, 1, -5, i64::MAX, i64::MIN, i64::MAX, 7, 8, i64::MIN, 0];
    let widths = [
        1.0,
        0.0,
        f64::NAN,
        -3.0,
        f64::INFINITY,
        1e-300,
        1e300,
        60.0,
        1440.0,
        10_080.0,
    ];
    let mut random = Random::new(12);
    for i in 0..4000 {
        let at = Moment {
            bucket: buckets[i % 11],
            minute: random.next() as u16,
            weekend: i % 3 == 0,
        };
        let pace = Pace {
            minutes: widths[i / 7 % 10],
        };
        let j = series.step(random.poisson(5.0), at, pace);
        assert!(j.surprise.is_finite() && j.expected.is_finite());
        let _ = series.bounds();
    }
    assert_eq!(Series::decode(&series.encode()), Ok(series));
}

#[test]
fn other_widths() {
    for (width, mean) in [
        (1.0 / 6.0, 20.0),
        (5.0, 60.0),
        (15.0, 80.0),
        (30.0, 300.0),
        (60.0, 400.0),
    ] {
        let mut random = Random::new(13);
        let mut series = Series::new();
        let a_day = (DAY as f64 / width) as i64;
        let days = if width < 1.0 { 3 } else { 21 };
        for bucket in 0..days * a_day {
            let minute = (bucket as f64 * width) as i64;
            series.step(
                random.poisson(daily(mean, minute)),
                moment(bucket, width),
                Pace { minutes: width },
            );
        }
        assert!(series.incidents <= 2, "width {width}: {}", series.incidents);
        let bucket = days * a_day;
        let j = series.step(0.0, moment(bucket, width), Pace { minutes: width });
        assert!(j.surprise > 2.0 && j.direction < 0, "width {width}: {j:?}");
        let expected = daily(mean, 0);
        assert!(
            (j.expected / expected - 1.0).abs() < 0.5,
            "width {width}: {} is not {expected}",
            j.expected
        );
    }
}

#[test]
fn daily_buckets() {
    let mut random = Random::new(14);
    let mut series = Series::new();
    for bucket in 0..400 {
        let weekend = bucket % 7 >= 5;
        let mean = if weekend { 600.0 } else { 1000.0 };
        series.step(
            random.poisson(mean),
            Moment {
                bucket,
                minute: 0,
                weekend,
            },
            Pace { minutes: 1440.0 },
        );
    }
    assert!(series.incidents <= 4, "{}", series.incidents);
}

#[test]
fn a_row_of_another_age_is_forgotten() {
    let mut random = Random::new(11);
    let (mut old, mut new) = (Series::new(), Series::new());
    step(&mut old, 2_147_483_647.0, -1_000_000);
    for bucket in 0..600 {
        let x = random.poisson(20.0);
        assert_eq!(step(&mut old, x, bucket), step(&mut new, x, bucket));
    }
    assert_eq!(old, new);
    // A holiday of three months is remembered, and an incident does not outlast a longer one.
    step(&mut old, 90.0, 600);
    let mut late = old;
    step(&mut old, 20.0, 600 + 90 * 1440);
    assert_eq!(old.readings(), 602);
    step(&mut late, 20.0, 600 + 101 * 1440);
    assert_eq!((late.readings(), late.incidents), (1, 1));
    assert_eq!(last(&late).resolved, 600 + 101 * 1440);
}

#[test]
fn an_open_incident_holds_what_is_not_quiet() {
    let mut series = Series::new();
    let minute = |bucket: i64| Moment {
        bucket,
        minute: (bucket % 1440) as u16,
        weekend: false,
    };
    let pace = Pace { minutes: 1.0 };
    for bucket in 0..600 {
        series.step(
            [20.0, 24.0, 17.0, 22.0, 19.0][bucket as usize % 5],
            minute(bucket),
            pace,
        );
    }
    series.advance(minute(600), pace);
    let before = series.bounds();
    let held = before.upper - 3.0;
    assert_eq!(series.judge(held).verdict(), Verdict::Normal);
    series.step(90.0, minute(600), pace);
    assert!(series.open_incident().is_some());
    // Until the storm has left the sum of five, that speaks.
    for bucket in 601..605 {
        series.step(44.0, minute(bucket), pace);
    }
    series.advance(minute(605), pace);
    let during = series.bounds();
    assert!(series.judge(held).verdict() >= Verdict::Warning);
    assert!(during.upper < held && during.upper <= series.bounds_below(OPEN).upper);
    assert!(series.open_incident().is_some());
}

#[test]
fn ten_minutes_are_a_window_of_their_own() {
    let mut spans = Vec::new();
    for seed in 0..20 {
        let mut random = Random::new(900 + seed);
        let mut series = quiet(&mut random, 20.0, 3 * DAY);
        let before = series.incidents;
        for i in 0..20 {
            step(&mut series, random.poisson(28.0), 3 * DAY + i);
        }
        if series.incidents > before {
            let incident = last(&series);
            assert_eq!(incident.direction, 1);
            spans.push(incident.span);
        }
    }
    // 1.4 times as much: too little for five, and by the time twenty are full, ten have said so.
    assert!(spans.len() >= 12, "{spans:?}");
    assert!(spans.contains(&10), "{spans:?}");
}

/// Arrivals of which every fiftieth minute, on average, holds a batch.
fn batches(random: &mut Random, from: i64, days: i64, series: &mut Series) -> u32 {
    let before = series.incidents;
    for i in 0..days * DAY {
        let batch = if random.uniform() < 0.02 { 300.0 } else { 0.0 };
        step(series, random.poisson(50.0 + batch), from + i);
    }
    series.incidents - before
}

#[test]
fn what_comes_every_hour_is_no_incident() {
    let mut random = Random::new(3);
    let mut series = Series::new();
    let first = batches(&mut random, 0, 1, &mut series);
    batches(&mut random, DAY, 2, &mut series);
    let later = batches(&mut random, 3 * DAY, 4, &mut series);
    assert!(first >= 8, "{first}: no batches that surprise");
    assert!(
        later <= first / 2,
        "{later} in four days, {first} in the first"
    );

    // What is larger than any batch is told all the same, and so is silence.
    let from = 7 * DAY;
    let burst = (0..5).map(|_| 1500.0);
    assert!(opens_within(&mut series, from, burst).is_some());
    let calm: Vec<f64> = (0..60).map(|_| random.poisson(50.0)).collect();
    opens_within(&mut series, from + 5, calm);
    assert!(opens_within(&mut series, from + 65, (0..10).map(|_| 0.0)).is_some());
}

#[test]
fn a_job_on_the_hour_is_expected() {
    let mut random = Random::new(5);
    let mut series = Series::new();
    let job = |bucket: i64| if bucket % 60 == 0 { 150.0 } else { 0.0 };
    let count =
        |random: &mut Random, bucket: i64| random.poisson(daily(50.0, bucket) + job(bucket));
    for bucket in 0..3 * DAY {
        step(&mut series, count(&mut random, bucket), bucket);
    }
    let before = series.incidents;
    for bucket in 3 * DAY..10 * DAY {
        step(&mut series, count(&mut random, bucket), bucket);
    }
    assert!(
        series.incidents - before <= 1,
        "{}",
        series.incidents - before
    );

    // It is expected, its absence is not what is told, but what lasts is.
    let hour = 10 * DAY;
    series.advance(minute(hour), MINUTE);
    let plain = daily(50.0, hour);
    let expected = series.judge(plain + 150.0).expected;
    assert!((expected - plain - 150.0).abs() < 50.0, "{expected}");
    assert_eq!(series.judge(plain + 150.0).verdict(), Verdict::Normal);
    assert_eq!(
        series.judge(5.0 * (plain + 150.0)).verdict(),
        Verdict::Critical
    );
    let found = opens_within(&mut series, hour, (0..20).map(|_| 0.0));
    assert!(found.is_some_and(|after| after <= 5), "{found:?}");
}
