//! `make demo`: a server with the extension that has learned four weeks, a day in which things go wrong, and what a
//! listening client hears of it.

mod announce;
mod clock;
mod day;
mod found;
mod replay;
mod table;
mod verdict;

use std::error::Error;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use postgres::Client;
use sample::IncidentKind;
use testbed::{Cluster, Kept, Listener, Options};

use crate::day::Day;
use crate::found::Found;
use crate::verdict::Verdict;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: demo run [--keep] [--now YYYY-MM-DDTHH:MM] [--seed N] [--sale HH:MM] | psql | stop

  --keep      leave the server running
  --now TIME  play as if it were that time (UTC): the day before it is replayed
  --seed N    other counts, of the same kind
  --sale TIME the sale begins at that time of the day (UTC)";
const DATABASE: &str = "postgres";
const CHANNEL: &str = "cloudwalk_alerts";

/// How long the server may take for what it does in a second.
const PATIENCE: Duration = Duration::from_secs(90);
/// No notification for so long: all has been said.
const QUIET: Duration = Duration::from_secs(1);
/// The minute of the storm whose answers are shown.
const ASKED: i64 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        [] => run(&Request::default()),
        ["run", options @ ..] => Request::read(options).and_then(|request| run(&request)),
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

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Request {
    keep: bool,
    /// The minute to take for the one that is under way.
    now: Option<i64>,
    seed: u64,
    /// The minute of the day at which the sale begins.
    sale: i64,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            keep: false,
            now: None,
            seed: day::SEED,
            sale: day::SALE,
        }
    }
}

impl Request {
    fn read(options: &[&str]) -> Outcome<Self> {
        let mut request = Request::default();
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match *option {
                "--keep" => request.keep = true,
                "--now" => {
                    let time = options.next().and_then(|t| sample::calendar::parse(t));
                    request.now = Some(time.ok_or(USAGE)?);
                }
                "--seed" => {
                    let seed = options.next().and_then(|n| n.parse().ok());
                    request.seed = seed.ok_or(USAGE)?;
                }
                "--sale" => {
                    let time = options
                        .next()
                        .and_then(|t| sample::calendar::parse(&format!("1970-01-01 {t}")));
                    request.sale = time.ok_or(USAGE)?;
                }
                _ => return Err(USAGE.into()),
            }
        }
        Ok(request)
    }
}

/// Where a kept server is written down.
fn kept_path() -> PathBuf {
    testbed::target_directory().join("demo-server")
}

fn kept() -> Outcome<Option<Kept>> {
    Ok(Kept::load(&kept_path())?.filter(Kept::is_running))
}

