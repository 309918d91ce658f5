//! Ratios: what is found, what is not, and what holds for every stream.

mod generate;

use detector::{Channel, Ratio, Verdict};
use generate::{Random, DAY};
use proptest::prelude::*;

/// A stream of parts and wholes: mean volume, share, and how much the share scatters from bucket to bucket (the
/// standard deviation of the log of its odds, of which 0.9 carries over).
struct Stream {
    random: Random,
    volume: f64,
    share: f64,
    scatter: f64,
    drift: f64,
}

impl Stream {
    fn new(seed: u64, volume: f64, share: f64, scatter: f64) -> Stream {
        Stream {
            random: Random::new(seed),
            volume,
            share,
            scatter,
            drift: 0.0,
        }
    }

    /// Part and whole of a bucket in which the share is `times` what is usual.
    fn next(&mut self, bucket: i64, times: f64) -> (f64, f64) {
        let day = (bucket % DAY) as f64 / DAY as f64;
        let volume = self.volume * (1.0 + 0.6 * (day * core::f64::consts::TAU).sin());
        let noise: f64 = (0..12).map(|_| self.random.uniform()).sum::<f64>() - 6.0;
        self.drift = 0.9 * self.drift + f64::sqrt(1.0 - 0.81) * noise * self.scatter;
        let odds = self.share * times / (1.0 - self.share * times) * self.drift.exp();
        let share = odds / (1.0 + odds);
        let part = self.random.poisson(volume * share);
        let rest = self.random.poisson(volume * (1.0 - share));
        (part, part + rest)
    }
}

const CELLS: [(f64, f64, f64); 8] = [
    (5.0, 0.1, 0.0),
    (20.0, 0.1, 0.0),
    (20.0, 0.1, 0.2),
    (200.0, 0.02, 0.0),
    (200.0, 0.1, 0.1),
    (200.0, 0.5, 0.1),
    (2000.0, 0.1, 0.0),
    (2000.0, 0.1, 0.1),
];

#[test]
fn quiet_ratios_are_quiet() {
    for (volume, share, scatter) in CELLS {
        let mut incidents = 0;
        for seed in 0..6 {
            let mut stream = Stream::new(seed, volume, share, scatter);
            let mut ratio = Ratio::new();
            for bucket in 0..14 * DAY {
                let (part, whole) = stream.next(bucket, 1.0);
                ratio.step(part, whole, 10.0, bucket);
            }
            incidents += ratio.incidents;
        }
        // 84 days a cell.
        assert!(incidents <= 2, "{volume} {share} {scatter}: {incidents}");
    }
}

#[test]
fn a_share_that_triples_is_found_and_a_rise_of_everything_is_not() {
    for (volume, share, scatter) in CELLS {
        for seed in 10..16 {
            let mut stream = Stream::new(seed, volume, share, scatter);
            let mut ratio = Ratio::new();
            for bucket in 0..2 * DAY {
                let (part, whole) = stream.next(bucket, 1.0);
                ratio.step(part, whole, 10.0, bucket);
            }
            let before = ratio.incidents;
            stream.volume *= 3.0;
            for bucket in 2 * DAY..2 * DAY + 60 {
                let (part, whole) = stream.next(bucket, 1.0);
                ratio.step(part, whole, 10.0, bucket);
            }
            assert_eq!(
                ratio.incidents, before,
                "volume: {volume} {share} {scatter} {seed}"
            );
            stream.volume /= 3.0;
            let times = if share < 0.3 { 3.0 } else { 1.8 };
            for bucket in 2 * DAY + 60..2 * DAY + 100 {
                let (part, whole) = stream.next(bucket, times);
                ratio.step(part, whole, 10.0, bucket);
            }
            assert!(
                ratio.incidents > before,
                "share: {volume} {share} {scatter} {seed}"
            );
            let incident = ratio.recent[before as usize % 4];
            assert_eq!(incident.direction, 1);
            assert!(incident.observed <= 1.0 && incident.lower <= incident.upper);
        }
    }
}

