//! A series chooses between counts and values, and nothing jumps when it chooses again.

mod generate;

use detector::{Family, Judgement, Model, Verdict};
use generate::{daily, minute, Random, DAY, MINUTE};
use proptest::prelude::*;

/// What judging a reading gave, and who judged.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Assessment {
    family: Family,
    opens: bool,
    verdict: Verdict,
    surprise: f64,
    expected: f64,
    judgement: Judgement,
}

fn step(model: &mut Model, x: f64, bucket: i64) -> Assessment {
    let (family, incidents) = (model.family(), model.incidents());
    let judgement = model.step(x, minute(bucket), MINUTE);
    Assessment {
        family,
        opens: model.incidents() != incidents,
        verdict: judgement.verdict(),
        surprise: judgement.surprise,
        expected: judgement.expected,
        judgement,
    }
}

fn after(readings: impl IntoIterator<Item = f64>) -> Model {
    fed(Model::new(), readings)
}

fn fed(mut model: Model, readings: impl IntoIterator<Item = f64>) -> Model {
    for (bucket, x) in (0..).zip(readings) {
        step(&mut model, x, bucket);
    }
    model
}

/// A count of a large mean: a normal number with the variance of a Poisson one times four.
fn large(random: &mut Random, mean: f64) -> f64 {
    let normal = (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
    (mean + 2.0 * mean.sqrt() * normal).round().max(0.0)
}

#[test]
fn state_is_small() {
    assert!(size_of::<Model>() <= 2048, "{}", size_of::<Model>());
    let mut random = Random::new(1);
    let model = after((0..20 * DAY).map(|_| random.poisson(30.0)));
    assert!(model.encode().len() <= 2048, "{}", model.encode().len());
}

#[test]
fn chooses_by_what_it_reads() {
    let mut random = Random::new(1);
    let mut counts = |mean| after((0..200).map(|_| random.poisson(mean)));
    for mean in [0.01, 3.0, 300.0, 5000.0] {
        assert_eq!(counts(mean).family(), Family::Counts, "{mean}");
    }
    assert_eq!(counts(20_000.0).family(), Family::Values);
    let large: Vec<f64> = (0..1500).map(|_| random.poisson(2000.0)).collect();
    assert_eq!(undeclared(&large), Family::Values);
    for value in [0.25, -3.0, 1e9] {
        let readings = (0..200).map(|i| value + f64::from(i % 7));
        assert_eq!(after(readings).family(), Family::Values, "{value}");
    }
}

/// A number of a log-normal law of median 1.
fn log_normal(random: &mut Random, deviation: f64) -> f64 {
    let normal = (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
    (deviation * normal).exp()
}

/// A number of a gamma law of mean 1 and variance `1 / shape`.
fn gamma(random: &mut Random, shape: u32) -> f64 {
    let sum: f64 = (0..shape).map(|_| -(1.0 - random.uniform()).ln()).sum();
    sum / f64::from(shape)
}

/// The family that numbers choose of which nobody said what they are.
fn undeclared(readings: &[f64]) -> Family {
    fed(Model::undeclared(), readings.iter().copied()).family()
}

#[test]
fn whole_numbers_that_no_count_law_describes_are_values() {
    let mut random = Random::new(6);
    // As large as their deviation, at all sizes: an exponential law.
    let ragged: Vec<f64> = (0..1500)
        .map(|_| (60.0 * gamma(&mut random, 1)).floor())
        .collect();
    assert_eq!(undeclared(&ragged), Family::Values);
    // Of what was declared to be counts, the count law with a dispersion of one hears more than the family of values.
    assert_eq!(after(ragged).family(), Family::Counts);
    // Ordinary counts, and in one reading of a hundred and fifty ten times as many.
    let mut random = Random::new(7);
    let bursty: Vec<f64> = (0..6000)
        .map(|i| {
            let rate = 12.0 * log_normal(&mut random, 0.4);
            random.poisson(if i % 150 == 140 { 10.0 * rate } else { rate })
        })
        .collect();
    assert_eq!(undeclared(&bursty), Family::Values);
    // A tenth as many bursts are the incidents of payments, where they were declared to be counts.
    let incidents = bursty.iter().take(600).copied();
    assert_eq!(after(incidents).family(), Family::Counts);
    // Nothing, and at times twenty at once.
    let spikes: Vec<f64> = (0..1500)
        .map(|i| if i % 100 == 99 { 20.0 } else { 0.0 })
        .collect();
    assert_eq!(undeclared(&spikes), Family::Values);
}

#[test]
fn incidents_do_not_make_values_of_counts() {
    let mut random = Random::new(8);
    let usual = |bucket: i64| daily(12.0, bucket);
    // Two incidents a day of twenty minutes, five times as many, and an outage.
    let readings = (0..4 * DAY).map(|bucket| {
        let incident = [300, 900].contains(&(bucket % DAY / 20 * 20));
        let outage = (2 * DAY..2 * DAY + 90).contains(&bucket);
        let factor = if outage {
            0.0
        } else if incident {
            5.0
        } else {
            1.0
        };
        random.poisson(factor * usual(bucket))
    });
    assert_eq!(after(readings).family(), Family::Counts);
    // Counts of a scatter beyond that of independent events are counts, if it is all there is to them.
    for shape in [10, 4] {
        let mut random = Random::new(9);
        let readings = (0..5 * DAY).map(|_| {
            let rate = 20.0 * gamma(&mut random, shape);
            random.poisson(rate)
        });
        assert_eq!(after(readings).family(), Family::Counts, "{shape}");
    }
}

/// Counts with a dispersion scatter by day by many times what they do at night; the index of dispersion, which is one
/// number for both, would take the day's for strange.
#[test]
fn counts_with_a_dispersion_and_a_day_stay_counts() {
    for (seed, mean, shape) in [
        (21, 50.0, 3),
        (22, 300.0, 3),
        (23, 300.0, 20),
        (24, 2000.0, 5),
    ] {
        let mut random = Random::new(seed);
        let mut model = Model::new();
        for bucket in 0..10 * DAY {
            // An incident of twenty minutes a day.
            let factor = if bucket % DAY / 20 == 40 { 4.0 } else { 1.0 };
            // A steep day: e^4 from its trough to its peak.
            let usual = mean * daily(1.0, bucket).powi(2);
            let rate = factor * usual * gamma(&mut random, shape);
            let x = if rate < 500.0 {
                random.poisson(rate)
            } else {
                rate.round()
            };
            step(&mut model, x, bucket);
            assert_eq!(model.family(), Family::Counts, "{mean} {shape} {bucket}");
        }
    }
}

/// Whole numbers that are added up, as amounts in cents, scatter by day as they do at night, beside their mean: no
/// dispersion describes that. Within a week that is plain.
#[test]
fn whole_amounts_become_values() {
    for (seed, sales) in [(31, 2.0), (32, 10.0)] {
        let mut random = Random::new(seed);
        let mut model = Model::new();
        for bucket in 0..7 * DAY {
            let count = random.poisson(daily(sales, bucket)) as u32;
            let amounts = (0..count).map(|_| (36.0 * log_normal(&mut random, 0.8)).round());
            let x = amounts.sum();
            step(&mut model, x, bucket);
        }
        assert_eq!(model.family(), Family::Values, "{sales}");
    }
}

#[test]
fn one_odd_reading_or_one_burst_changes_nothing() {
    let mut random = Random::new(2);
    let mut model = after((0..3000).map(|_| random.poisson(8.0)));
    for (bucket, x) in [(3000, 8.5), (3001, -1.0), (3002, 1e12), (3003, f64::NAN)] {
        step(&mut model, x, bucket);
    }
    for bucket in 3004..3500 {
        step(&mut model, 1e6, bucket);
    }
    assert_eq!(model.family(), Family::Counts);
}

#[test]
fn an_outage_of_a_large_count_changes_nothing() {
    let mut random = Random::new(3);
    let mut model = after((0..3000).map(|_| large(&mut random, 20_000.0)));
    for bucket in 3000..3480 {
        step(&mut model, 0.0, bucket);
    }
    assert_eq!(model.family(), Family::Values);
}

#[test]
fn a_size_between_does_not_make_it_change_all_the_time() {
    let (mut model, mut random) = (Model::new(), Random::new(4));
    let mut changes = 0;
    for bucket in 0..30 * DAY {
        let family = model.family();
        let x = large(&mut random, daily(10_000.0, bucket));
        step(&mut model, x, bucket);
        changes += u32::from(model.family() != family);
    }
    assert!(changes <= 2, "{changes}");
}

/// The hand-over of a series: reads from `readings` until the family has changed, and two days more.
struct HandOver {
    model: Model,
    bucket: i64,
    /// What was said in the hour before, in the hour after, and two days later.
    before: Vec<Assessment>,
    after: Vec<Assessment>,
    settled: Vec<Assessment>,
    alerts_before: u32,
    alerts_after: u32,
}

fn hand_over(to: Family, mut reading: impl FnMut(i64) -> f64) -> HandOver {
    let mut model = Model::new();
    let mut said = Vec::new();
    let mut bucket = 0;
    while model.family() != to || bucket < DAY {
        said.push(step(&mut model, reading(bucket), bucket));
        bucket += 1;
        assert!(bucket < 60 * DAY, "there is no hand-over");
    }
    let at = said
        .iter()
        .rposition(|a| a.family != to)
        .map_or(0, |last| last + 1);
    let mut later = said.split_off(at);
    for _ in later.len() as i64..2 * DAY {
        later.push(step(&mut model, reading(bucket), bucket));
        bucket += 1;
    }
    let alerts = |said: &[Assessment]| said.iter().map(|a| u32::from(a.opens)).sum();
    let day = said.len().saturating_sub(2 * DAY as usize);
    HandOver {
        model,
        bucket,
        alerts_before: alerts(&said[day..]),
        alerts_after: alerts(&later),
        before: said[said.len() - 60..].to_vec(),
        after: later[..60].to_vec(),
        settled: later[later.len() - 60..].to_vec(),
    }
}

fn mean(said: &[Assessment], of: impl Fn(&Assessment) -> f64) -> f64 {
    said.iter().map(of).sum::<f64>() / said.len() as f64
}

impl HandOver {
    fn nothing_jumps(&self) {
        let verdicts = self.after.iter().map(|a| a.verdict);
        assert!(verdicts.clone().all(|v| v != Verdict::Learning));
        let last = self.before[self.before.len() - 1].expected;
        let first = self.after[0].expected;
        assert!((first / last - 1.0).abs() < 0.1, "{last} {first}");
        let (before, after) = (
            mean(&self.before, |a| a.expected),
            mean(&self.after, |a| a.expected),
        );
        assert!((after / before - 1.0).abs() < 0.25, "{before} {after}");
        // The families differ in how much they are surprised by nothing; so its own later days are
        // what the new one is held against.
        let (after, settled) = (
            mean(&self.after, |a| a.surprise),
            mean(&self.settled, |a| a.surprise),
        );
        // (Of sixty readings, whose sums go together, such a mean is off by a quarter.)
        assert!((after - settled).abs() < 0.6, "{after} {settled}");
        assert!(
            self.alerts_after <= self.alerts_before + 1,
            "{} {}",
            self.alerts_before,
            self.alerts_after
        );
    }
}

#[test]
fn nothing_jumps_when_counts_have_grown() {
    let mut alerts = 0;
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let done = hand_over(Family::Values, |bucket| {
            let growth = 6000.0 * (bucket as f64 / (10 * DAY) as f64).exp();
            large(&mut random, daily(growth, bucket))
        });
        done.nothing_jumps();
        alerts += done.alerts_after;
    }
    assert!(alerts <= 4, "{alerts} in 16 days");
}

#[test]
fn nothing_jumps_when_values_become_counts() {
    let mut alerts = 0;
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let done = hand_over(Family::Counts, |bucket| {
            let count = random.poisson(40.0);
            count + if bucket < 2 * DAY { 0.5 } else { 0.0 }
        });
        done.nothing_jumps();
        alerts += done.alerts_after;
    }
    assert!(alerts <= 2, "{alerts} in 16 days");
}

