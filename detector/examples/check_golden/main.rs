//! Compares the detector with golden outputs of its prototypes, which are not part of the project.
//!
//! `check_golden DIRECTORY`: reads what is in `counts/` and `values/golden/` there, prints what
//! deviates, and fails if anything does or is missing.

use std::env;
use std::path::Path;
use std::process::ExitCode;

mod counts;
mod tally;
mod values;

fn main() -> ExitCode {
    let Some(directory) = env::args().nth(1) else {
        eprintln!("usage: check_golden DIRECTORY");
        return ExitCode::from(2);
    };
    let directory = Path::new(&directory);
    let of_counts = counts::check(&directory.join("counts"));
    let of_values = values::check(&directory.join("values/golden"));
    let tally = of_counts + of_values;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
