//! `make demo`: a server with the extension, a day of transactions with incidents in it, and what a listening
//! client hears of them.

mod announce;
mod clock;
mod day;
mod found;
mod table;
mod verdict;

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use testbed::{Cluster, Kept, Listener, Options};

use crate::day::Day;
use crate::found::Found;
use crate::verdict::Verdict;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: demo run [--keep] | psql | stop";
const DATABASE: &str = "postgres";
const CHANNEL: &str = "cloudwalk_alerts";

/// How long the incidents may take to be found once the day is in the table.
const PATIENCE: Duration = Duration::from_secs(90);
/// No notification for so long: all has been said.
const QUIET: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        [] | ["run"] => run(false),
        ["run", "--keep"] => run(true),
        ["psql"] => psql(),
        ["stop"] => stop(),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Where a kept server is written down.
fn kept_path() -> PathBuf {
    testbed::target_directory().join("demo-server")
}

fn kept() -> Outcome<Option<Kept>> {
    Ok(Kept::load(&kept_path())?.filter(Kept::is_running))
}

fn run(keep: bool) -> Outcome<ExitCode> {
    if kept()?.is_some() {
        return Err(
            "a demo is still running: \"make psql\" looks into it, \"make demo-stop\" ends it"
                .into(),
        );
    }
    println!("Starting a server of our own ...");
    let cluster = Cluster::launch(Options {
        settings: &[],
        detached: keep,
    })?;
    let mut client = cluster.try_connect_as("postgres", DATABASE)?;
    client.batch_execute("CREATE EXTENSION cloudwalk_monitor")?;

    let ear = cluster.try_connect_as("postgres", DATABASE)?;
    let listener = Listener::with_callback(ear, CHANNEL, |notice| {
        println!("{}", announce::line(&notice.payload));
    })?;

    let day = Day::ending(clock::this_minute());
    println!(
        "Loading {} days of history and a day in which {} incidents were hidden ...",
        day.history_days(),
        day.incidents()
    );
    let started = Instant::now();
    let rows = day.load(&mut client)?;
    println!(
        "{rows} rows loaded and judged in {:.1} s.\n",
        started.elapsed().as_secs_f64()
    );
    println!("What the client hears, listening on {CHANNEL}:");

    let nothing_missing = |found| Verdict::new(day.labels(), found).missed() == 0;
    let waited = testbed::poll_until(PATIENCE, || {
        let complete = Found::all(&mut client).map(nothing_missing);
        (!matches!(complete, Ok(false))).then_some(complete)
    });
    // Out of patience is no error: the comparison below says what is missing.
    waited.transpose()?;
    wait_for_quiet(&listener);

    let found = Found::all(&mut client)?;
    println!("\nThe incidents (SELECT * FROM incidents):");
    print!("{}", found::table(&found));
    let verdict = Verdict::new(day.labels(), found);
    println!("\nWhat was hidden in the day, and what was made of it:");
    print!("{verdict}");
    if verdict.missed() > 0 {
        println!("\nThe state of the monitor (TABLE monitor_health):");
        let health = cluster.sql(DATABASE, "\\x\nTABLE monitor_health;");
        println!("{}{}", health.stdout, health.stderr);
    }

    drop((client, listener));
    if keep {
        cluster.keep_running().save(&kept_path())?;
        println!("{LOOK_AROUND}");
    } else {
        println!(
            "\nThe server goes now. \"make demo KEEP=1\" leaves it running, to look around in it."
        );
    }
    Ok(if verdict.missed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

const LOOK_AROUND: &str = "
The server keeps running. No transaction arrives any more, so in a few minutes it will report the silence.
  make psql         look around in it, for example:
                      TABLE incidents;
                      SELECT * FROM detect_anomalies('1 day');
                      SELECT * FROM recommend_alert('denied', 60);
                      INSERT INTO transactions (status, count) VALUES ('denied', 60) RETURNING expected, score, verdict;
  make demo-stop    end it";

fn wait_for_quiet(listener: &Listener) {
    let mut heard = listener.heard().len();
    let mut since = Instant::now();
    testbed::poll_until(PATIENCE, || {
        let now = listener.heard().len();
        if now != heard {
            (heard, since) = (now, Instant::now());
        }
        (since.elapsed() >= QUIET).then_some(())
    });
}

/// Becomes psql.
fn psql() -> Outcome<ExitCode> {
    let kept = kept()?.ok_or("no demo is running; start one with \"make demo KEEP=1\"")?;
    Err(kept.tool("psql").arg(DATABASE).exec().into())
}

fn stop() -> Outcome<ExitCode> {
    match Kept::load(&kept_path())? {
        Some(kept) => {
            kept.stop()?;
            std::fs::remove_file(kept_path())?;
            println!("The demo's server is stopped, and its files are gone.");
        }
        None => println!("No demo is running."),
    }
    Ok(ExitCode::SUCCESS)
}
