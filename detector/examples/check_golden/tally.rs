//! What comparing gave.

use std::ops::Add;

/// Deviations printed per file.
const SHOWN: u32 = 20;

/// How many comparisons passed and failed.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub passed: u32,
    pub failed: u32,
}

impl Tally {
    /// Counts a comparison; one that failed is told, unless many were.
    pub fn check(&mut self, ok: bool, what: impl FnOnce() -> String) {
        if ok {
            self.passed += 1;
            return;
        }
        self.failed += 1;
        if self.failed <= SHOWN {
            println!("{}", what());
        }
    }

    /// Of a file: its tally and the figures to be told of it, or why it could not be compared.
    pub fn of_file(file: &str, compared: Result<(Tally, String), String>) -> Tally {
        match compared {
            Ok((tally, figures)) => {
                println!("{file}: {figures}");
                tally
            }
            Err(message) => {
                println!("{message}");
                Tally {
                    passed: 0,
                    failed: 1,
                }
            }
        }
    }
}

impl Add for Tally {
    type Output = Tally;
    fn add(self, other: Tally) -> Tally {
        Tally {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
        }
    }
}
