//! Compares what the monitor finds in recorded data with what people found in it. Called by `make check-data`
//! with the directory that holds `data/challenge` and `eval`. Nothing is skipped: what is missing fails.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use testbed::monitored::Monitored;
use testbed::{poll_until, Cluster};

/// One line per check, and the count in the end.
#[derive(Default)]
struct Checks {
    passed: usize,
    failed: usize,
}

impl Checks {
    fn check(&mut self, holds: bool, what: &str) {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
        if holds {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// A label of the challenge's data.
struct Label {
    status: String,
    start: String,
    end: String,
    kind: String,
    strong: bool,
}

/// What the scorer said.
struct Score {
    text: String,
}

impl Score {
    /// `high found 18 of 18`.
    fn found(&self, kind: &str) -> (u32, u32) {
        let line = self.text.lines().find(|l| l.starts_with(kind));
        let numbers: Vec<u32> = line
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|w| w.parse().ok())
            .collect();
        match numbers[..] {
            [found, of] => (found, of),
            _ => (0, u32::MAX),
        }
    }

    fn false_incidents(&self) -> Option<u32> {
        let line = self.text.lines().find(|l| l.starts_with("incidents"))?;
        line.split("false ")
            .nth(1)?
            .split(',')
            .next()?
            .trim()
            .parse()
            .ok()
    }

    fn median_delay(&self) -> Option<f64> {
        let line = self.text.lines().find(|l| l.starts_with("delay"))?;
        line.split("median ")
            .nth(1)?
            .split(',')
            .next()?
            .parse()
            .ok()
    }

    fn missed_strong(&self, kind_is_high: bool, labels: &[Label]) -> Vec<String> {
        let kind = if kind_is_high { "high" } else { "low" };
        self.text
            .lines()
            .filter(|l| l.starts_with("missed") && l.contains("[strong]"))
            .filter(|l| {
                labels
                    .iter()
                    .any(|x| x.kind == kind && l.contains(&x.status) && l.contains(&x.start))
            })
            .map(str::to_string)
            .collect()
    }
}

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: check_data DIR   (the directory with data/challenge and eval in it)");
        return ExitCode::FAILURE;
    };
    let data = dir.join("data/challenge");
    let scorer = dir.join("eval/score_incidents.py");
    for file in [
        data.join("transactions.csv"),
        data.join("transactions_1.csv"),
        data.join("labels.csv"),
        scorer.clone(),
    ] {
        if !file.is_file() {
            eprintln!("check_data: {} is missing", file.display());
            return ExitCode::FAILURE;
        }
    }
    let labels = read_labels(&data.join("labels.csv"));
    let cluster = Cluster::start();
    let mut checks = Checks::default();
    let score = |m: &mut Monitored, file: &str, clock: bool| {
        score_incidents(m, &scorer, &data.join("labels.csv"), file, clock)
    };

    by_copy(&cluster, &data, &labels, &mut checks, &score);
    horizon_of_the_server(&cluster, &data, &mut checks);
    one_by_one(&cluster, &data, &labels, &mut checks, &score);
    clock_times(&cluster, &data, &labels, &mut checks, &score);

