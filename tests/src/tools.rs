//! The server's client programs: `psql`, `pg_dump` and the others, aimed at one cluster.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

/// What a program printed, and how it ended.
#[derive(Debug, Clone)]
pub struct ToolOutput {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl ToolOutput {
    /// The standard output of a program that succeeded; the test fails otherwise.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.code == 0,
            "exit code {}\n{}\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        self.stdout
    }
}

/// Runs `command` to its end with `input` on its standard input.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &str) -> ToolOutput {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut stdin = child.stdin.take();
    let input = input.to_owned();
    // On a thread of its own: a program that prints much before it has read all would wait for us.
    let feeder = thread::spawn(move || {
        if let Some(stdin) = stdin.as_mut() {
            // A program that ended early has closed the pipe; its exit code tells why.
            let _ = stdin.write_all(input.as_bytes());
        }
    });
    let output = child
        .wait_with_output()
        .unwrap_or_else(|error| panic!("cannot wait for {command:?}: {error}"));
    feeder.join().expect("the feeder only writes");
    ToolOutput {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