fn run(request: &Request) -> Outcome<ExitCode> {
    if kept()?.is_some() {
        return Err(
            "a demo is still running: \"make psql\" looks into it, \"make demo-stop\" ends it"
                .into(),
        );
    }
    let began = Instant::now();
    let now = request.now.unwrap_or_else(clock::this_minute);
    let day = Day::before(now, request.seed, request.sale);

    print!("A server of our own ");
    flush();
    let cluster = Cluster::launch(Options {
        settings: &[],
        detached: request.keep,
    })?;
    let mut client = connect(&cluster)?;
    // The day that is replayed pages somebody. What is older only teaches.
    let horizon = clock::this_minute() - day.minutes().start + 60;
    client.batch_execute(&format!(
        "ALTER DATABASE {DATABASE} SET cloudwalk_monitor.alert_horizon = '{horizon} minutes';
         CREATE EXTENSION cloudwalk_monitor"
    ))?;
    // A session has the settings that were made before it began.
    let mut client = connect(&cluster)?;
    println!(
        "with CREATE EXTENSION cloudwalk_monitor ({}).",
        seconds(began)
    );

    println!("\nFour weeks in which nothing goes wrong, to learn from:");
    teach(&mut client, &day)?;

    println!(
        "\nThen {}, at {} minutes a second, a transaction a minute. What a client hears\n\
         that LISTENs on {CHANNEL} stands between the hours (time zone: {}):\n",
        clock::date(day.minutes().start),
        replay::MINUTES_A_SECOND,
        clock::zone()
    );
    let listener = Listener::with_callback(connect(&cluster)?, CHANNEL, |notice| {
        println!("{}", announce::line(&notice.payload));
    })?;
    let storm = day.start_of(IncidentKind::DeclineStorm);
    let answers = replay::play(&mut client, &day, storm + ASKED)?;
    // The hours since then, so that what is inserted next comes in time.
    day.load(&mut client, day.since())?;
    let heard = wait_for_quiet(&mut client, &listener)?;

    println!("\nThe incidents (TABLE incidents):\n");
    let found = Found::all(&mut client)?;
    print!("{}", found::table(&found));

    println!("\nThe answer to the application, three minutes into the storm of declines:\n");
    print!("{}", replay::transcript(storm + ASKED, &answers));

    let until = sample::calendar::format(storm + 75);
    let call = format!("SELECT chart_series('denied', '2 hours', '{until}+00')");
    println!("\nThe storm in psql ({call}):\n");
    for row in client.query(&call, &[])? {
        println!("  {}", row.try_get::<_, String>(0)?);
    }

    println!("\nWhat was hidden in the day, and what was made of it:\n");
    let verdict = Verdict::new(day.labels(), day.calm(), found);
    print!("{verdict}");
    let recorded: i64 = client
        .query_one("SELECT count(*) FROM alerts_since(0, NULL)", &[])?
        .try_get(0)?;
    println!("  {heard} of {recorded} alerts were heard by the client that listened");
    let right = verdict.is_right() && heard as i64 == recorded;
    if !right {
        println!("\nThat is not right. The state of the monitor (TABLE monitor_health):");
        let health = cluster.sql(DATABASE, "\\x\nTABLE monitor_health;");
        println!("{}{}", health.stdout, health.stderr);
    }

    drop((client, listener));
    println!("\nThat took {}.", seconds(began));
    if request.keep {
        cluster.keep_running().save(&kept_path())?;
        print!("{}", look_around(&call));
    } else {
        println!(
            "The server goes now. \"make demo KEEP=1\" leaves it running, to look around in it."
        );
    }
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn connect(cluster: &Cluster) -> Result<Client, postgres::Error> {
    cluster.try_connect_as("postgres", DATABASE)
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

fn flush() {
    // Where nobody looks on, it does not matter.
    let _ = std::io::stdout().flush();
}

/// Loads the weeks before the day.
fn teach(client: &mut Client, day: &Day) -> Outcome<()> {
    for n in 0..day::WEEKS {
        let started = Instant::now();
        let week = day.week(n);
        print!("  {}  ", clock::date(week.start));
        flush();
        let rows = day.load(client, week)?;
        print!("{rows:>6} rows judged in {}", seconds(started));
        flush();
        let loaded = Instant::now();
        wait_for_models(client)?;
        println!(", learned after {} more", seconds(loaded));
    }
    Ok(())
}

/// Waits until the models account for all rows.
fn wait_for_models(client: &mut Client) -> Outcome<()> {
    const READY: &str = "SELECT status = 'ok', status FROM monitor_health";
    let mut status = String::new();
    let ready = testbed::poll_until(PATIENCE, || {
        let look = client.query_one(READY, &[]).and_then(|row| {
            status = row.try_get(1)?;
            row.try_get::<_, bool>(0)
        });
        match look {
            Ok(false) => None,
            other => Some(other),
        }
    });
    match ready.transpose()? {
        Some(_) => Ok(()),
        None => Err(format!("the monitor is not ready: {status}").into()),
    }
}

/// Waits until nothing more is to be said, and gives how many notifications there were.
fn wait_for_quiet(client: &mut Client, listener: &Listener) -> Outcome<usize> {
    wait_for_models(client)?;
    let mut heard = listener.heard().len();
    let mut since = Instant::now();
    testbed::poll_until(PATIENCE, || {
        let now = listener.heard().len();
        if now != heard {
            (heard, since) = (now, Instant::now());
        }
        (since.elapsed() >= QUIET).then_some(())
    });
    Ok(heard)
}

fn look_around(chart: &str) -> String {
    format!(
        "
The server keeps running. No transaction arrives any more, so in a few minutes it will report the silence.

  make psql         look around in it, for example:
                      INSERT INTO transactions (status, count) VALUES ('denied', 60) RETURNING expected, score, verdict;
                      TABLE incidents;
                      SELECT acknowledge_incident(id, 'on it') FROM incidents WHERE state = 'open';
                      \\pset tuples_only
                      {chart};
                      SELECT chart_series('approved', '36 hours') \\watch 5
                      SELECT * FROM recommend_alert('failed', 4);
  make demo-stop    end it
"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read() {
        let read = |line: &str| Request::read(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(read("").unwrap(), Request::default());
        let request = read("--keep --now 2026-02-27T15:00 --seed 7 --sale 20:00").unwrap();
        assert_eq!((request.keep, request.seed, request.sale), (true, 7, 1200));
        assert_eq!(request.now, sample::calendar::parse("2026-02-27 15:00"));
        for wrong in [
            "--now",
            "--now tomorrow",
            "--seed x",
            "--sale 25:00",
            "--fast",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