    println!("\n{} passed, {} failed", checks.passed, checks.failed);
    if checks.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

type Scorer<'a> = dyn Fn(&mut Monitored, &str, bool) -> Score + 'a;

/// The whole file by one COPY, grouped by status as it is; the worker alone records.
fn by_copy(cluster: &Cluster, data: &Path, labels: &[Label], checks: &mut Checks, score: &Scorer) {
    let mut m = Monitored::create(cluster, "by_copy");
    let csv = std::fs::read(data.join("transactions.csv")).expect("transactions.csv can be read");
    let began = Instant::now();
    copy_in(&mut m, "transactions (time, status, count)", &csv);
    let rows = m.number("SELECT count(*) FROM transactions");
    checks.check(
        rows == 25_920,
        &format!("COPY: {rows} rows are in the table"),
    );
    let done = poll_until(Duration::from_secs(10), || {
        (m.number("SELECT count(*) FROM incidents WHERE state = 'resolved'") >= 28).then_some(())
    });
    checks.check(
        done.is_some(),
        &format!(
            "COPY: the worker has recorded the incidents after {:.1} s",
            began.elapsed().as_secs_f64()
        ),
    );
    m.quiesce();
    judge_transactions(&mut m, "COPY", checks, score);
    compare_models(&mut m, "COPY", checks);
    judge_groups(&mut m, "COPY", labels, checks);

    let before = m.number("SELECT count(*) FROM alerts");
    let call = "SELECT count(*), md5(string_agg(a::text, '|' ORDER BY a.series, a.time)) \
                FROM detect_anomalies('3 days', '2025-07-15 13:45+00') a";
    let first = m.rows(call);
    let second = m.rows(call);
    checks.check(
        first == second && first[0][0] != "0",
        &format!("detect_anomalies: the same {} buckets twice", first[0][0]),
    );
    let after = m.number("SELECT count(*) FROM alerts");
    checks.check(
        before == after,
        "detect_anomalies: records nothing that the worker has recorded",
    );
    let backtest = m.rows(
        "SELECT series, opened_at, direction FROM backtest_monitor('transactions', '2025-07-12', '2025-07-16') ORDER BY 2, 1",
    );
    let live = m.rows("SELECT series, opened_at, direction FROM incidents ORDER BY 2, 1");
    checks.check(
        backtest == live,
        &format!("backtest_monitor: the {} live incidents", live.len()),
    );
}

/// The same file where the horizon is set in `postgresql.conf` and not for the database: the same incidents.
fn horizon_of_the_server(cluster: &Cluster, data: &Path, checks: &mut Checks) {
    let configured = Cluster::start_with(&[("cloudwalk_monitor.alert_horizon", "100 years")]);
    let mut m = Monitored::create_with_default_horizon(&configured, "by_copy");
    let csv = std::fs::read(data.join("transactions.csv")).expect("transactions.csv can be read");
    copy_in(&mut m, "transactions (time, status, count)", &csv);
    m.quiesce();
    let recorded = m.rows(INCIDENTS);
    checks.check(
        recorded == incidents_by_copy(cluster),
        &format!(
            "postgresql.conf: the same {} incidents as with ALTER DATABASE",
            recorded.len()
        ),
    );
}

const INCIDENTS: &str =
    "SELECT series, opened_at, resolved_at, direction FROM incidents ORDER BY opened_at, series";

/// What `by_copy` left in its database.
fn incidents_by_copy(cluster: &Cluster) -> Vec<Vec<String>> {
    let mut m = Monitored {
        cluster,
        database: "by_copy".into(),
        client: cluster.connect_to("by_copy"),
    };
    m.rows(INCIDENTS)
}

/// The same rows by single INSERTs in order of time.
fn one_by_one(
    cluster: &Cluster,
    data: &Path,
    labels: &[Label],
    checks: &mut Checks,
    score: &Scorer,
) {
    let mut m = Monitored::create(cluster, "one_by_one");
    let text = std::fs::read_to_string(data.join("transactions.csv"))
        .expect("transactions.csv can be read");
    let mut rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|l| l.split(',').collect())
        .collect();
    rows.sort_by_key(|r| r[0]);
    let insert = m
        .client
        .prepare("INSERT INTO transactions (time, status, count) VALUES (($1::text || '+00')::timestamptz, $2, $3)")
        .expect("the insert can be prepared");
    let began = Instant::now();
    for r in &rows {
        let count: i32 = r[2].parse().expect("a count is a number");
        m.client
            .execute(&insert, &[&r[0], &r[1], &count])
            .expect("a row can be inserted");
    }
    println!(
        "       INSERT: {} rows in {:.1} s",
        rows.len(),
        began.elapsed().as_secs_f64()
    );
    m.quiesce();
    judge_transactions(&mut m, "INSERT", checks, score);
    compare_models(&mut m, "INSERT", checks);
    judge_groups(&mut m, "INSERT", labels, checks);

