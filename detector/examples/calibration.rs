//! How often a quiet series of values shows a surprise of so many decades.
//!
//! The scale of scores says once in `10^(S - 0.4)` readings. To be run with `--release`.

use detector::{Pace, Values};

#[path = "../tests/generate/mod.rs"]
mod generate;

use generate::{moment, Random};

const SERIES: u64 = 400;
const DAYS: i64 = 60;
const PACE: Pace = Pace { minutes: 5.0 };
const DAY: i64 = 288;
const SURPRISES: [f64; 4] = [2.0, 2.5, 3.0, 4.0];

/// What a series is made of, from a normal deviate, the reading before it, and the bucket.
type Law = fn(f64, f64, i64) -> f64;

const LAWS: [(&str, Law); 5] = [
    ("normal", |z, _, _| 100.0 + 5.0 * z),
    ("log-normal, σ 0.5", |z, _, _| (0.5 * z).exp()),
    ("log-normal, σ 1", |z, _, _| z.exp()),
    ("autocorrelated 0.9", |z, last, _| 0.9 * last + z),
    ("a day's curve and noise", |z, _, bucket| {
        100.0 + 20.0 * (core::f64::consts::TAU * bucket as f64 / DAY as f64).sin() + 2.0 * z
    }),
];

/// A normal deviate (Box and Muller 1958).
fn normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * (1.0 - random.uniform()).ln()).sqrt();
    radius * (core::f64::consts::TAU * random.uniform()).cos()
}

fn main() {
    println!("| law | alerts a day | readings to one of S ≥ 2 | 2.5 | 3 | 4 |\n|---|---|---|---|---|---|");
    for (name, law) in LAWS {
        let (mut readings, mut alerts, mut beyond) = (0u64, 0u64, [0u64; SURPRISES.len()]);
        for seed in 0..SERIES {
            let (mut series, mut random, mut last) = (Values::new(), Random::new(seed), 0.0);
            for bucket in 0..DAYS * DAY {
                last = law(normal(&mut random), last, bucket);
                let j = series.step(last, moment(bucket, PACE.minutes), PACE);
                readings += 1;
                alerts += u64::from(j.opens);
                for (count, surprise) in beyond.iter_mut().zip(SURPRISES) {
                    *count += u64::from(j.surprise >= surprise);
                }
            }
        }
        let days = (SERIES * DAYS as u64) as f64;
        let once = beyond.map(|count| match count {
            0 => format!("> {readings}"),
            _ => format!("{:.0}", readings as f64 / count as f64),
        });
        println!(
            "| {name} | {:.3} | {} |",
            alerts as f64 / days,
            once.join(" | ")
        );
    }
    let promised = SURPRISES.map(|s| format!("{:.0}", 10f64.powf(s - 0.4)));
    println!("| the scale of scores | | {} |", promised.join(" | "));
}
