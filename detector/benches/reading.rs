//! What judging and learning a reading costs, by family.
//!
//! - `young`: the first day of a series, from nothing;
//! - `warm`: a series of four weeks, its state in the cache;
//! - `cold`: one of 16,384 series of a day, each in its turn, so that the state comes from memory.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, BatchSize, Criterion, Throughput};
use detector::{Model, Series, Values};

#[path = "../tests/generate/mod.rs"]
mod generate;

use generate::{daily, minute, Random, DAY, MINUTE};

/// Series in memory: their states are many times the cache.
const MANY: usize = 16_384;
const WEEKS: i64 = 28 * DAY;

/// One family of the detector.
trait Family: Copy {
    const NAME: &'static str;
    fn new() -> Self;
    fn read(&mut self, x: f64, bucket: i64);
    /// A reading at a minute: a count around 30, or that with a fraction.
    fn reading(random: &mut Random, bucket: i64) -> f64;
}

impl Family for Series {
    const NAME: &'static str = "counts";
    fn new() -> Series {
        Series::new()
    }
    fn read(&mut self, x: f64, bucket: i64) {
        black_box(self.step(black_box(x), minute(bucket), MINUTE));
    }
    fn reading(random: &mut Random, bucket: i64) -> f64 {
        random.poisson(daily(30.0, bucket))
    }
}

impl Family for Values {
    const NAME: &'static str = "values";
    fn new() -> Values {
        Values::new()
    }
    fn read(&mut self, x: f64, bucket: i64) {
        black_box(self.step(black_box(x), minute(bucket), MINUTE));
    }
    fn reading(random: &mut Random, bucket: i64) -> f64 {
        random.poisson(daily(30.0, bucket)) + random.uniform()
    }
}

impl Family for Model {
    const NAME: &'static str = "model of counts";
    fn new() -> Model {
        Model::new()
    }
    fn read(&mut self, x: f64, bucket: i64) {
        black_box(self.step(black_box(x), minute(bucket), MINUTE));
    }
    fn reading(random: &mut Random, bucket: i64) -> f64 {
        Series::reading(random, bucket)
    }
}

fn readings<F: Family>(from: i64, length: i64) -> Vec<(i64, f64)> {
    let mut random = Random::new(from as u64 + 1);
    (from..from + length)
        .map(|bucket| (bucket, F::reading(&mut random, bucket)))
        .collect()
}

fn read<F: Family>(series: &mut F, readings: &[(i64, f64)]) {
    for &(bucket, x) in readings {
        series.read(x, bucket);
    }
}

fn family<F: Family>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(F::NAME);
    let day = readings::<F>(0, DAY);
    group.throughput(Throughput::Elements(DAY as u64));
    group.bench_function("young", |bencher| {
        bencher.iter_batched_ref(F::new, |series| read(series, &day), BatchSize::SmallInput);
    });

    let mut old = F::new();
    read(&mut old, &readings::<F>(0, WEEKS));
    let next = readings::<F>(WEEKS, DAY);
    group.bench_function("warm", |bencher| {
        bencher.iter_batched_ref(|| old, |series| read(series, &next), BatchSize::SmallInput);
    });

    let mut one = F::new();
    read(&mut one, &day);
    let mut many = vec![one; MANY];
    let mut random = Random::new(3);
    let mut bucket = DAY;
    group.throughput(Throughput::Elements(MANY as u64));
    group.bench_function("cold", |bencher| {
        bencher.iter(|| {
            let x = F::reading(&mut random, bucket);
            for series in &mut many {
                series.read(x, bucket);
            }
            bucket += 1;
        });
    });
    group.finish();
}

fn counts(criterion: &mut Criterion) {
    family::<Series>(criterion);
}

fn values(criterion: &mut Criterion) {
    family::<Values>(criterion);
}

fn model(criterion: &mut Criterion) {
    family::<Model>(criterion);
}

criterion_group!(reading, counts, values, model);
criterion_main!(reading);
