//! The life of an incident, row by row: SQL files under `goldens/`, and beside each what psql prints of it.
//! `GOLDENS=write` writes what is printed instead of comparing it; read it before it is believed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use testbed::monitored::Monitored;
use testbed::Cluster;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens")
}

/// What psql prints of a file, its statements and errors included.
fn printed(cluster: &Cluster, database: &str, file: &Path) -> String {
    // Both of psql's outputs into one file: it flushes what it has printed before it reports an error.
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let handle = |_| out.as_file().try_clone().expect("a handle of the file");
    let ended = cluster
        .tool("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--echo-all",
            "--set=SHOW_CONTEXT=never",
            "--dbname",
            database,
        ])
        .arg("--file")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::from(handle(1)))
        .stderr(Stdio::from(handle(2)))
        .status()
        .expect("psql runs");
    assert!(ended.success(), "psql ended with {ended}");
    let text = std::fs::read_to_string(out.path()).expect("psql prints text");
    let place = format!("psql:{}:", file.display());
    text.lines()
        .map(|line| match line.strip_prefix(&place) {
            // Without the number of the line.
            Some(rest) => rest.split_once(": ").map_or(rest, |(_, message)| message),
            None => line,
        })
        .map(|line| line.trim_end().to_string() + "\n")
        .collect()
}

const NAMES: [&str; 8] = [
    "acknowledged",
    "by_hand",
    "reopened",
    "flapping",
    "silenced",
    "maintained",
    "grouped",
    "ruled",
];

/// Runs a golden in a database of its own; gives how it differs.
fn golden(cluster: &Cluster, name: &str) -> Option<String> {
    let database = format!("golden_{name}");
    cluster.create_database(&database);
    let mut m = Monitored::of(cluster, &database);
    m.run("CREATE EXTENSION cloudwalk_monitor");
    m.run(&format!(
        "ALTER DATABASE {} SET cloudwalk_monitor.alert_horizon = '100 years'",
        m.database
    ));
    m.run(&std::fs::read_to_string(directory().join("setup.sql")).expect("setup.sql"));
    m.run("CALL calm(0, 240)");
    m.run("CALL look()");
    let file = directory().join(format!("{name}.sql"));
    let text = printed(cluster, &m.database, &file);
    assert_eq!(
        m.number("SELECT count(*) FROM verify_models() WHERE NOT same"),
        0,
        "{name}: the models differ from a refold"
    );
    let expected = directory().join(format!("{name}.out"));
    if std::env::var("GOLDENS").is_ok_and(|v| v == "write") {
        std::fs::write(&expected, text).expect("the golden is written");
        return None;
    }
    let known = std::fs::read_to_string(&expected).unwrap_or_default();
    (known != text).then(|| {
        let same = |(a, b): (&str, &str)| a == b;
        let line = known.lines().zip(text.lines()).take_while(|l| same(*l));
        format!(
            "{name}: line {} differs; it is now\n{text}",
            line.count() + 1
        )
    })
}

/// Rounds are run by hand, so that each step has been seen when the next one comes.
#[test]
fn incidents_live_as_written() {
    let cluster = Cluster::start_with(&[("max_worker_processes", "0")]);
    let differing: Vec<String> = NAMES.iter().filter_map(|n| golden(&cluster, n)).collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_golden_is_run() {
    for entry in std::fs::read_dir(directory()).expect("the goldens are there") {
        let file = entry.expect("an entry").path();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        assert!(
            stem == "setup" || NAMES.contains(&stem.as_ref()),
            "{}",
            file.display()
        );
    }
}
