//! Streams labelled files through the detector and writes score files.
//!
//! The scorers read one file of scores per file of readings. Two layouts of directories are known;
//! see `layout.rs`. Nothing here knows labels, looks ahead, or treats one file unlike another.

mod layout;
mod perturb;
mod stream;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use detector::value::Tuning;
use detector::Family;

use layout::Layout;

const USAGE: &str = "\
usage: bench --layout nab|kpi --data DIR --out DIR [options]
       bench --constants

  --open T            governed surprise from which a reading is not normal (default: what ships)
  --perturb SEED      every constant times a number of its own between 0.8 and 1.2, drawn from SEED
  --scale NAME=F      one constant times F; may be repeated
  --constants         print the constants that ship";

/// What the command line asks for.
struct Request {
    layout: Layout,
    data: PathBuf,
    out: PathBuf,
    tuning: Tuning,
}

enum Command {
    Run(Box<Request>),
    Constants,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, Box<dyn Error>> {
    let (mut layout, mut data, mut out) = (None, None, None);
    let (mut open, mut seed, mut scales) = (None, None, Vec::new());
    let mut arguments = arguments;
    while let Some(option) = arguments.next() {
        if option == "--constants" {
            return Ok(Command::Constants);
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{option}: there is no value\n{USAGE}"))?;
        match option.as_str() {
            "--layout" => layout = Some(value.parse()?),
            "--data" => data = Some(PathBuf::from(value)),
            "--out" => out = Some(PathBuf::from(value)),
            "--open" => open = Some(value.parse::<f64>()?),
            "--perturb" => seed = Some(value.parse::<u64>()?),
            "--scale" => scales.push(value),
            _ => return Err(format!("{option} is not known\n{USAGE}").into()),
        }
    }
    let mut tuning = Tuning::SHIPPED;
    if let Some(seed) = seed {
        perturb::all(&mut tuning, seed);
    }
    for scale in scales {
        let (name, factor) = scale.split_once('=').ok_or("--scale: NAME=F")?;
        perturb::one(&mut tuning, name, factor.parse()?)?;
    }
    if let Some(open) = open {
        tuning.open = open;
    }
    Ok(Command::Run(Box::new(Request {
        layout: layout.ok_or(USAGE)?,
        data: data.ok_or(USAGE)?,
        out: out.ok_or(USAGE)?,
        tuning,
    })))
}

fn run(request: &Request) -> Result<(), Box<dyn Error>> {
    let root = request.layout.root(&request.data);
    let files = layout::files(&root)?;
    if files.is_empty() {
        return Err(format!("{}: there are no .csv files", root.display()).into());
    }
    let (mut readings, mut counts) = (0, 0);
    for path in &files {
        let rows = request.layout.read(path)?;
        readings += rows.len();
        let (scores, family) = stream::scores(&rows, request.layout, &request.tuning);
        counts += u32::from(family == Family::Counts);
        let target = request.out.join(path.strip_prefix(&root)?);
        layout::write(&target, &rows, &scores)?;
    }
    println!(
        "{} files, {readings} readings; {counts} of the files end as counts",
        files.len()
    );
    Ok(())
}

fn main() -> ExitCode {
    let outcome = match parse(std::env::args().skip(1)) {
        Ok(Command::Run(request)) => run(&request),
        Ok(Command::Constants) => {
            perturb::print(&Tuning::SHIPPED);
            Ok(())
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
