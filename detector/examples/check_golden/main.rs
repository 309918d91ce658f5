//! Compares the detector with golden outputs of its prototypes, which are not part of the project.
//!
//! `check_golden DIRECTORY`: reads what is in `counts/` and `values/golden/` there, prints what
//! deviates, and fails if anything does or is missing.

use std::env;
use std::path::Path;
use std::process::ExitCode;

mod counts;
mod values;

fn main() -> ExitCode {
    let Some(directory) = env::args().nth(1) else {
        eprintln!("usage: check_golden DIRECTORY");
        return ExitCode::from(2);
    };
    let directory = Path::new(&directory);
    let of_counts = counts::check(&directory.join("counts"));
    let of_values = values::check(&directory.join("values/golden"));
    let (passed, failed) = (of_counts.0 + of_values.0, of_counts.1 + of_values.1);
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
