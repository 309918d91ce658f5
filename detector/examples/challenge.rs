//! Streams a file of counts as a monitor does and writes the incidents it would report.
//!
//! `challenge FILE.csv OUT.csv [--all]`: reads `time,status,count` (times like `2025-07-12 13:45:00`,
//! or `14h 33` for a file of one day, taken as Monday 2001-01-01), writes
//! `series,opened_at,resolved_at,direction`. Only the directions a monitor alerts on by default:
//! `approved` low, `(total)` low and silent, all others high; with `--all` every incident.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs, process::ExitCode};

use detector::{Incident, Model};
use sample::calendar::{self, DAY};

mod monitor;

use monitor::Monitor;

const TOTAL: &str = "(total)";
/// Day number (from 1970-01-01) of Monday 2001-01-01.
const CLOCK_ONLY_DAY: i64 = 11_323;

/// Counts of one file, by minute (from 1970-01-01) and status.
struct File {
    minutes: BTreeMap<i64, BTreeMap<String, f64>>,
    clock_only: bool,
}

impl File {
    fn parse(text: &str) -> Result<File, String> {
        let mut file = File {
            minutes: BTreeMap::new(),
            clock_only: false,
        };
        for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
            let bad = || format!("cannot read {line:?}");
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let [time, status, count] = fields[..] else {
                return Err(bad());
            };
            let (minute, clock_only) = parse_minute(time).ok_or_else(bad)?;
            file.clock_only |= clock_only;
            let count: f64 = count.parse().map_err(|_| bad())?;
            *file
                .minutes
                .entry(minute)
                .or_default()
                .entry(status.to_owned())
                .or_default() += count;
        }
        Ok(file)
    }

    fn name(&self, minute: i64) -> String {
        if self.clock_only {
            let of_day = minute.rem_euclid(DAY);
            return format!("{:02}h {:02}", of_day / 60, of_day % 60);
        }
        calendar::format(minute)
    }
}

/// The minute, and whether the text had no date.
fn parse_minute(text: &str) -> Option<(i64, bool)> {
    if let Some((hour, minute)) = text.split_once("h ") {
        let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
        return Some((CLOCK_ONLY_DAY * DAY + hour * 60 + minute, true));
    }
    // Without the seconds.
    Some((calendar::parse(text.get(..16)?)?, false))
}

/// One incident to be reported.
struct Reported {
    series: String,
    opened: i64,
    resolved: Option<i64>,
    direction: i8,
}

/// Follows the incidents of one series.
#[derive(Default)]
struct Reporter {
    reported: Vec<Reported>,
    /// By series: the number of its incident that is reported and open, and its place.
    open: BTreeMap<String, usize>,
}

impl Reporter {
    fn watch(&mut self, name: &str, series: &Model, minute: i64, all: bool) {
        let Some(incident) = series.last_incident() else {
            return;
        };
        if let Some(&place) = self.open.get(name) {
            if !incident.is_open() {
                self.reported[place].resolved = Some(incident.resolved);
                self.open.remove(name);
            }
        } else if incident.is_open() && (all || alerts(name, incident)) {
            self.open.insert(name.to_owned(), self.reported.len());
            self.reported.push(Reported {
                series: name.to_owned(),
                opened: minute,
                resolved: None,
                direction: incident.direction,
            });
        }
    }
}

/// Whether an incident is one that alerts by default.
fn alerts(name: &str, incident: &Incident) -> bool {
    match name {
        TOTAL => incident.is_silence(),
        "approved" => incident.direction < 0,
        _ => incident.direction > 0,
    }
}

/// The fold of a monitor over all minutes of a file.
fn fold(file: &File, all: bool) -> Vec<Reported> {
    let mut reporter = Reporter::default();
    let mut monitor = Monitor::new();
    let (Some((&first, _)), Some((&last, _))) = (
        file.minutes.first_key_value(),
        file.minutes.last_key_value(),
    ) else {
        return Vec::new();
    };
    let nothing = BTreeMap::new();
    for minute in first..=last {
        let rows = file.minutes.get(&minute).unwrap_or(&nothing);
        let rows = rows
            .iter()
            .map(|(status, x)| (status.as_str(), *x))
            .collect();
        monitor.fold(minute, &rows, |status, state| {
            reporter.watch(status, state, minute, all);
        });
        reporter.watch(TOTAL, &monitor.ground.total, minute, all);
    }
    reporter.reported
}

fn run(input: &str, output: &str, all: bool) -> Result<(), String> {
    let text = fs::read_to_string(input).map_err(|error| format!("{input}: {error}"))?;
    let file = File::parse(&text).map_err(|error| format!("{input}: {error}"))?;
    let mut out = String::from("series,opened_at,resolved_at,direction\n");
    for incident in fold(&file, all) {
        let resolved = incident
            .resolved
            .map_or(String::new(), |minute| file.name(minute));
        let opened = file.name(incident.opened);
        let _ = writeln!(
            out,
            "{},{opened},{resolved},{}",
            incident.series, incident.direction
        );
    }
    fs::write(output, out).map_err(|error| format!("{output}: {error}"))
}

fn main() -> ExitCode {
    let (flags, files): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let [input, output] = &files[..] else {
        eprintln!("usage: challenge FILE.csv OUT.csv [--all]");
        return ExitCode::from(2);
    };
    match run(input, output, flags.iter().any(|flag| flag == "--all")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
