//! What stands behind an insert: restarts, reading functions, the Python way, and whether it makes inserts dearer.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use postgres::Client;
use testbed::Cluster;

use crate::figures::{median, rounded, Report, Target};
use crate::rows::{copy, Rows};
use crate::sides::{milliseconds, number, settle};
use crate::Size;

const DATABASE: &str = "history";

/// Reads the table of the last 30 days and scores it; prints the seconds each round takes.
const PYTHON: &str = include_str!("isolation_forest.py");

fn create(cluster: &Cluster, database: &str) -> Client {
    cluster.create_database(database);
    let mut client = cluster.connect_to(database);
    client
        .batch_execute("CREATE EXTENSION cloudwalk_monitor")
        .expect("the extension can be created");
    settle(&mut client);
    client
}

fn load(cluster: &Cluster, client: &mut Client, rows: &Rows, name: &str) -> usize {
    let (path, n) = rows.write(cluster, client, name);
    milliseconds(client, &copy("transactions", &path));
    std::fs::remove_file(path).expect("the file was written");
    settle(client);
    milliseconds(client, "VACUUM ANALYZE transactions");
    n
}

/// Seconds from the server's start until a row is judged again.
fn restart(cluster: &Cluster, database: &str, limit: Duration) -> Option<f64> {
    cluster.restart();
    let began = Instant::now();
    let mut client = cluster.connect_to(database);
    while began.elapsed() < limit {
        let verdict: String = client
            .query_one(
                "INSERT INTO transactions (status, count) SELECT status, count FROM transactions \
                 WHERE time = (SELECT max(time) FROM transactions WHERE time < now() - interval '1 minute') \
                 ORDER BY count DESC LIMIT 1 RETURNING verdict::text",
                &[],
            )
            .expect("inserted")
            .get(0);
        if verdict != "learning" {
            return Some(began.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Everything that is asked of a long history.
pub fn measure(cluster: &Cluster, python: Option<&Path>, size: &Size, report: &mut Report) {
    let mut client = create(cluster, DATABASE);
    let few = insert_cost(&mut client, size);
    let year = Rows::of(size.year_minutes * 7, 7);
    let rows = load(cluster, &mut client, &year, "year");
    let many = insert_cost(&mut client, size);
    report.figure(
        "cost growth with history: an INSERT with it / without",
        many / few,
        "×",
        Target::AtMost(1.1),
        format!(
            "{} µs a row with {rows} rows behind it, {} with none, 7 rows a statement",
            rounded(many),
            rounded(few)
        ),
    );
    drop(client);
    let limit = Duration::from_secs(300);
    let took: Vec<f64> = (0..size.restarts)
        .filter_map(|_| restart(cluster, DATABASE, limit))
        .collect();
    report.figure(
        "restart with a year of minutes, 7 series, until verdicts are back",
        median(&took),
        " s",
        Target::AtMost(1.0),
        format!("{rows} rows; {} restarts", took.len()),
    );

    let mut client = cluster.connect_to(DATABASE);
    settle(&mut client);
    let window = size.window;
    let sql = format!("SELECT count(*) FROM scored_series('{window}')");
    let buckets = number(
        &mut client,
        &format!("SELECT count(*) FROM scored_series('{window}')"),
    );
    let ours: Vec<f64> = (0..size.rounds)
        .map(|_| milliseconds(&mut client, &sql) / 1e3)
        .collect();
    report.figure(
        &format!("scored_series('{window}'), 7 series"),
        median(&ours),
        " s",
        Target::AtMost(1.0),
        format!("{buckets} buckets"),
    );
    python_way(cluster, python, median(&ours), size, report);

    let more = Rows {
        ago: year.minutes,
        ..Rows::of(size.table_rows.saturating_sub(rows), 7)
    };
    if more.minutes > 0 {
        load(cluster, &mut client, &more, "more");
    }
    let total = number(&mut client, "SELECT count(*) FROM transactions");
    let mut took = Vec::new();
    for _ in 0..20 {
        took.push(milliseconds(
            &mut client,
            "SELECT count(*) FROM detect_anomalies('1 hour')",
        ));
    }
    report.figure(
        "detect_anomalies('1 hour')",
        median(&took),
        " ms",
        Target::AtMost(20.0),
        format!("{total} rows in the table; the slowest of 20: {} ms", {
            rounded(took.iter().copied().fold(0.0, f64::max))
        }),
    );
    drop(client);
    cluster
        .connect()
        .batch_execute(&format!("DROP DATABASE {DATABASE} WITH (FORCE)"))
        .expect("dropped");
}

/// Microseconds of a row of now, in statements of seven.
fn insert_cost(client: &mut Client, size: &Size) -> f64 {
    let sql = format!(
        "INSERT INTO transactions (status, count) SELECT s, 5 FROM unnest('{{{}}}'::text[]) AS s",
        crate::rows::STATUSES.join(",")
    );
    let insert = client.prepare(&sql).expect("prepared");
    let mut took = Vec::new();
    for _ in 0..size.inserts {
        let began = Instant::now();
        client.execute(&insert, &[]).expect("inserted");
        took.push(began.elapsed().as_secs_f64() * 1e6 / 7.0);
    }
    median(&took)
}

fn python_way(
    cluster: &Cluster,
    python: Option<&Path>,
    ours: f64,
    size: &Size,
    report: &mut Report,
) {
    let what = "scored_series against the Python way";
    let Some(python) = python else {
        report.skipped(
            what,
            "no Python with psycopg, pandas and scikit-learn was given",
        );
        return;
    };
    let output = Command::new(python)
        .args(["-c", PYTHON])
        .arg(format!(
            "host={} port={} user=postgres dbname={DATABASE}",
            cluster.socket_dir().display(),
            cluster.port()
        ))
        .arg(size.window)
        .arg(size.rounds.min(3).to_string())
        .output()
        .expect("python can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let took: Vec<f64> = text.lines().filter_map(|l| l.parse().ok()).collect();
    if took.is_empty() {
        report.skipped(
            what,
            &String::from_utf8_lossy(&output.stderr).replace('\n', " "),
        );
        return;
    }
    report.figure(
        what,
        median(&took) / ours,
        "×",
        Target::AtLeast(10.0),
        format!(
            "{} s a round: psycopg, pandas, IsolationForest(n_estimators=100) fitted and asked anew",
            rounded(median(&took))
        ),
    );
}

/// A restart with very many series.
pub fn many_series(cluster: &Cluster, size: &Size, report: &mut Report) {
    let mut client = create(cluster, "crowd");
    let rows = Rows {
        series: size.crowd,
        minutes: size.crowd_minutes,
        ago: 0,
        every: 3,
    };
    let n = load(cluster, &mut client, &rows, "crowd");
    let series = number(&mut client, "SELECT series FROM monitor_health");
    drop(client);
    let what = "restart with very many series, until verdicts are back";
    match restart(cluster, "crowd", Duration::from_secs(300)) {
        Some(took) => report.figure(
            what,
            took,
            " s",
            Target::AtMost(60.0),
            format!(
                "{series} series, {n} rows in {} minutes",
                size.crowd_minutes
            ),
        ),
        None => report.skipped(what, "no verdict came back within 300 s"),
    }
}
