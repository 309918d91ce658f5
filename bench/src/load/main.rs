//! What the monitor costs: the same loads with no trigger, ours, and what people write instead, in turns on one
//! server. Called by `make bench-load`; writes its section of `bench/RESULTS.md`.
//!
//! `--quick` runs everything once on a small scale, writes nothing, and judges no figure: it shows that the
//! benchmark still runs.

mod bulk;
mod figures;
mod history;
mod latency;
mod rows;
mod section;
mod sides;
mod single;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use testbed::Cluster;

use figures::Report;
use sides::Side;

/// How much is measured.
pub struct Size {
    /// Pairs of COPY.
    rounds: usize,
    copy_rows: usize,
    many_series: usize,
    memory_rows: usize,
    single_rounds: usize,
    /// How long a round is, as an option of pgbench.
    single_length: &'static str,
    /// Few and many clients.
    clients: [usize; 2],
    storms: usize,
    connections: usize,
    inserts: usize,
    year_minutes: usize,
    restarts: usize,
    window: &'static str,
    table_rows: usize,
    crowd: usize,
    crowd_minutes: usize,
    shared_memory: &'static str,
}

const FULL: Size = Size {
    rounds: 3,
    copy_rows: 1_000_000,
    many_series: 10_000,
    memory_rows: 5_000_000,
    single_rounds: 5,
    single_length: "--time=2",
    clients: [4, 32],
    storms: 50,
    connections: 41,
    inserts: 2_000,
    year_minutes: 525_600,
    restarts: 3,
    window: "30 days",
    table_rows: 10_000_000,
    crowd: 100_000,
    crowd_minutes: 120,
    shared_memory: "512MB",
};

const QUICK: Size = Size {
    rounds: 1,
    copy_rows: 3_000,
    many_series: 200,
    memory_rows: 20_000,
    single_rounds: 1,
    single_length: "--transactions=100",
    clients: [2, 4],
    storms: 2,
    connections: 2,
    inserts: 20,
    year_minutes: 2_000,
    restarts: 1,
    window: "1 day",
    table_rows: 20_000,
    crowd: 300,
    crowd_minutes: 120,
    shared_memory: "64MB",
};

#[derive(Default)]
struct Arguments {
    quick: bool,
    only: Option<String>,
    python: Option<PathBuf>,
    out: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, String> {
    let mut a = Arguments::default();
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or(format!("{name} wants a value"));
        match name.as_str() {
            "--quick" => a.quick = true,
            "--only" => a.only = Some(value()?),
            "--python" => a.python = Some(value()?.into()),
            "--out" => a.out = Some(value()?.into()),
            _ => return Err(format!("no such option: {name}")),
        }
    }
    Ok(a)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(a) => a,
        Err(message) => {
            eprintln!("bench-load: {message}");
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let size = if arguments.quick { QUICK } else { FULL };
    let bench = Bench::start(&arguments, &size);
    let mut missed = 0;
    for (name, measure) in MEASURES {
        if arguments.only.as_deref().is_none_or(|o| o == name) {
            let mut report = Report::default();
            measure(&bench, &mut report);
            missed += report.missed();
            // After each: a run that is broken off leaves what it has found.
            let written = arguments
                .out
                .as_ref()
                .map_or(Ok(()), |path| section::write(path, name, &report));
            if let Err(message) = written {
                eprintln!("bench-load: {message}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{} missed or skipped, {:.0} s",
        missed,
        began.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

/// How a commit is kept: as servers do it that nobody has told otherwise, and without waiting for the disk, which leaves
/// the processor's time alone.
const DURABLE: [(&str, &str); 2] = [("fsync", "on"), ("synchronous_commit", "on")];
const AT_ONCE: [(&str, &str); 1] = [("synchronous_commit", "off")];

type Measure = fn(&Bench, &mut Report);

/// In the order of the table, each with databases of its own.
const MEASURES: [(&str, Measure); 9] = [
    ("durable", |b, report| {
        let cluster = Bench::cluster(b.size, &DURABLE);
        let b = Bench { cluster, ..*b };
        let mut sides = b.sides(&[Side::Plain, Side::Ours]);
        report.set_durable();
        single::pairs(&b.cluster, &mut sides, b.size, report);
    }),
    ("single", |b, report| {
        let mut sides = b.sides(&Side::ALL);
        single::compare(&b.cluster, &mut sides, b.size, report);
    }),
    ("latency", |b, report| {
        let mut sides = b.sides(&[Side::Ours]);
        latency::notification(&b.cluster, &mut sides[0].1, b.size, report);
    }),
    ("first", |b, report| {
        let _sides = b.sides(&[Side::Plain, Side::Ours]);
        latency::first_insert(&b.cluster, b.size, report);
    }),
    ("copy", |b, report| {
        b.pair(report, bulk::compare);
    }),
    ("history", |b, report| {
        history::measure(&b.cluster, b.python, b.size, report);
    }),
    ("crowd", |b, report| {
        history::many_series(&b.cluster, b.size, report);
    }),
    ("growth", |b, report| {
        b.pair(report, bulk::growth);
    }),
    ("memory", |b, report| {
        b.pair(report, bulk::memory);
    }),
];

/// A server to measure on.
struct Bench<'a> {
    cluster: Cluster,
    python: Option<&'a Path>,
    size: &'a Size,
}

impl<'a> Bench<'a> {
    fn start(arguments: &'a Arguments, size: &'a Size) -> Bench<'a> {
        Bench {
            cluster: Bench::cluster(size, &AT_ONCE),
            python: arguments.python.as_deref(),
            size,
        }
    }

    fn cluster(size: &Size, commits: &[(&str, &str)]) -> Cluster {
        let mut settings = vec![
            ("autovacuum", "off"),
            ("checkpoint_timeout", "1h"),
            ("max_wal_size", "16GB"),
            ("shared_buffers", "512MB"),
            ("cloudwalk_monitor.shared_memory", size.shared_memory),
        ];
        settings.extend(commits);
        Cluster::start_with(&settings)
    }

    fn sides(&self, sides: &[Side]) -> single::Sides {
        let create = |side: &Side| (*side, sides::create(&self.cluster, *side));
        sides.iter().map(create).collect()
    }

    fn pair(
        &self,
        report: &mut Report,
        measure: fn(&Cluster, &mut bulk::Pair, &Size, &mut Report),
    ) {
        let [mut plain, mut ours] =
            [Side::Plain, Side::Ours].map(|side| sides::create(&self.cluster, side));
        let mut pair = bulk::Pair {
            plain: &mut plain,
            ours: &mut ours,
        };
        measure(&self.cluster, &mut pair, self.size, report);
    }
}
