//! Prints sample data as CSV.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::str::FromStr;

use sample::{calendar, eventful_day, Incident, IncidentKind, Profile, Sale, Stream};

const USAGE: &str = "\
usage: sample [options]

Prints transactions per minute and status as CSV (time,status,count; UTC).
The last day has one incident of each kind, unless --calm or --incident is given.

  --seed N             the same seed gives the same rows (default 1)
  --start YYYY-MM-DD   the first day (default 2025-07-14)
  --days N             how many (default 1)
  --quiet              a small business: some minutes of the night have no row
  --local              customers of one time zone: 170 a minute in the afternoon, one at night
  --zeros              a row for every status and minute, also where the count is 0
  --calm               no incidents
  --incident KIND@TIME an incident from YYYY-MM-DDTHH:MM on; may be repeated
  --sale TIME          more of everything from then on: 2.5 times as much after 75 minutes, over after 150
  --labels             print the incidents (incident,status,direction,start,end) instead of the rows
";

/// What the command line asks for.
struct Request {
    stream: Stream,
    labels: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let request = match read(arguments) {
        Ok(request) => request,
        Err(message) => {
            eprintln!("sample: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match print(&request) {
        // Whoever reads us may have seen enough: sample | head.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("sample: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn read(arguments: Vec<String>) -> Result<Request, String> {
    let mut seed = 1;
    let mut start = "2025-07-14".to_owned();
    let mut days: u16 = 1;
    let mut profile = Profile::Busy;
    let (mut zeros, mut calm, mut labels) = (false, false, false);
    let mut incidents = Vec::new();
    let mut sales = Vec::new();

    let mut arguments = arguments.into_iter();
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--seed" => seed = number(&option, &value()?)?,
            "--start" => start = value()?,
            "--days" => days = number(&option, &value()?)?,
            "--quiet" => profile = Profile::Quiet,
            "--local" => profile = Profile::Local,
            "--zeros" => zeros = true,
            "--calm" => calm = true,
            "--labels" => labels = true,
            "--sale" => sales.push(Sale::new(time(&value()?)?)),
            "--incident" => incidents.push(incident(&value()?)?),
            _ => return Err(format!("there is no option {option}")),
        }
    }
    let start = time(&start)?;
    if incidents.is_empty() && !calm && days > 0 {
        incidents = eventful_day(start + (i64::from(days) - 1) * calendar::DAY);
    }
    let stream = Stream::new(seed)
        .start(start)
        .days(days.into())
        .profile(profile)
        .with_zeros(zeros)
        .incidents(incidents)
        .sales(sales);
    Ok(Request { stream, labels })
}

fn number<T: FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{option} does not take \"{text}\""))
}

fn time(text: &str) -> Result<i64, String> {
    calendar::parse(text).ok_or(format!(
        "\"{text}\" is no time like 2025-07-14 or 2025-07-14T17:09"
    ))
}

fn incident(text: &str) -> Result<Incident, String> {
    let (kind, start) = text.split_once('@').ok_or(format!(
        "\"{text}\" is no incident like silence@2025-07-14T12:00"
    ))?;
    Ok(Incident::new(IncidentKind::from_str(kind)?, time(start)?))
}

fn print(request: &Request) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if request.labels {
        writeln!(out, "incident,status,direction,start,end")?;
        for label in request.stream.labels() {
            writeln!(
                out,
                "{},{},{},{}:00+00,{}:00+00",
                label.incident,
                label.status,
                label.direction,
                calendar::format(label.start),
                calendar::format(label.end)
            )?;
        }
    } else {
        sample::write_csv(&request.stream, &mut out)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Result<Request, String> {
        read(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn the_last_day_is_eventful_unless_told_otherwise() {
        let labels = |line: &str| request(line).unwrap().stream.labels();
        let second_day = calendar::parse("2025-07-15").unwrap();
        let two_days = labels("--days 2");
        assert_eq!(two_days.len(), 6);
        assert!(two_days.iter().all(|label| label.start >= second_day));
        assert_eq!(labels("--calm").len(), 0);
        let one = labels("--incident silence@2025-07-14T03:00");
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].start, second_day - 21 * 60);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("--seed", "--seed needs a value"),
            ("--seed x", "--seed does not take \"x\""),
            ("--start yesterday", "\"yesterday\" is no time"),
            ("--incident silence", "is no incident like"),
            (
                "--incident storm@2025-07-14",
                "there is no incident \"storm\"",
            ),
            ("--days -1", "--days does not take"),
            ("-x", "there is no option -x"),
        ] {
            let message = request(line).err().unwrap_or_default();
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