    let same = m.rows(INCIDENTS) == incidents_by_copy(cluster);
    checks.check(same, "INSERT: the same incidents as by COPY");

    for l in labels {
        let dated = l.start.starts_with("20");
        if !dated || !l.strong || !(l.kind == "high" || l.kind == "low") {
            continue;
        }
        let rows = m.rows(&format!(
            "SELECT count(*) FILTER (WHERE verdict >= 'warning'), count(*), \
                    count(*) FILTER (WHERE verdict >= 'warning' AND later), count(*) FILTER (WHERE later) \
               FROM (SELECT *, time >= '{0}+00'::timestamptz + interval '2 minutes' AS later FROM transactions) t \
              WHERE status = '{2}' AND time BETWEEN '{0}+00' AND '{1}+00'",
            l.start, l.end, l.status
        ));
        let n = |i: usize| rows[0][i].parse::<f64>().unwrap_or(0.0);
        let (warned, all, warned_later, later) = (n(0), n(1), n(2), n(3));
        let enough = warned >= 1.0 && (l.kind == "low" || warned_later >= 0.8 * later);
        checks.check(
            enough,
            &format!(
                "verdict: {} {} {}: {warned} of {all} rows are at least warning",
                l.kind, l.status, l.start
            ),
        );
    }
}

/// A day with times like `14h 33`, in which zeros are not written, loaded with plain SQL.
fn clock_times(
    cluster: &Cluster,
    data: &Path,
    labels: &[Label],
    checks: &mut Checks,
    score: &Scorer,
) {
    let mut m = Monitored::create(cluster, "clock_times");
    let csv =
        std::fs::read(data.join("transactions_1.csv")).expect("transactions_1.csv can be read");
    m.run("CREATE TABLE staging (clock text, status text, count integer)");
    copy_in(&mut m, "staging", &csv);
    m.run(
        "INSERT INTO transactions (time, status, count) \
         SELECT timestamptz '2025-07-14 00:00+00' \
                + make_interval(hours => left(clock, 2)::int, mins => right(clock, 2)::int), status, count \
           FROM staging ORDER BY 1",
    );
    m.quiesce();
    let s = score(&mut m, "transactions_1.csv", true);
    let missed = s.missed_strong(true, labels);
    checks.check(
        missed.is_empty(),
        &format!("14h 33: every strong high label is found {missed:?}"),
    );
    let (high, of) = s.found("high");
    checks.check(high >= 8, &format!("14h 33: high {high} of {of}"));
    let (low, of_low) = s.found("low");
    checks.check(low == of_low, &format!("14h 33: low {low} of {of_low}"));
    let (gap, of_gap) = s.found("gap");
    checks.check(gap == of_gap, &format!("14h 33: gap {gap} of {of_gap}"));
    checks.check(
        s.false_incidents() == Some(0),
        &format!("14h 33: false incidents {:?}", s.false_incidents()),
    );
    compare_models(&mut m, "14h 33", checks);
    judge_outage(&mut m, checks);
}

fn judge_transactions(m: &mut Monitored, how: &str, checks: &mut Checks, score: &Scorer) {
    let s = score(m, "transactions.csv", false);
    let (high, of) = s.found("high");
    checks.check(
        (high, of) == (18, 18),
        &format!("{how}: high {high} of {of}"),
    );
    let (low, of) = s.found("low");
    checks.check(low >= 10, &format!("{how}: low {low} of {of}"));
    checks.check(
        s.false_incidents() == Some(0),
        &format!("{how}: false incidents {:?}", s.false_incidents()),
    );
    checks.check(
        s.median_delay().is_some_and(|d| d <= 2.0),
        &format!("{how}: median delay {:?} min", s.median_delay()),
    );
}

