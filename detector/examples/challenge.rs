//! Streams a file of counts as a monitor does and writes the incidents it would report.
//!
//! `challenge FILE.csv OUT.csv [--all]`: reads `time,status,count` (times like `2025-07-12 13:45:00`,
//! or `14h 33` for a file of one day, taken as Monday 2001-01-01), writes
//! `series,opened_at,resolved_at,direction`. Only the directions a monitor alerts on by default:
//! `approved` low, `(total)` low and silent, all others high; with `--all` every incident.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::{env, fs, process::ExitCode};

use detector::{Ground, Incident, Moment, Pace, Series};

const PACE: Pace = Pace { minutes: 1.0 };
const TOTAL: &str = "(total)";
/// Minutes of a day.
const DAY: i64 = 1440;
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
        let (day, of_day) = (minute.div_euclid(DAY), minute.rem_euclid(DAY));
        let (hour, minute) = (of_day / 60, of_day % 60);
        if self.clock_only {
            return format!("{hour:02}h {minute:02}");
        }
        let (year, month, day) = date_of(day);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }
}

/// The minute, and whether the text had no date.
fn parse_minute(text: &str) -> Option<(i64, bool)> {
    if let Some((hour, minute)) = text.split_once("h ") {
        let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
        return Some((CLOCK_ONLY_DAY * DAY + hour * 60 + minute, true));
    }
    let number = |range: Range<usize>| text.get(range)?.parse::<i64>().ok();
    let day = day_of(number(0..4)?, number(5..7)?, number(8..10)?);
    Some((day * DAY + number(11..13)? * 60 + number(14..16)?, false))
}

/// Day number of a date (H. Hinnant, "chrono-compatible low-level date algorithms").
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`day_of`].
fn date_of(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

fn moment(minute: i64) -> Moment {
    let day = minute.div_euclid(DAY);
    // 1970-01-01 was a Thursday.
    let weekend = (day + 3).rem_euclid(7) >= 5;
    Moment {
        bucket: minute,
        minute: minute.rem_euclid(DAY) as u16,
        weekend,
    }
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
    fn watch(&mut self, name: &str, series: &Series, minute: i64, all: bool) {
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
    let mut ground = Ground::new();
    let mut series: BTreeMap<String, Series> = BTreeMap::new();
    let (Some((&first, _)), Some((&last, _))) = (
        file.minutes.first_key_value(),
        file.minutes.last_key_value(),
    ) else {
        return Vec::new();
    };
    let nothing = BTreeMap::new();
    for minute in first..=last {
        let at = moment(minute);
        let rows = file.minutes.get(&minute).unwrap_or(&nothing);
        for status in rows.keys() {
            if !series.contains_key(status) {
                series.insert(status.clone(), ground.blank);
            }
        }
        let sealing = ground.seal(at, !rows.is_empty(), rows.values().sum(), PACE);
        for (status, state) in &mut series {
            let reading = rows.get(status).copied().or(sealing.counted.then_some(0.0));
            if let Some(x) = reading {
                state.step(x, at, PACE);
                reporter.watch(status, state, minute, all);
            }
        }
        ground.close(at, &sealing, PACE);
        if sealing.counted {
            ground.carry(series.values().map(Series::part).sum());
            for state in series.values_mut() {
                state.note_volume(&ground.volume);
            }
        }
        reporter.watch(TOTAL, &ground.total, minute, all);
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
