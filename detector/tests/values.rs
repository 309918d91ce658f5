//! Values: what a series finds, what it leaves alone, and what holds for every stream.

mod generate;

use detector::value::{Look, LOOKS};
use detector::{Channel, Incident, Pace, StateError, ValueJudgement, Values, Verdict, OPEN, QUIET};
use generate::{moment, Random};
use proptest::prelude::*;

const FIVE: Pace = Pace { minutes: 5.0 };
const DAY: i64 = 288;

fn step(series: &mut Values, x: f64, bucket: i64) -> ValueJudgement {
    series.step(x, moment(bucket, FIVE.minutes), FIVE)
}

/// A normal deviate, nearly: twelve uniform ones.
fn normal(random: &mut Random) -> f64 {
    (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0
}

/// A day's curve with noise.
fn wave(random: &mut Random, bucket: i64) -> f64 {
    let angle = core::f64::consts::TAU * bucket as f64 / DAY as f64;
    100.0 + 20.0 * angle.sin() + 2.0 * normal(random)
}

/// A series that has read some days of a wave.
fn waved(seed: u64, days: i64) -> (Values, Random) {
    let (mut series, mut random) = (Values::new(), Random::new(seed));
    for bucket in 0..days * DAY {
        step(&mut series, wave(&mut random, bucket), bucket);
    }
    (series, random)
}

#[test]
fn state_is_small() {
    assert!(size_of::<Values>() <= 2048, "{}", size_of::<Values>());
    let (series, _) = waved(1, 20);
    assert!(series.encode().len() <= 2048, "{}", series.encode().len());
}

#[test]
fn learns_before_it_judges() {
    let mut series = Values::new();
    for bucket in 0..50 {
        let j = step(&mut series, 10.0 + (bucket % 3) as f64, bucket);
        assert_eq!(j.verdict(), Verdict::Learning);
    }
    assert_eq!(step(&mut series, 11.0, 50).verdict(), Verdict::Normal);
}

#[test]
fn noise_is_left_alone() {
    let mut opened = 0;
    for seed in 0..20 {
        let (mut series, mut random) = (Values::new(), Random::new(seed));
        for bucket in 0..14 * DAY {
            opened += u32::from(step(&mut series, wave(&mut random, bucket), bucket).opens);
        }
    }
    // 280 days of series.
    assert!(opened <= 28, "{opened}");
}

#[test]
fn spikes_and_drops_are_found_at_once() {
    for (seed, size) in [(1, 60.0), (2, -60.0), (3, 150.0), (4, -90.0)] {
        let (mut series, mut random) = waved(seed, 5);
        let x = wave(&mut random, 5 * DAY) + size;
        let j = step(&mut series, x, 5 * DAY);
        assert!(j.opens && j.verdict() >= Verdict::Warning, "{j:?}");
        assert_eq!(j.direction, if size > 0.0 { 1 } else { -1 });
        assert!((j.expected - 100.0).abs() < 25.0, "{}", j.expected);
    }
}

#[test]
fn a_shift_is_found_within_its_first_hour_and_once() {
    let (mut series, mut random) = waved(5, 5);
    let mut opens = Vec::new();
    for bucket in 5 * DAY..7 * DAY {
        let x = wave(&mut random, bucket) + 35.0;
        if step(&mut series, x, bucket).opens {
            opens.push(bucket - 5 * DAY);
        }
    }
    assert!(matches!(opens[..], [first, ..] if first < 12), "{opens:?}");
    assert!(opens.len() <= 2, "{opens:?}");
}

/// A working day: a plateau from nine to six, with noise.
fn plateau(random: &mut Random, bucket: i64, height: f64) -> f64 {
    let five = bucket.rem_euclid(DAY);
    let noise = 6.0 * random.uniform() - 3.0;
    noise
        + if (108..216).contains(&five) {
            height
        } else {
            20.0
        }
}

#[test]
fn a_day_of_another_shape_is_found_at_its_start() {
    for height in [20.0, 40.0, 160.0] {
        for seed in 0..5 {
            let (mut series, mut random) = (Values::new(), Random::new(seed));
            let mut opened = Vec::new();
            for bucket in 0..12 * DAY {
                let other = bucket / DAY == 10;
                let x = plateau(&mut random, bucket, if other { height } else { 80.0 });
                if step(&mut series, x, bucket).opens {
                    opened.push(bucket - 10 * DAY);
                }
            }
            // The first plateau ever is news, too.
            assert!(
                matches!(opened[..], [first, other] if first < -9 * DAY && (108..120).contains(&other)),
                "{height}: {opened:?}"
            );
        }
    }
}

#[test]
fn a_size_seen_often_is_no_news() {
    let (mut series, mut random) = waved(6, 5);
    let mut opened = Vec::new();
    for bucket in 5 * DAY..25 * DAY {
        // A backup, once a day at a time of its own.
        let backup = if bucket % DAY == (bucket / DAY * 37) % DAY {
            80.0
        } else {
            0.0
        };
        if step(&mut series, wave(&mut random, bucket) + backup, bucket).opens {
            opened.push(bucket / DAY);
        }
    }
    assert!(opened.contains(&5), "{opened:?}");
    assert!(!opened.iter().any(|&day| day > 15), "{opened:?}");
}

#[test]
fn a_constant_that_moves_is_found() {
    let mut series = Values::new();
    for bucket in 0..1000 {
        let j = step(&mut series, 45.3, bucket);
        assert_eq!(j.surprise, 0.0, "{bucket}");
        assert_eq!(j.expected, 45.3);
    }
    let j = step(&mut series, 45.4, 1000);
    assert!(j.opens, "{j:?}");
    assert_eq!(j.look, Look::Level);
}

#[test]
fn judging_changes_nothing_and_is_what_a_step_says() {
    let (mut series, mut random) = waved(7, 3);
    for bucket in 3 * DAY..4 * DAY {
        let x = wave(&mut random, bucket);
        series.advance(moment(bucket, FIVE.minutes), FIVE);
        let before = series;
        let j = series.judge(x);
        assert_eq!(series, before);
        let mut learned = series;
        learned.learn(x);
        assert_eq!(j, step(&mut series, x, bucket));
        assert_eq!(series, learned);
    }
}

#[test]
fn any_width() {
    for minutes in [1e-9, 1.0 / 60.0, 1.0, 60.0, 1440.0, 1e12, f64::NAN] {
        let (mut series, mut random) = (Values::new(), Random::new(3));
        for bucket in 0..500 {
            let j = series.step(normal(&mut random), moment(bucket, 1.0), Pace { minutes });
            assert!(is_finite(&j), "{j:?}");
        }
        assert_eq!(Values::decode(&series.encode()), Ok(series));
    }
}

/// The incidents of a series, in order of opening, as they were last.
fn incidents(series: &Values) -> Vec<Incident> {
    let mut known: Vec<Incident> = series
        .recent
        .into_iter()
        .filter(|i| i.direction != 0)
        .collect();
    known.sort_by_key(|incident| incident.opened);
    known
}

#[test]
fn an_incident_opens_goes_on_and_is_resolved() {
    let (mut series, mut random) = waved(8, 5);
    for bucket in 5 * DAY..6 * DAY {
        let burst = if (100..106).contains(&(bucket - 5 * DAY)) {
            60.0
        } else {
            0.0
        };
        let x = wave(&mut random, bucket) + burst;
        step(&mut series, x, bucket);
        let at = bucket - 5 * DAY;
        if (165..180).contains(&at) {
            continue;
        }
        let is_open = (100..165).contains(&at);
        assert_eq!(
            series.open_incident().is_some(),
            is_open,
            "{}",
            bucket - 5 * DAY
        );
    }
    let [incident] = incidents(&series)[..] else {
        panic!("{:?}", incidents(&series))
    };
    assert_eq!(incident.opened, 5 * DAY + 100);
    // Sixty readings without an anomaly; the last ones were only not quiet.
    let quiet = incident.resolved - incident.last_seen;
    assert!((50..=60).contains(&quiet), "{incident:?}");
    assert_eq!((incident.direction, incident.is_accepted()), (1, false));
    assert!(
        (5 * DAY + 105..5 * DAY + 120).contains(&incident.last_seen),
        "{incident:?}"
    );
    assert!(
        incident.buckets >= 6 && incident.peak_observed >= incident.observed,
        "{incident:?}"
    );
    assert!(incident.lower <= incident.expected && incident.expected <= incident.upper);
    assert!(incident.observed > incident.upper, "{incident:?}");
}

#[test]
fn a_fall_in_the_wake_of_a_rise_is_an_incident_of_its_own() {
    let (mut series, mut random) = waved(9, 5);
    for bucket in 5 * DAY..5 * DAY + 30 {
        let off = match bucket - 5 * DAY {
            0 => 60.0,
            10.. => -60.0,
            _ => 0.0,
        };
        step(&mut series, wave(&mut random, bucket) + off, bucket);
    }
    let sides: Vec<i8> = incidents(&series)
        .iter()
        .map(|incident| incident.direction)
        .collect();
    assert_eq!(sides, [1, -1]);
}

#[test]
fn a_level_shift_is_reported_once_and_accepted_after_eight_hours_at_most() {
    for (minutes, readings) in [(5.0, 96), (1.0, 480)] {
        let day = (1440.0 / minutes) as i64;
        for (seed, shift) in [(1, 35.0), (2, -35.0), (3, 70.0)] {
            let (mut series, mut random) = (Values::new(), Random::new(seed));
            for bucket in 0..12 * day {
                let off = if bucket >= 6 * day { shift } else { 0.0 };
                let x = 100.0 + off + 2.0 * normal(&mut random);
                series.step(x, moment(bucket, minutes), Pace { minutes });
            }
            let [incident] = incidents(&series)[..] else {
                panic!("{shift}: {:?}", incidents(&series))
            };
            assert!(incident.opened - 6 * day < 12, "{incident:?}");
            assert!(
                incident.resolved - incident.opened <= readings,
                "{incident:?}"
            );
            assert_eq!(f64::from(incident.direction), shift.signum());
            let expected = series.judge(100.0 + shift).expected;
            assert!((expected - 100.0 - shift).abs() < 5.0, "{expected}");
        }
    }
}

#[test]
fn a_trend_does_not_alert_for_ever() {
    for (seed, slope) in [(1, 0.05), (2, -0.05), (3, 0.5)] {
        let (mut series, mut random) = waved(seed, 5);
        let mut opened = Vec::new();
        for bucket in 5 * DAY..19 * DAY {
            let trend = slope * (bucket - 5 * DAY) as f64;
            if step(&mut series, wave(&mut random, bucket) + trend, bucket).opens {
                opened.push(bucket / DAY);
            }
        }
        assert!(opened.len() <= 4, "{slope}: {opened:?}");
        assert!(opened.iter().all(|&day| day < 12), "{slope}: {opened:?}");
    }
}

#[test]
fn the_twin_of_an_incident_is_found_the_next_day() {
    for minutes in [1.0, 5.0] {
        let day = (1440.0 / minutes) as i64;
        for (hours, size) in [(0.5, 40.0), (2.0, 30.0), (0.5, -40.0)] {
            let mut found = [0; 2];
            for seed in 0..10 {
                let (mut series, mut random) = (Values::new(), Random::new(seed));
                let mut opened = [false; 2];
                for bucket in 0..8 * day {
                    let (at, nth) = (bucket % day - 6 * day / 10, bucket / day - 6);
                    let hit = nth >= 0 && (0..(hours * 60.0 / minutes) as i64).contains(&at);
                    let angle = core::f64::consts::TAU * bucket as f64 / day as f64;
                    let x = 100.0 + 20.0 * angle.sin() + 2.0 * normal(&mut random);
                    let x = x + if hit { size } else { 0.0 };
                    let j = series.step(x, moment(bucket, minutes), Pace { minutes });
                    if hit {
                        opened[nth as usize] |= j.opens;
                    }
                }
                for (count, opened) in found.iter_mut().zip(opened) {
                    *count += i32::from(opened);
                }
            }
            assert_eq!(found, [10, 10], "{minutes} {hours} {size}");
        }
    }
}

#[test]
fn ten_buckets_a_little_off_are_a_drift() {
    for (seeds, off, side) in [(0..50, 3.0, 1), (50..100, -3.0, -1)] {
        let (mut found, mut drifts, mut false_ones) = (0, 0, 0);
        for seed in seeds {
            let (mut series, mut random) = (Values::new(), Random::new(seed));
            for bucket in 0..4 * DAY {
                step(&mut series, 100.0 + 2.0 * normal(&mut random), bucket);
            }
            false_ones += series.incidents;
            for bucket in 4 * DAY..4 * DAY + 10 {
                let j = step(&mut series, 100.0 + off, bucket);
                if j.opens {
                    found += 1;
                    assert_eq!(j.direction, side);
                    drifts += i32::from(j.channel == Channel::Drift && j.span == 10);
                }
            }
        }
        assert!(found >= 40, "{found} of 50");
        assert!(drifts >= 35, "{drifts} of {found}");
        assert!(false_ones <= 2, "{false_ones} in 200 days");
    }
}

#[test]
fn a_governed_series_keeps_its_scores() {
    // Two bursts of one size: the governor asks more of the second, whose score is what it is.
    let (mut calm, mut random) = waved(4, 5);
    let mut alerted = calm;
    for bucket in 5 * DAY..7 * DAY {
        let x = wave(&mut random, bucket);
        step(&mut calm, x, bucket);
        step(
            &mut alerted,
            x + if bucket == 5 * DAY { 60.0 } else { 0.0 },
            bucket,
        );
    }
    let (a, b) = (calm.judge(170.0), alerted.judge(170.0));
    assert_eq!(alerted.incidents, 1);
    assert!(
        b.governed < b.surprise - 0.3 && a.governed == a.surprise,
        "{a:?} {b:?}"
    );
    assert_eq!(
        b.verdict(),
        if b.surprise < b.open {
            Verdict::Normal
        } else {
            b.verdict()
        }
    );
    assert!(b.verdict() >= Verdict::Warning);
}

#[test]
fn wide_buckets_are_judged() {
    // Of a day of normal noise, not every bucket is news.
    let (mut series, mut random) = (Values::new(), Random::new(1));
    let pace = Pace { minutes: 1440.0 };
    for bucket in 0..400 {
        series.step(100.0 + normal(&mut random), moment(bucket, 1440.0), pace);
    }
    assert!(series.incidents <= 3, "{}", series.incidents);
    assert_eq!(
        series.step(150.0, moment(400, 1440.0), pace).verdict(),
        Verdict::Critical
    );
}

fn is_finite(j: &ValueJudgement) -> bool {
    [
        j.surprise,
        j.itself,
        j.governed,
        j.expected,
        j.open,
        j.score(),
        j.span_observed,
        j.span_expected,
    ]
    .iter()
    .chain(&j.looks)
    .all(|v| v.is_finite())
        && j.surprise >= 0.0
        && (0.0..=100.0).contains(&j.score())
}

fn any_reading() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -100.0f64..100.0,
        2 => (-300.0f64..300.0).prop_map(|power| 10f64.powf(power)),
        2 => any::<f64>(),
        1 => prop_oneof![
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(f64::MAX),
            Just(f64::MIN),
            Just(f64::MIN_POSITIVE),
            Just(-0.0)
        ],
    ]
}