/// What people labelled as one incident is one group, told of once when it opens and once when it ends.
fn judge_groups(m: &mut Monitored, how: &str, labels: &[Label], checks: &mut Checks) {
    show_groups(m);
    let mut labelled: Vec<(&str, &str)> = labels
        .iter()
        .filter(|l| l.start.starts_with("20") && l.kind != "normal")
        .map(|l| (l.start.as_str(), l.end.as_str()))
        .collect();
    labelled.sort_unstable();
    labelled.dedup();
    let groups = m.number("SELECT count(*) FROM incident_groups");
    checks.check(
        groups == labelled.len() as i64,
        &format!("{how}: {groups} groups for {} incidents", labelled.len()),
    );
    let alone = labelled
        .iter()
        .filter(|(start, end)| {
            m.number(&format!(
                "SELECT count(*) FROM incident_groups \
                  WHERE opened_at <= '{end}+00' AND resolved_at >= '{start}+00'"
            )) == 1
        })
        .count();
    checks.check(
        alone == labelled.len(),
        &format!(
            "{how}: {alone} of {} incidents are one group",
            labelled.len()
        ),
    );
    for notice in ["opened", "resolved"] {
        let rows = m.rows(&format!(
            "SELECT count(*), count(DISTINCT group_id) FROM alerts WHERE notice = '{notice}'"
        ));
        checks.check(
            rows[0] == [groups.to_string(), groups.to_string()],
            &format!("{how}: {} notices say {notice}, one a group", rows[0][0]),
        );
    }
    let rest = m.rows(
        "SELECT notice, count(*) FROM alerts WHERE notice NOT IN ('opened', 'resolved') GROUP BY 1 ORDER BY 1",
    );
    println!("       {how}: other notices {rest:?}");
    let worst_first = m.number(
        "SELECT count(*) FROM alerts WHERE notice IS NOT NULL AND octet_length(payload::text) < 8000 \
            AND (payload -> 'members' IS NULL OR payload #>> '{members,0,severity}' = payload ->> 'severity')",
    );
    let notices = m.number("SELECT count(*) FROM alerts WHERE notice IS NOT NULL");
    checks.check(
        worst_first == notices,
        &format!("{how}: {worst_first} of {notices} notices name the worst first"),
    );
    let live = m.rows(
        "SELECT i.series, i.opened_at, i.resolved_at, g.opened_at FROM incidents i JOIN incident_groups g ON g.id = i.group_id ORDER BY 2, 1",
    );
    let folded = m.rows(
        "SELECT series, opened_at, resolved_at, group_opened_at FROM backtest_monitor('transactions', '2025-07-12', '2025-07-16') ORDER BY 2, 1",
    );
    checks.check(
        live == folded,
        &format!(
            "{how}: backtest_monitor groups the {} incidents alike",
            live.len()
        ),
    );
}

/// The outage of the afternoon is one group, the silence in it included; the night's silence is another.
fn judge_outage(m: &mut Monitored, checks: &mut Checks) {
    show_groups(m);
    let outage = m.rows(
        "SELECT id, '(total) -' = ANY (series), cardinality(incidents) FROM incident_groups \
          WHERE opened_at <= '2025-07-14 18:33+00' AND coalesce(resolved_at, 'infinity') >= '2025-07-14 14:30+00'",
    );
    checks.check(
        outage.len() == 1,
        &format!("14h 33: the outage is {} group(s)", outage.len()),
    );
    checks.check(
        outage.iter().all(|g| g[1] == "t"),
        "14h 33: the silence of 18h 29 is in it",
    );
    let notices = m.number(&format!(
        "SELECT count(*) FROM alerts WHERE group_id = {} AND notice IS NOT NULL",
        outage.first().map_or("0", |g| g[0].as_str())
    ));
    checks.check(
        notices == 2,
        &format!("14h 33: the outage is told of {notices} times"),
    );
    for (from, to) in [("18:29", "18:33"), ("23:47", "23:52")] {
        let silences = m.number(&format!(
            "SELECT count(*) FROM incidents WHERE series = '(total)' AND opened_at <= '2025-07-14 {to}+00' \
                AND coalesce(resolved_at, 'infinity') >= '2025-07-14 {from}+00'"
        ));
        checks.check(
            silences == 1,
            &format!("14h 33: the silence of {from} is {silences} incident on (total)"),
        );
    }
    let night = m.number("SELECT count(*) FROM incidents WHERE opened_at < '2025-07-14 05:10+00'");
    checks.check(night == 0, "14h 33: the silent night is none");
}

