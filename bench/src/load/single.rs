//! Single-row INSERTs with pgbench.

use std::fs;
use std::path::{Path, PathBuf};

use postgres::Client;
use testbed::Cluster;

use crate::figures::{median, percentile, ratio, rounded, Report, Target};
use crate::rows::{Rows, STATUSES};
use crate::sides::{settle, Side};
use crate::Size;

/// What a round of pgbench gave.
struct Round {
    tps: f64,
    /// 99th percentile, milliseconds.
    p99: f64,
}

/// What is inserted.
#[derive(Clone, Copy)]
pub enum What {
    /// A count of now, into `transactions`, which has one a minute and status.
    Counts,
    /// The same, where it has fifty a minute and status: six payments a second.
    ManyCounts,
    /// An event of now, into a watched table.
    Events,
}

impl What {
    fn table(self) -> &'static str {
        match self {
            What::Counts | What::ManyCounts => "transactions",
            What::Events => "payments",
        }
    }

    /// Rows of a minute and status that are there already.
    fn rows_a_minute(self) -> usize {
        match self {
            What::Counts | What::Events => 1,
            What::ManyCounts => 50,
        }
    }

    fn third(self) -> &'static str {
        match self {
            What::Counts | What::ManyCounts => "count",
            What::Events => "amount",
        }
    }

    fn name(self) -> &'static str {
        match self {
            What::Counts | What::ManyCounts => "counts",
            What::Events => "events",
        }
    }

    /// One script a status: all a client does is its INSERT.
    fn scripts(self, directory: &Path) -> Vec<PathBuf> {
        let (table, third) = (self.table(), self.third());
        STATUSES
            .iter()
            .map(|status| {
                let path = directory.join(format!("{table}-{status}.sql"));
                let sql = format!(
                    "INSERT INTO {table} (time, status, {third}) VALUES (now(), '{status}', 1);\n"
                );
                fs::write(&path, sql).expect("the scripts can be written");
                path
            })
            .collect()
    }
}

