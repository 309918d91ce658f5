//! One knob: what it changes, and what it does not.

mod generate;

use detector::{Judgement, Lifecycle, Limits, Sensitivity, Series, Terms, Told, Verdict};
use generate::{minute, Random, MINUTE};
use proptest::prelude::*;

const LEVELS: [f64; 6] = [0.0, 20.0, 50.0, 60.0, 80.0, 100.0];

/// A day with bursts and drops of any size.
fn readings(seed: u64, mean: f64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let mut factor = 1.0;
    (0..1500)
        .map(|_| {
            if random.uniform() < 0.02 {
                factor = [1.0, 1.0, 1.3, 1.7, 3.0, 0.6, 0.0][(random.next() % 7) as usize];
            }
            random.poisson(mean * factor)
        })
        .collect()
}

/// Verdicts and incidents of a stream under a sensitivity, and the model it ends with.
fn run(readings: &[f64], sensitivity: Sensitivity) -> (Vec<(Judgement, Verdict)>, u32, Vec<u8>) {
    let mut series = Series::new();
    let mut life = Lifecycle::new();
    let terms = Terms {
        sensitivity,
        ..Terms::BUILT_IN
    };
    let verdicts = readings
        .iter()
        .enumerate()
        .map(|(bucket, &x)| {
            let bucket = bucket as i64;
            let mut ahead = series;
            ahead.advance(minute(bucket), MINUTE);
            let shown = ahead.bounds_under(&sensitivity);
            let (j, bounds) = series.step_bounded(x, minute(bucket), MINUTE, &sensitivity);
            let verdict = sensitivity.verdict(&j, true);
            if verdict >= Verdict::Warning && bucket > 0 {
                assert_eq!(bounds, Some(shown));
            }
            if !j.learning && j.span == 1 && j.channel == detector::Channel::Point {
                assert_eq!(
                    !shown.contains(x),
                    verdict >= Verdict::Warning,
                    "{x} {shown:?} {j:?}"
                );
            }
            life.step(
                &Told {
                    x,
                    bucket,
                    judgement: &j,
                    bounds,
                    own: series.own(bucket),
                    allowed: (true, true),
                    limits: &Limits::NONE,
                    share: false,
                },
                &terms,
            );
            (j, verdict)
        })
        .collect();
    (verdicts, life.incidents, series.encode())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn more_sensitive_alerts_on_a_superset_and_learns_the_same(seed in 0u64..10_000, mean in 0.5f64..80.0) {
        let readings = readings(seed, mean);
        let mut before: Option<Vec<(Judgement, Verdict)>> = None;
        let state = run(&readings, Sensitivity::BUILT_IN).2;
        for level in LEVELS {
            let (verdicts, _, model) = run(&readings, Sensitivity::of(level));
            prop_assert_eq!(&model, &state, "learning depends on {}", level);
            if let Some(less) = before {
                for (bucket, (l, m)) in less.iter().zip(&verdicts).enumerate() {
                    prop_assert!(m.1 >= l.1, "bucket {bucket}: {:?} at {level}, {:?} below", m.1, l.1);
                    prop_assert_eq!(l.0.score(), m.0.score());
                }
            }
            before = Some(verdicts);
        }
    }

    #[test]
    fn a_minimum_effect_only_takes_away(seed in 0u64..10_000, mean in 0.5f64..80.0, least in 0.0f64..40.0, percent in 0.0f64..300.0) {
        let readings = readings(seed, mean);
        let (all, ..) = run(&readings, Sensitivity::BUILT_IN);
        let (some, ..) = run(&readings, Sensitivity::BUILT_IN.with_effect(least, percent));
        for (a, s) in all.iter().zip(&some) {
            prop_assert!(s.1 <= a.1);
            if s.1 >= Verdict::Warning {
                let away = (s.0.span_observed - s.0.span_expected).abs();
                prop_assert!(away >= least && away >= percent / 100.0 * s.0.span_expected);
            }
        }
    }
}

/// What a job brings is expected too: a share of what is expected is a share of both.
#[test]
fn a_minimum_effect_counts_a_job_as_expected() {
    let mut random = Random::new(5);
    let readings: Vec<f64> = (0..1500)
        .map(|bucket| match (bucket, bucket % 60) {
            (1440, _) => 900.0,
            (_, 0) => random.poisson(300.0),
            _ => random.poisson(20.0),
        })
        .collect();
    let (verdicts, ..) = run(&readings, Sensitivity::BUILT_IN.with_effect(0.0, 100.0));
    assert!(verdicts[1440].1 >= Verdict::Warning, "{:?}", verdicts[1440]);
    assert!(verdicts[1440].0.expected > 250.0, "{:?}", verdicts[1440]);
}

#[test]
fn the_scale_is_as_written() {
    for (level, warning) in [
        (100.0, 3.0),
        (75.0, 4.0),
        (50.0, 5.0),
        (25.0, 8.2),
        (0.0, 11.4),
        (f64::NAN, 5.0),
        (-5.0, 11.4),
    ] {
        let s = Sensitivity::of(level);
        assert!((s.warning - warning).abs() < 1e-12, "{level}: {s:?}");
        assert!((s.critical - s.warning - 1.3).abs() < 1e-9);
    }
    assert_eq!(Sensitivity::of(50.0), Sensitivity::BUILT_IN);
}

#[test]
fn a_burst_is_an_incident_for_who_asks_for_it() {
    let mut readings: Vec<f64> = (0..400).map(|b| [6.0, 4.0, 9.0, 5.0, 7.0][b % 5]).collect();
    readings.extend([17.0; 3]);
    let incidents = |level| run(&readings, Sensitivity::of(level)).1;
    let counts: Vec<u32> = LEVELS.iter().map(|&level| incidents(level)).collect();
    assert_eq!(counts.first(), Some(&0), "{counts:?}");
    assert_eq!(counts.last(), Some(&1), "{counts:?}");
    assert!(counts.windows(2).all(|w| w[0] <= w[1]), "{counts:?}");
}
