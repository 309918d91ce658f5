//! What a reading costs: median nanoseconds of a [`Series::step`], over a year of minutes.
//!
//! To be run with `--release`.

use std::hint::black_box;
use std::time::Instant;

use detector::Series;

#[path = "../tests/generate/mod.rs"]
mod generate;

use generate::{minute, Random, MINUTE};

const DAY: i64 = generate::DAY;
const DAYS: i64 = 365;

/// Median over the days of the mean time of a reading, in nanoseconds.
fn cost(mean: f64) -> f64 {
    let mut random = Random::new(1);
    let mut series = Series::new();
    let mut days = Vec::with_capacity(DAYS as usize);
    for day in 0..DAYS {
        let readings: Vec<f64> = (0..DAY).map(|_| random.poisson(mean)).collect();
        let start = Instant::now();
        for (of_day, &x) in (0..).zip(&readings) {
            black_box(series.step(black_box(x), minute(day * DAY + of_day), MINUTE));
        }
        days.push(start.elapsed().as_nanos() as f64 / DAY as f64);
    }
    days.sort_by(f64::total_cmp);
    days[days.len() / 2]
}

fn main() {
    println!(
        "a series is {} bytes, encoded {}",
        size_of::<Series>(),
        Series::new().encode().len()
    );
    for mean in [0.3, 5.0, 300.0] {
        println!("mean {mean}: {:.0} ns a reading", cost(mean));
    }
}
