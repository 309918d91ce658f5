//! What holds for every stream.

mod generate;

use detector::{score, Judgement, Series, StateError, Verdict};
use generate::{minute, step, Random, MINUTE};
use proptest::prelude::*;

/// A stream with bursts, silences and gaps: bucket and reading.
fn stream(seed: u64, mean: f64, length: i64) -> Vec<(i64, f64)> {
    let mut random = Random::new(seed);
    let (mut factor, mut bucket) = (1.0, 0);
    (0..length)
        .map(|_| {
            if random.uniform() < 0.01 {
                factor = [1.0, 0.0, 0.4, 2.0, 8.0][(random.next() % 5) as usize];
            }
            bucket += if random.uniform() < 0.01 {
                (random.next() % 90) as i64 + 2
            } else {
                1
            };
            (bucket, random.poisson(mean * factor))
        })
        .collect()
}

fn bits(series: &Series) -> Vec<u8> {
    series.encode()
}

fn is_finite(j: &Judgement) -> bool {
    [j.surprise, j.expected, j.span_observed, j.span_expected]
        .iter()
        .chain(&j.channels)
        .all(|v| v.is_finite())
}

fn any_reading() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0u32..40).prop_map(f64::from),
        2 => (0.0f64..12.0).prop_map(|power| 10f64.powf(power).floor()),
        1 => any::<f64>(),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), Just(f64::MAX), Just(-0.0)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_poisons(readings in prop::collection::vec(any_reading(), 1..600)) {
        let mut series = Series::new();
        for (bucket, &x) in readings.iter().enumerate() {
            let j = step(&mut series, x, bucket as i64);
            prop_assert!(is_finite(&j), "{x}: {j:?}");
        }
        let bounds = series.bounds();
        prop_assert!(bounds.lower <= bounds.upper && bounds.lower >= 0.0 && bounds.upper.is_finite());
        prop_assert_eq!(Series::decode(&bits(&series)), Ok(series));
    }

    #[test]
    fn a_stream_may_be_cut_anywhere(seed: u64, mean in 0.05f64..100.0, cuts in prop::collection::vec(0usize..900, 1..6)) {
        let (mut whole, mut cut) = (Series::new(), Series::new());
        for (i, &(bucket, x)) in stream(seed, mean, 900).iter().enumerate() {
            if cuts.contains(&i) {
                cut = Series::decode(&cut.encode()).expect("what was encoded is decoded");
            }
            let (a, b) = (step(&mut whole, x, bucket), step(&mut cut, x, bucket));
            prop_assert_eq!(a, b);
        }
        prop_assert_eq!(bits(&whole), bits(&cut));
    }

    #[test]
    fn judging_changes_nothing_and_steps_are_steps(seed: u64, mean in 0.05f64..100.0, asked in prop::collection::vec(any_reading(), 8)) {
        let (mut stepped, mut split) = (Series::new(), Series::new());
        for &(bucket, x) in &stream(seed, mean, 400) {
            let j = step(&mut stepped, x, bucket);
            split.advance(minute(bucket), MINUTE);
            let before = bits(&split);
            for &x in &asked {
                split.judge(x);
            }
            split.bounds();
            prop_assert_eq!(&before, &bits(&split));
            let same = split.judge(x);
            prop_assert_eq!(same, j);
            prop_assert_eq!(split.judge(x), same);
            split.learn(x, &same, minute(bucket), MINUTE);
        }
        prop_assert_eq!(bits(&stepped), bits(&split));
    }

    #[test]
    fn surprise_falls_and_rises(seed: u64, mean in 0.05f64..100.0) {
        let mut series = Series::new();
        let stream = stream(seed, mean, 400);
        for &(bucket, x) in &stream {
            step(&mut series, x, bucket);
        }
        series.advance(minute(stream[399].0 + 1), MINUTE);
        let normal: Vec<bool> = (0..20_000).map(|x| series.judge(f64::from(x)).verdict() <= Verdict::Normal).collect();
        let changes = normal.windows(2).filter(|pair| pair[0] != pair[1]).count();
        prop_assert!(changes <= 2, "{changes}");
        let bounds = series.bounds();
        if let Some(first) = normal.iter().position(|&n| n) {
            let expected = series.judge(0.0).expected;
            prop_assert_eq!(bounds.lower, (first as f64).min(expected));
        } else {
            prop_assert_eq!(bounds.lower, bounds.upper);
        }
    }

    #[test]
    fn broken_bytes_are_an_error(seed: u64, length in 0usize..3000, at in 0usize..1800, bit in 0u8..8) {
        let mut series = Series::new();
        for (bucket, x) in stream(seed, 3.0, 120) {
            step(&mut series, x, bucket);
        }
        let bytes = series.encode();
        if length < bytes.len() {
            prop_assert!(Series::decode(&bytes[..length]).is_err());
        }
        // Another bit may make another state, but never a panic, now or later.
        let mut broken = bytes.clone();
        let at = at % broken.len();
        broken[at] ^= 1 << bit;
        if let Ok(mut other) = Series::decode(&broken) {
            for bucket in 10_000..10_060 {
                step(&mut other, 3.0, bucket);
                other.bounds();
            }
        }
    }

    #[test]
    fn score_is_monotone(a in -1.0f64..20.0, b in -1.0f64..20.0) {
        prop_assert!((a <= b) == (score(a) <= score(b)) || score(a) == score(b));
        prop_assert!((0.0..=100.0).contains(&score(a)));
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let bytes = Series::new().encode();
    assert_eq!(Series::decode(&[]), Err(StateError::Truncated));
    assert_eq!(
        Series::decode(&bytes[..bytes.len() - 1]),
        Err(StateError::Truncated)
    );
    assert_eq!(
        Series::decode(&[&bytes[..], &[0]].concat()),
        Err(StateError::Trailing)
    );
    let mut other = bytes.clone();
    other[0] = 9;
    assert_eq!(Series::decode(&other), Err(StateError::Version(9)));
    let error: &dyn std::error::Error = &StateError::Version(9);
    assert_eq!(
        error.to_string(),
        "state has version 9, this build reads versions 5 and 6"
    );
}
