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

use std::path::PathBuf;
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
    rounds: 5,
    copy_rows: 1_000_000,
    many_series: 10_000,
    memory_rows: 5_000_000,
    single_rounds: 9,
    single_length: "--time=2",
    clients: [4, 32],
    storms: 150,
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
    copy_rows: 5_000,
    many_series: 200,
    memory_rows: 20_000,
    single_rounds: 1,
    single_length: "--transactions=100",
    clients: [2, 4],
    storms: 5,
    connections: 3,
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
    let report = run(&arguments, &size);
    println!(
        "{} missed or skipped, {:.0} s",
        report.missed(),
        began.elapsed().as_secs_f64()
    );
    if let Some(path) = &arguments.out {
        if let Err(message) = section::write(path, &report) {
            eprintln!("bench-load: {message}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(arguments: &Arguments, size: &Size) -> Report {
    let mut report = Report::default();
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|o| o == name);
    let cluster = Cluster::start_with(&[
        ("autovacuum", "off"),
        ("checkpoint_timeout", "1h"),
        ("max_wal_size", "16GB"),
        ("shared_buffers", "512MB"),
        ("synchronous_commit", "off"),
        ("cloudwalk_monitor.shared_memory", size.shared_memory),
    ]);
    let mut sides: single::Sides = Side::ALL
        .into_iter()
        .map(|side| (side, sides::create(&cluster, side)))
        .collect();
    {
        let [(_, plain), (_, ours), ..] = &mut sides[..] else {
            unreachable!("all sides were made")
        };
        let mut pair = bulk::Pair { plain, ours };
        if wanted("copy") {
            bulk::compare(&cluster, &mut pair, size, &mut report);
        }
        if wanted("growth") {
            bulk::growth(&cluster, &mut pair, size, &mut report);
        }
        if wanted("memory") {
            bulk::memory(&cluster, &mut pair, size, &mut report);
        }
    }
    if wanted("single") {
        single::compare(&cluster, &mut sides, size, &mut report);
    }
    if wanted("latency") {
        latency::notification(&cluster, &mut sides[1].1, size, &mut report);
    }
    if wanted("first") {
        latency::first_insert(&cluster, size, &mut report);
    }
    drop(sides);
    if wanted("history") {
        history::measure(&cluster, arguments.python.as_deref(), size, &mut report);
    }
    if wanted("crowd") {
        history::many_series(&cluster, size, &mut report);
    }
    report
}
