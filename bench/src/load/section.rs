//! The section of `bench/RESULTS.md` that a run writes. What is written by hand around it stays.

use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use crate::figures::Report;

fn begin(measure: &str) -> String {
    format!("<!-- bench-load: {measure} -->")
}
const END: &str = "<!-- end -->";

/// Puts the report of a measure between its marks in a file.
pub fn write(path: &Path, measure: &str, report: &Report) -> Result<(), String> {
    let text =
        fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let begin = begin(measure);
    let text = replaced(&text, &begin, &body(report))
        .ok_or_else(|| format!("{} has no place for it: {begin}", path.display()))?;
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn replaced(text: &str, begin: &str, body: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n\n{body}\n{END}{after}"))
}

fn body(report: &Report) -> String {
    format!(
        "At commit {}, on {}, fsync and synchronous_commit {}.\n\n{}",
        commit(),
        machine(),
        if report.is_durable() { "on" } else { "off" },
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
        "{cores} cores ({model}), {} GB, load {load} over the last quarter of an hour",
        kilobytes / 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_the_section_stays() {
        let (copy, growth) = (begin("copy"), begin("growth"));
        let text = format!("before\n{copy}\nold\n{END}\n{growth}\n{END}\nafter\n");
        let new = replaced(&text, &copy, "new\n").expect("both marks are there");
        assert_eq!(
            new,
            format!("before\n{copy}\n\nnew\n\n{END}\n{growth}\n{END}\nafter\n")
        );
        assert_eq!(replaced("no marks", &copy, "new"), None);
    }
}