/// One round of pgbench in the database of a side.
fn round(cluster: &Cluster, side: Side, what: What, clients: usize, length: &str) -> Round {
    let directory = tempfile::tempdir().expect("a directory for pgbench");
    let mut command = cluster.tool("pgbench");
    command.current_dir(directory.path());
    command.args(["--no-vacuum", "--protocol=prepared", "--log", "--jobs=2"]);
    command.arg(format!("--client={clients}"));
    command.arg(length);
    for script in what.scripts(directory.path()) {
        command.arg("--file").arg(script);
    }
    let output = command
        .arg(side.database())
        .output()
        .expect("pgbench can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let tps = text
        .lines()
        .find_map(|l| {
            l.strip_prefix("tps = ")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or_else(|| {
            panic!(
                "pgbench says no tps: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
    let mut latencies = Vec::new();
    for entry in fs::read_dir(directory.path()).expect("pgbench's directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("pgbench_log") {
            let log = fs::read_to_string(&path).expect("pgbench's log");
            // client, transaction, time in microseconds, …
            let times = log
                .lines()
                .filter_map(|l| l.split(' ').nth(2)?.parse().ok());
            latencies.extend(times.map(|us: f64| us / 1e3));
        }
    }
    Round {
        tps,
        p99: percentile(&latencies, 0.99),
    }
}

/// Fills an hour of minutes, which is what there is for a trigger to look at, and empties what was before.
fn prepare(client: &mut Client, side: Side, what: What) {
    let hour = Rows::of(60 * 7, 7).query();
    let (table, third) = (what.table(), what.third());
    let sql = format!(
        "TRUNCATE {table}; INSERT INTO {table} (time, status, {third}) \
         SELECT h.time, h.status, h.count FROM ({hour}) h, generate_series(1, {}) ORDER BY h.time",
        what.rows_a_minute()
    );
    client.batch_execute(&sql).expect("an hour is filled");
    if side == Side::Ours {
        settle(client);
    }
}

/// Connections of each side, in the order of `Side::ALL`.
pub type Sides = Vec<(Side, Client)>;

/// Rounds of some sides in turns.
fn rounds(
    cluster: &Cluster,
    sides: &mut Sides,
    among: &[Side],
    what: What,
    clients: usize,
    size: &Size,
) -> Vec<Vec<Round>> {
    let mut all: Vec<Vec<Round>> = among.iter().map(|_| Vec::new()).collect();
    for n in 0..size.single_rounds {
        for turn in 0..among.len() {
            let i = (turn + n) % among.len();
            let side = among[i];
            let (_, client) = sides
                .iter_mut()
                .find(|(s, _)| *s == side)
                .expect("each side is there");
            prepare(client, side, what);
            all[i].push(round(cluster, side, what, clients, size.single_length));
        }
    }
    all
}

fn tps(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().map(|r| r.tps).collect()
}

fn p99(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().map(|r| r.p99).collect()
}

/// Ours beside no trigger, counts and events. Gives which share of the tps of counts is kept, by number of clients.
pub fn pairs(cluster: &Cluster, sides: &mut Sides, size: &Size, report: &mut Report) -> Vec<f64> {
    let mut by_clients = Vec::new();
    for clients in size.clients {
        for what in [What::Counts, What::Events] {
            let pair = [Side::Plain, Side::Ours];
            let all = rounds(cluster, sides, &pair, what, clients, size);
            let (plain, ours) = (&all[0], &all[1]);
            let kept = ratio(&tps(ours), &tps(plain));
            if matches!(what, What::Counts) {
                by_clients.push(kept);
            }
            report.figure(
                &format!(
                    "single-row INSERT of {}, {clients} clients: tps",
                    what.name()
                ),
                kept,
                "×",
                Target::AtLeast(0.92),
                format!(
                    "{} against {} a second; {} pairs, {}",
                    rounded(median(&tps(ours))),
                    rounded(median(&tps(plain))),
                    size.single_rounds,
                    size.single_length
                ),
            );
            report.figure(
                &format!(
                    "single-row INSERT of {}, {clients} clients: p99",
                    what.name()
                ),
                ratio(&p99(ours), &p99(plain)),
                "×",
                Target::AtMost(1.2),
                format!(
                    "{} against {} ms",
                    rounded(median(&p99(ours))),
                    rounded(median(&p99(plain)))
                ),
            );
        }
    }
    by_clients
}

/// All single-row measures.
pub fn compare(cluster: &Cluster, sides: &mut Sides, size: &Size, report: &mut Report) {
    let by_clients = pairs(cluster, sides, size, report);
    let [few, many] = by_clients[..] else {
        unreachable!("two numbers of clients were measured")
    };
    report.figure(
        "cost growth with connections: tps kept with many / with few",
        many / few,
        "×",
        Target::AtLeast(0.95),
        format!("{} and {} of the tps kept", rounded(few), rounded(many)),
    );
    for clients in size.clients {
        let all = rounds(cluster, sides, &Side::ALL, What::Counts, clients, size);
        let [plain, ours, plpgsql, notify] = &all[..] else {
            unreachable!("all sides were measured")
        };
        report.figure(
            &format!("single-row INSERT, {clients} clients: tps / the plpgsql trigger"),
            ratio(&tps(ours), &tps(plpgsql)),
            "×",
            Target::AtLeast(7.0),
            format!(
                "{} against {} a second; without trigger {}; the hour it reads holds 420 rows and those of the round",
                rounded(median(&tps(ours))),
                rounded(median(&tps(plpgsql))),
                rounded(median(&tps(plain)))
            ),
        );
        let pair = [Side::Ours, Side::Plpgsql];
        let busy = rounds(cluster, sides, &pair, What::ManyCounts, clients, size);
        report.figure(
            &format!(
                "single-row INSERT, {clients} clients: tps / the plpgsql trigger, a busier table"
            ),
            ratio(&tps(&busy[0]), &tps(&busy[1])),
            "×",
            Target::AtLeast(7.0),
            format!(
                "{} against {} a second; the hour it reads holds 21000 rows and those of the round",
                rounded(median(&tps(&busy[0]))),
                rounded(median(&tps(&busy[1])))
            ),
        );
        report.figure(
            &format!("single-row INSERT, {clients} clients: tps / NOTIFY on every row"),
            ratio(&tps(ours), &tps(notify)),
            "×",
            Target::None,
            format!(
                "{} against {} a second",
                rounded(median(&tps(ours))),
                rounded(median(&tps(notify)))
            ),
        );
    }
}
