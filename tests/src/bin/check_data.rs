//! Compares what the monitor finds in recorded data with what people found in it. Called by `make check-data`.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("check_data: not written");
    ExitCode::FAILURE
}