/// A stream with spikes, shifts and gaps: bucket and reading.
fn stream(seed: u64, length: i64) -> Vec<(i64, f64)> {
    let mut random = Random::new(seed);
    let (mut shift, mut bucket) = (0.0, 0);
    (0..length)
        .map(|_| {
            if random.uniform() < 0.004 {
                shift = 30.0 * normal(&mut random);
            }
            bucket += if random.uniform() < 0.01 { 40 } else { 1 };
            let spike = if random.uniform() < 0.01 {
                (8.0 * random.uniform()).exp()
            } else {
                0.0
            };
            (bucket, wave(&mut random, bucket) + shift + spike)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_poisons(readings in prop::collection::vec(any_reading(), 1..600)) {
        let mut series = Values::new();
        for (bucket, &x) in readings.iter().enumerate() {
            let before = series;
            let j = step(&mut series, x, bucket as i64);
            prop_assert!(is_finite(&j), "{x}: {j:?}");
            prop_assert!(x.is_finite() || series == before, "{x} is no reading");
        }
        prop_assert_eq!(Values::decode(&series.encode()), Ok(series));
    }

    #[test]
    fn a_stream_may_be_cut_anywhere(seed: u64, cuts in prop::collection::vec(0usize..900, 1..6)) {
        let (mut whole, mut cut) = (Values::new(), Values::new());
        for (i, &(bucket, x)) in stream(seed, 900).iter().enumerate() {
            if cuts.contains(&i) {
                cut = Values::decode(&cut.encode()).expect("what was encoded is decoded");
            }
            prop_assert_eq!(step(&mut whole, x, bucket), step(&mut cut, x, bucket));
        }
        prop_assert_eq!(whole.encode(), cut.encode());
    }

    #[test]
    fn scale_and_sign_do_not_matter(seed: u64, power in -60i32..60, turned: bool) {
        let scale = f64::from(power).exp2() * if turned { -1.0 } else { 1.0 };
        let (mut one, mut other) = (Values::new(), Values::new());
        for (bucket, x) in stream(seed, 900) {
            let (a, b) = (step(&mut one, x, bucket), step(&mut other, scale * x, bucket));
            prop_assert_eq!(a.looks.map(f64::to_bits), b.looks.map(f64::to_bits));
            prop_assert_eq!((a.surprise, a.governed, a.opens), (b.surprise, b.governed, b.opens));
            prop_assert_eq!(a.direction, if turned { -b.direction } else { b.direction });
            prop_assert_eq!(scale * a.expected, b.expected);
        }
    }

    #[test]
    fn a_reading_is_outside_its_bounds_exactly_when_it_is_not_normal_itself(
        seed: u64,
        extra in prop::collection::vec(-400.0f64..400.0, 4),
    ) {
        let mut series = Values::new();
        for (bucket, x) in stream(seed, 900) {
            if bucket % 9 != 0 {
                step(&mut series, x, bucket);
                continue;
            }
            series.advance(moment(bucket, FIVE.minutes), FIVE);
            for probe in extra.iter().map(|off| x + off).chain([x, series.judge(x).expected]) {
                let (j, b) = (series.judge(probe), series.bounds_for(probe));
                prop_assert!(b.lower <= j.expected && j.expected <= b.upper, "{:?} {:?}", b, j);
                if j.learning {
                    continue;
                }
                let itself = j.in_decades().channels[0];
                let least = if j.held == j.side { QUIET } else { OPEN };
                prop_assert_eq!(itself.abs() >= least, !b.contains(probe), "{} {:?} {:?}", probe, b, j);
                // Where another channel speaks, it says so.
                let all = j.in_decades();
                let by_itself = all.channel == Channel::Value;
                prop_assert!(!by_itself || (j.verdict() > Verdict::Normal) != b.contains(probe));
                prop_assert!(by_itself || all.span > 1 || j.verdict() == Verdict::Normal);
            }
            let wide = series.bounds_below(6.0);
            let narrow = series.bounds_below(3.0);
            prop_assert!(wide.lower <= narrow.lower && narrow.upper <= wide.upper || seed == 0);
            step(&mut series, x, bucket);
        }
    }

    #[test]
    fn broken_bytes_are_an_error(at in 0usize..900, length in 0usize..900) {
        let (series, _) = waved(9, 1);
        let mut bytes = series.encode();
        let at = at % bytes.len();
        bytes[at] ^= 0x40;
        // An error or another state, never a panic, and what is read is read on.
        if let Ok(mut other) = Values::decode(&bytes) {
            let j = step(&mut other, 3.0, 2 * DAY);
            prop_assert!(j.looks.len() == LOOKS);
        }
        bytes.truncate(length % bytes.len());
        let broken = Values::decode(&bytes);
        prop_assert!(matches!(broken, Err(StateError::Truncated | StateError::Version(_) | StateError::Malformed)), "{broken:?}");
    }
}
