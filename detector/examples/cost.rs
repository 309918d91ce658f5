//! What a reading costs: median nanoseconds of a [`Series::step`], over a year of minutes.
//!
//! To be run with `--release`.

use std::hint::black_box;
use std::time::Instant;

use detector::{Moment, Pace, Series};

const PACE: Pace = Pace { minutes: 1.0 };
const DAY: usize = 1440;
const DAYS: usize = 365;

fn moment(bucket: usize) -> Moment {
    Moment {
        bucket: bucket as i64,
        minute: (bucket % DAY) as u16,
        weekend: bucket / DAY % 7 >= 5,
    }
}

/// Poisson counts by multiplication of uniform numbers from a xorshift generator.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        let (mut left, mut count) = (mean, 0.0);
        while left > 0.0 {
            let part = left.min(30.0);
            left -= part;
            let mut product = self.uniform();
            while product > (-part).exp() {
                count += 1.0;
                product *= self.uniform();
            }
        }
        count
    }
}

/// Median over the days of the mean time of a reading, in nanoseconds.
fn cost(mean: f64) -> f64 {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut series = Series::new();
    let mut days = Vec::with_capacity(DAYS);
    for day in 0..DAYS {
        let readings: Vec<f64> = (0..DAY).map(|_| random.poisson(mean)).collect();
        let start = Instant::now();
        for (minute, &x) in readings.iter().enumerate() {
            black_box(series.step(black_box(x), moment(day * DAY + minute), PACE));
        }
        days.push(start.elapsed().as_nanos() as f64 / DAY as f64);
    }
    days.sort_by(f64::total_cmp);
    days[DAYS / 2]
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