#[test]
fn a_twin_the_next_hour_is_found_and_a_lasting_share_is_accepted() {
    let mut stream = Stream::new(3, 200.0, 0.1, 0.05);
    let mut ratio = Ratio::new();
    let mut bucket = 0;
    let mut run = |ratio: &mut Ratio, length: i64, times: f64| {
        for _ in 0..length {
            let (part, whole) = stream.next(bucket, times);
            ratio.step(part, whole, 10.0, bucket);
            bucket += 1;
        }
    };
    run(&mut ratio, DAY, 1.0);
    assert_eq!(ratio.incidents, 0);
    for twin in 1..=2 {
        run(&mut ratio, 20, 3.0);
        assert_eq!(ratio.incidents, twin);
        run(&mut ratio, 60, 1.0);
        assert!(ratio.open_incident().is_none(), "{twin}");
    }
    run(&mut ratio, 600, 2.0);
    assert_eq!(ratio.incidents, 3);
    assert!(ratio.recent[2].is_accepted(), "{:?}", ratio.recent[2]);
    assert!(
        (ratio.expected() - 0.2).abs() < 0.02,
        "{}",
        ratio.expected()
    );
    run(&mut ratio, DAY, 2.0);
    assert_eq!(ratio.incidents, 3);
}

#[test]
fn one_of_two_is_nothing() {
    let mut ratio = Ratio::new();
    for bucket in 0..DAY {
        ratio.step(1.0, 20.0, 10.0, bucket);
    }
    let j = ratio.judge(2.0, 2.0, 10.0);
    assert_eq!(j.channels[Channel::Point as usize], 0.0);
    let j = ratio.judge(20.0, 20.0, 10.0);
    assert_eq!(j.verdict(), Verdict::Critical);
    let j = ratio.judge(20.0, 20.0, 1000.0);
    assert_eq!((j.verdict(), j.surprise), (Verdict::Normal, 0.0));
}

#[test]
fn with_less_volume_the_interval_is_wider() {
    let mut stream = Stream::new(1, 100.0, 0.2, 0.1);
    let mut ratio = Ratio::new();
    for bucket in 0..DAY {
        let (part, whole) = stream.next(bucket, 1.0);
        ratio.step(part, whole, 1.0, bucket);
    }
    let widths = [10.0, 50.0, 400.0].map(|whole| {
        let b = ratio.bounds(whole, 1.0);
        assert!(b.lower <= ratio.expected() && ratio.expected() <= b.upper);
        b.upper - b.lower
    });
    assert!(widths[0] > widths[1] && widths[1] > widths[2], "{widths:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_poisons(readings in prop::collection::vec((any::<f64>(), prop_oneof![any::<f64>(), 0.0f64..50.0]), 1..300)) {
        let mut ratio = Ratio::new();
        for (bucket, &(part, whole)) in readings.iter().enumerate() {
            ratio.step(part, whole, 1.0, bucket as i64);
            let j = ratio.judge(part, whole, 1.0);
            prop_assert!(j.surprise.is_finite() && j.expected.is_finite());
        }
        let b = ratio.bounds(10.0, 1.0);
        prop_assert!(0.0 <= b.lower && b.lower <= b.upper && b.upper <= 1.0);
        prop_assert_eq!(Ratio::decode(&ratio.encode()), Ok(ratio));
    }

    #[test]
    fn outside_the_bounds_exactly_when_not_normal(seed in 0u64..1000, volume in 3.0f64..300.0, share in 0.02f64..0.9) {
        let mut stream = Stream::new(seed, volume, share, 0.1);
        let mut ratio = Ratio::new();
        for bucket in 0..200 {
            let (part, whole) = stream.next(bucket, 1.0);
            ratio.step(part, whole, 5.0, bucket);
        }
        let whole = volume.ceil();
        let b = ratio.bounds(whole, 5.0);
        prop_assert!(b.lower <= ratio.expected() && ratio.expected() <= b.upper);
        for part in 0..=whole as u32 {
            let j = ratio.judge(f64::from(part), whole, 5.0);
            if j.channel == Channel::Point {
                let outside = !b.contains(f64::from(part) / whole);
                prop_assert_eq!(outside, j.verdict() >= Verdict::Warning, "{} of {}: {:?} {:?}", part, whole, b, j);
            }
        }
    }

    #[test]
    fn a_state_that_was_stored_goes_on_as_if_it_had_not(seed in 0u64..1000, split in 0i64..400) {
        let mut stream = Stream::new(seed, 30.0, 0.2, 0.1);
        let mut one = Ratio::new();
        let mut two = Ratio::new();
        for bucket in 0..400 {
            let (part, whole) = stream.next(bucket, if bucket > 300 { 3.0 } else { 1.0 });
            one.step(part, whole, 5.0, bucket);
            if bucket == split {
                two = Ratio::decode(&two.encode()).unwrap();
            }
            two.step(part, whole, 5.0, bucket);
        }
        prop_assert_eq!(one.encode(), two.encode());
    }
}