fn show_groups(m: &mut Monitored) {
    for g in m.rows(
        "SELECT to_char(opened_at AT TIME ZONE 'UTC', 'DD HH24:MI'), to_char(resolved_at AT TIME ZONE 'UTC', 'DD HH24:MI'), \
                state, severity, array_to_string(series, ', '), \
                (SELECT string_agg(event, ' ' ORDER BY id) FROM alerts a WHERE a.group_id = g.id AND event <> 'progress') \
           FROM incident_groups g ORDER BY opened_at",
    ) {
        println!("       group {}", g.join(" | "));
    }
}

fn compare_models(m: &mut Monitored, how: &str, checks: &mut Checks) {
    let rows = m.rows("SELECT series FROM verify_models() WHERE NOT same");
    let all = m.number("SELECT count(*) FROM verify_models()");
    checks.check(
        rows.is_empty() && all > 1,
        &format!("{how}: the {all} models equal a refold, bit for bit {rows:?}"),
    );
}

fn copy_in(m: &mut Monitored, target: &str, csv: &[u8]) {
    use std::io::Write;
    let mut w = m
        .client
        .copy_in(&format!(
            "COPY {target} FROM STDIN WITH (FORMAT csv, HEADER)"
        ))
        .expect("COPY begins");
    w.write_all(csv).expect("the file is sent");
    w.finish().expect("COPY ends");
}

/// Exports the incidents and has the scorer compare them with the labels.
fn score_incidents(
    m: &mut Monitored,
    scorer: &Path,
    labels: &Path,
    file: &str,
    clock: bool,
) -> Score {
    let format = if clock {
        "HH24\"h \"MI"
    } else {
        "YYYY-MM-DD HH24:MI"
    };
    let rows = m.rows(&format!(
        "SELECT series, to_char(opened_at AT TIME ZONE 'UTC', '{format}'), \
                coalesce(to_char(resolved_at AT TIME ZONE 'UTC', '{format}'), ''), direction \
           FROM incidents WHERE state <> 'retracted' ORDER BY opened_at"
    ));
    let mut csv = String::from("series,opened_at,resolved_at,direction\n");
    for r in rows {
        csv.push_str(&r.join(","));
        csv.push('\n');
    }
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(out.path(), csv).expect("the incidents are written");
    let days = if clock { "1" } else { "3" };
    let run = Command::new("python3")
        .arg(scorer)
        .arg(labels)
        .arg(out.path())
        .args(["--file", file, "--days", days, "--verbose"])
        .output()
        .expect("python3 runs the scorer");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(
        run.status.success(),
        "the scorer failed: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    for line in text.lines() {
        println!("       {line}");
    }
    Score { text }
}

/// `file,status,start,end,kind,why`, where only `why` is quoted.
fn read_labels(path: &Path) -> Vec<Label> {
    let text = std::fs::read_to_string(path).expect("labels.csv can be read");
    text.lines()
        .skip(1)
        .filter_map(|l| {
            let f: Vec<&str> = l.splitn(6, ',').collect();
            (f.len() == 6 && f[0] == "transactions.csv"
                || f.len() == 6 && f[0] == "transactions_1.csv")
                .then(|| Label {
                    status: f[1].into(),
                    start: f[2].into(),
                    end: f[3].into(),
                    kind: f[4].into(),
                    strong: f[5].contains("[strong]"),
                })
        })
        .collect()
}