#[test]
fn what_happens_right_after_a_hand_over_is_found() {
    let mut random = Random::new(5);
    let mut model = Model::new();
    let mut bucket = 0;
    while model.family() == Family::Counts || bucket < 3 * DAY {
        let x = large(&mut random, 6000.0 + bucket as f64);
        step(&mut model, x, bucket);
        bucket += 1;
    }
    let usual = 6000.0 + bucket as f64;
    let burst = step(&mut model, 2.0 * usual, bucket);
    assert!(
        burst.opens && burst.verdict >= Verdict::Warning,
        "{burst:?}"
    );

    let done = hand_over(Family::Counts, |bucket| {
        random.poisson(40.0) + if bucket < 2 * DAY { 0.5 } else { 0.0 }
    });
    let mut model = done.model;
    let burst = step(&mut model, 120.0, done.bucket);
    assert!(
        burst.opens && burst.verdict == Verdict::Critical,
        "{burst:?}"
    );
}

fn any_reading() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0u32..4000).prop_map(f64::from),
        2 => -10.0f64..5000.0,
        1 => any::<f64>(),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::MAX), Just(f64::MIN)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn nothing_poisons_and_a_stream_may_be_cut_anywhere(
        blocks in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any_reading(), 1..300),
                (0u32..3000, 900usize..1500).prop_map(|(x, n)| {
                    (0..n).map(|i| f64::from(x) + (i % 5) as f64).collect::<Vec<f64>>()
                }),
            ],
            1..5,
        ),
        cuts in prop::collection::vec(0usize..4000, 1..6),
    ) {
        let (mut whole, mut cut) = (Model::new(), Model::new());
        for (i, &x) in blocks.iter().flatten().enumerate() {
            if cuts.contains(&i) {
                cut = Model::decode(&cut.encode()).expect("what was encoded is decoded");
            }
            let (a, b) = (step(&mut whole, x, i as i64), step(&mut cut, x, i as i64));
            prop_assert_eq!(a, b);
            prop_assert!(a.surprise.is_finite() && a.expected.is_finite());
        }
        prop_assert_eq!(Model::decode(&whole.encode()), Ok(whole));
        prop_assert_eq!(whole.encode(), cut.encode());
    }
}

/// Whole numbers are read as values until they have shown that they are counts, where nobody says so.
#[test]
fn undeclared_numbers_are_values_first() {
    let mut random = Random::new(11);
    let (mut said, mut unsaid) = (Model::new(), Model::undeclared());
    for bucket in 0..3000 {
        let x = random.poisson(6.0);
        step(&mut said, x, bucket);
        step(&mut unsaid, x, bucket);
        assert_eq!(said.family(), Family::Counts, "{bucket}");
        assert!(
            bucket >= 999 || unsaid.family() == Family::Values,
            "{bucket}"
        );
    }
    assert_eq!(unsaid.family(), Family::Counts);
}
