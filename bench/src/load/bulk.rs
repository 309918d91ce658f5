//! COPY: what the triggers cost a row, what a backend needs of memory, and how both grow.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use postgres::Client;
use testbed::Cluster;

use crate::figures::{median, ratio, rounded, Report, Target};
use crate::rows::{copy, Rows};
use crate::sides::{empty, milliseconds, number, settle, Side};
use crate::Size;

/// A pair of sides on one table and file.
pub struct Pair<'a> {
    pub plain: &'a mut Client,
    pub ours: &'a mut Client,
}

/// Rounds of two things, in turns: what each took, milliseconds. The second is asked for with `true`.
fn in_turns(rounds: usize, mut once: impl FnMut(bool) -> f64) -> (Vec<f64>, Vec<f64>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for turn in 0..2 {
            let is_second = (round + turn) % 2 == 1;
            let took = once(is_second);
            if is_second { &mut second } else { &mut first }.push(took);
        }
    }
    (first, second)
}

impl Pair<'_> {
    /// Rounds of both, each into an empty table; milliseconds. And how long the models took after it.
    fn copies(&mut self, table: &str, path: &Path, rounds: usize) -> (Vec<f64>, Vec<f64>, f64) {
        let sql = copy(table, path);
        let mut settled = Vec::new();
        let (plain, ours) = in_turns(rounds, |ours| {
            let (client, side) = if ours {
                (&mut *self.ours, Side::Ours)
            } else {
                (&mut *self.plain, Side::Plain)
            };
            empty(client, side, table);
            let took = milliseconds(client, &sql);
            if ours {
                settled.push(settle(client));
            }
            took
        });
        (plain, ours, median(&settled))
    }
}

/// COPY beside COPY without a trigger.
pub fn compare(cluster: &Cluster, pair: &mut Pair, size: &Size, report: &mut Report) {
    let cases = [
        ("transactions", 7, 1.5, "COPY in time order, 7 series"),
        (
            "transactions",
            size.many_series,
            1.7,
            "COPY in time order, many series",
        ),
        (
            "payments",
            7,
            1.25,
            "COPY into a watched table without verdict columns, 7 series",
        ),
    ];
    for (table, series, target, what) in cases {
        let name = format!("copy-{series}");
        let (path, rows) = Rows::of(size.copy_rows, series).write(cluster, pair.plain, &name);
        let (plain, ours, settled) = pair.copies(table, &path, size.rounds);
        let each = |ms: &[f64]| rounded(median(ms) * 1e3 / rows as f64);
        report.figure(
            what,
            ratio(&ours, &plain),
            "×",
            Target::AtMost(target),
            format!(
                "{rows} rows, {series} series: {} against {} µs a row; models exact {} s later; {} pairs",
                each(&ours),
                each(&plain),
                rounded(settled),
                size.rounds
            ),
        );
    }
    floor(cluster, pair, size, report);
}

/// What of it is the server's own: with any BEFORE ROW trigger COPY inserts rows one by one, not by the page. The trigger is
/// disabled, so that nothing is called.
fn floor(cluster: &Cluster, pair: &mut Pair, size: &Size, report: &mut Report) {
    let (path, rows) = Rows::of(size.copy_rows, 7).write(cluster, pair.plain, "floor");
    pair.plain
        .batch_execute(
            "CREATE TABLE one_by_one (LIKE transactions INCLUDING ALL);
             CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER nothing BEFORE INSERT ON one_by_one FOR EACH ROW EXECUTE FUNCTION nothing();
             ALTER TABLE one_by_one DISABLE TRIGGER nothing;",
        )
        .expect("a table with a trigger that is disabled");
    let (without, with) = in_turns(size.rounds, |with| {
        let table = if with { "one_by_one" } else { "transactions" };
        empty(pair.plain, Side::Plain, table);
        milliseconds(pair.plain, &copy(table, &path))
    });
    let each = |ms: &[f64]| rounded(median(ms) * 1e3 / rows as f64);
    report.figure(
        "COPY, 7 series, past a BEFORE ROW trigger that is disabled: the server's own part",
        ratio(&with, &without),
        "×",
        Target::None,
        format!("{} against {} µs a row", each(&with), each(&without)),
    );
}

/// Rows: linear. The cost of a row at a tenth of the size, beside that at the whole size.
pub fn growth(cluster: &Cluster, pair: &mut Pair, size: &Size, report: &mut Report) {
    let table = "transactions";
    let mut cost = Vec::new();
    for rows in [size.copy_rows / 10, size.copy_rows] {
        let name = format!("growth-{rows}");
        let (path, rows) = Rows::of(rows, 7).write(cluster, pair.plain, &name);
        let (plain, ours, _) = pair.copies(table, &path, size.rounds.min(3));
        cost.push((
            ratio(&ours, &plain),
            median(&ours) * 1e3 / rows as f64,
            rows,
        ));
    }
    let [(small_ratio, small, few), (large_ratio, large, many)] = cost[..] else {
        unreachable!("two sizes were measured")
    };
    report.figure(
        "cost of a row, ten times the rows / before",
        large / small,
        "×",
        Target::AtMost(1.2),
        format!(
            "{} µs a row of {few}, {} of {many}; against no trigger {}× and {}×",
            rounded(small),
            rounded(large),
            rounded(small_ratio),
            rounded(large_ratio)
        ),
    );
}

/// Private memory of a backend, bytes.
fn private_memory(pid: i32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    let kilobytes = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) * 1024.0
}

/// The most private memory that a statement needed beyond what the backend had, and what stays of it.
fn memory_of(client: &mut Client, sql: &str) -> (f64, f64) {
    let pid = number(client, "pg_backend_pid()") as i32;
    let before = private_memory(pid);
    let done = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0.0f64;
            while !done.load(Ordering::Relaxed) {
                most = most.max(private_memory(pid));
                thread::sleep(Duration::from_millis(5));
            }
            most
        });
        milliseconds(client, sql);
        done.store(true, Ordering::Relaxed);
        watcher.join().expect("the watcher only reads")
    });
    (most - before, private_memory(pid) - before)
}

/// Memory of a backend that loads many rows.
pub fn memory(cluster: &Cluster, pair: &mut Pair, size: &Size, report: &mut Report) {
    let (path, rows) = Rows::of(size.memory_rows, 7).write(cluster, pair.plain, "memory");
    let sql = copy("transactions", &path);
    let (plain, _) = memory_of(pair.plain, &sql);
    pair.plain
        .batch_execute("TRUNCATE transactions")
        .expect("TRUNCATE");
    let (most, stays) = memory_of(pair.ours, &sql);
    empty(pair.ours, Side::Ours, "transactions");
    let (_, stays_again) = memory_of(pair.ours, &sql);
    let mb = |bytes: f64| rounded(bytes / 1e6);
    report.figure(
        "memory of a backend during a COPY, beyond one without a trigger",
        (most - plain) / rows as f64,
        " B a row",
        Target::AtMost(16.0),
        format!(
            "{rows} rows: {} MB against {} MB at the most",
            mb(most),
            mb(plain)
        ),
    );
    report.figure(
        "what a second COPY leaves behind in the backend",
        stays_again / 1e6,
        " MB",
        Target::AtMost(1.0),
        format!("the first left {} MB", mb(stays)),
    );
}
