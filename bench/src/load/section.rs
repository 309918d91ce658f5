//! The section of `bench/RESULTS.md` that a run writes. What is written by hand around it stays.

use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use crate::figures::Report;

const BEGIN: &str = "<!-- make bench-load writes from here -->";
const END: &str = "<!-- to here -->";

/// Puts a report between the two marks of a file.
pub fn write(path: &Path, report: &Report) -> Result<(), String> {
    let text =
        fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let text = replaced(&text, &body(report))
        .ok_or_else(|| format!("{} has no place for it: {BEGIN}", path.display()))?;
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn replaced(text: &str, body: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{body}\n{END}{after}"))
}

fn body(report: &Report) -> String {
    format!(
        "At commit {}, on {}. Again: `make bench-load`.\n\n{}",
        commit(),
        machine(),
        report.table()
    )
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.trim().to_owned())
        .filter(|t| !t.is_empty())
}

fn commit() -> String {
    let commit =
        output("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    match output(
        "git",
        &["status", "--porcelain", "--", "src", "detector", "sql"],
    ) {
        Some(_) => format!("{commit} with changes"),
        None => commit,
    }
}

fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, |n| n.get());
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or("an unnamed processor", |(_, name)| name.trim());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: u64 = memory
        .lines()
        .find_map(|l| {
            l.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().nth(2).unwrap_or("?").to_owned();
    format!(
        "{cores} cores ({model}), {} GB, load {load} over the last quarter of an hour, fsync and synchronous_commit off",
        kilobytes / 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_the_section_stays() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&text, "new\n").expect("both marks are there");
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replaced("no marks", "new"), None);
    }
}
