//! Values: what a series finds, what it leaves alone, and what holds for every stream.

mod generate;

use detector::value::{Look, LOOKS};
use detector::{Pace, StateError, ValueJudgement, Values, Verdict};
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
        let before = series;
        let j = series.judge(x, moment(bucket, FIVE.minutes), FIVE);
        assert_eq!(series, before);
        assert_eq!(j, step(&mut series, x, bucket));
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

fn is_finite(j: &ValueJudgement) -> bool {
    [j.surprise, j.governed, j.expected, j.margin, j.score()]
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
        prop_assert!(matches!(broken, Err(StateError::Truncated | StateError::Version(_))), "{broken:?}");
    }
}
