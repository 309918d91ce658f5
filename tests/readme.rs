//! Every ```sql block of README.md is run by psql, in order, and what psql prints is compared with the
//! ```text block that follows it.
//!
//! - Each block has a psql of its own, so what is to last has to be in the database (`ALTER DATABASE … SET`).
//!   Before each one the monitor has come to rest, as it has when a person types.
//! - A `text` block belongs to the `sql` block before it when nothing but blank lines is between them. Without
//!   one, a block may print what it likes. An error fails the test unless the text shows it.
//! - `<!-- database: NAME -->` says where the blocks after it run; a database is made when first named.
//!   `NAME@publisher` is on a second server, which stands in for `host=db.example`.
//! - `<!-- await -->`: the next block is run until it prints what is shown.
//! - A `\watch` is run once.
//!
//! What is compared: words, whatever the spaces, blank lines and the length of rulers. Process ids, and the numbers of alerts
//! and incidents (in columns of the names in `NUMBERED`, and in payloads), count as equal. A notification may come
//! before or after what else a block prints.
//!
//! `README_ACCEPT=1 cargo test -p testbed --test readme` writes what was printed into README.md instead.

use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use testbed::{poll_until, Cluster, Monitored};

/// Columns that hold the number of an alert or an incident.
const NUMBERED: [&str; 4] = ["id", "alert", "incident", "acknowledge_incident"];
/// How long an awaited block may take.
const PATIENCE: Duration = Duration::from_secs(30);
const ELSEWHERE: &str = "publisher";
const ELSEWHERE_HOST: &str = "host=db.example";

/// A block of SQL, and where its output stands.
struct Block {
    /// Line of README.md, from 1.
    line: usize,
    database: String,
    sql: String,
    awaited: bool,
    shown: Option<Shown>,
}

/// The inside of a text block, as a range of lines.
struct Shown {
    from: usize,
    to: usize,
    text: String,
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

/// What a comment of its own line says: `<!-- name: value -->`.
fn directive<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let inside = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    let value = inside.trim().strip_prefix(name)?;
    Some(value.trim_start_matches(':').trim())
}

fn blocks(lines: &[&str]) -> Vec<Block> {
    let end_of = |from: usize| {
        let fence = lines[from..].iter().position(|l| *l == "```");
        from + fence.unwrap_or_else(|| panic!("line {from}: the block does not end"))
    };
    let mut found: Vec<Block> = Vec::new();
    let mut database = String::from("postgres");
    let mut awaited = false;
    let mut after_sql = false;
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i];
        i += 1;
        if let Some(name) = directive(line, "database") {
            database = name.to_owned();
        } else if directive(line, "await").is_some() {
            awaited = true;
        } else if let Some(kind) = line.strip_prefix("```") {
            let end = end_of(i);
            let inside = lines[i..end].join("\n");
            match (kind, found.last_mut()) {
                ("sql", _) => found.push(Block {
                    line: i,
                    database: database.clone(),
                    sql: inside,
                    awaited: std::mem::take(&mut awaited),
                    shown: None,
                }),
                ("text", Some(block)) if after_sql => {
                    block.shown = Some(Shown {
                        from: i,
                        to: end,
                        text: inside,
                    });
                }
                _ => {}
            }
            after_sql = kind == "sql";
            i = end + 1;
        } else if !line.trim().is_empty() {
            after_sql = false;
        }
    }
    found
}

/// The text without what may differ from run to run.
fn normal(text: &str) -> String {
    let is_notification = |l: &&str| l.starts_with("Asynchronous notification");
    let (heard, lines): (Vec<&str>, Vec<&str>) = text.lines().partition(is_notification);
    let mut out = String::new();
    let mut numbered: Vec<bool> = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let is_ruler = |l: &str| l.contains("--") && l.chars().all(|c| "-+".contains(c));
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if lines.get(i + 1).is_some_and(|next| is_ruler(next)) {
            numbered = cells.iter().map(|c| NUMBERED.contains(c)).collect();
        } else if line.starts_with('(') || line.is_empty() {
            numbered.clear();
        }
        if is_ruler(line) || line.is_empty() {
            continue;
        }
        let masked: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(n, cell)| {
                let is_number = !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit());
                if is_number && numbered.get(n) == Some(&true) {
                    "#".to_owned()
                } else {
                    let words: Vec<&str> = cell.split_whitespace().collect();
                    words.join(" ")
                }
            })
            .collect();
        out.push_str(masked.join(" | ").trim_end());
        out.push('\n');
    }
    for line in heard {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    for mark in ["PID ", "\"alert\":", "\"incident\":"] {
        out = without_number(&out, mark);
    }
    out.trim_end().to_owned()
}

/// The digits after each `mark` become one sign.
fn without_number(text: &str, mark: &str) -> String {
    let mut parts = text.split(mark);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(mark);
        out.push('#');
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// Both servers, and a directory for files that the blocks write.
struct Stage {
    home: Cluster,
    publisher: Cluster,
    directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        Stage {
            home: Cluster::start(),
            publisher: Cluster::start_with(&[("wal_level", "logical")]),
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    fn place<'a>(&'a self, name: &'a str) -> (&'a Cluster, &'a str) {
        match name.split_once('@') {
            Some((database, ELSEWHERE)) => (&self.publisher, database),
            Some(_) => panic!("{name}: the other server is called {ELSEWHERE}"),
            None => (&self.home, name),
        }
    }

    /// Creates a database unless it is there.
    fn make(&self, name: &str) {
        let (cluster, database) = self.place(name);
        if cluster.try_connect_as("postgres", database).is_err() {
            cluster.create_database(database);
        }
    }

    /// Waits until the monitor of a database, if it has one, has nothing to do.
    fn settle(&self, name: &str) {
        let (cluster, database) = self.place(name);
        let mut client = cluster.connect_to(database);
        let schema = client
            .query_opt(
                "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e \
                   JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'cloudwalk_monitor'",
                &[],
            )
            .expect("the catalog can be read");
        let Some(schema) = schema.map(|row| row.get::<_, String>(0)) else {
            return;
        };
        let mut monitored = Monitored {
            cluster,
            database: database.to_owned(),
            client,
        };
        monitored.run(&format!("SET search_path = {schema}"));
        monitored.quiesce();
    }

    /// What psql prints of a block, notices and errors included.
    fn run(&self, block: &Block) -> String {
        let (cluster, database) = self.place(&block.database);
        let publisher = format!(
            "host={} port={} user=postgres",
            self.publisher.socket_dir().display(),
            self.publisher.port()
        );
        let script: String = block
            .sql
            .lines()
            .map(|line| {
                let once = line.split("\\watch").next().unwrap_or_default();
                let ending = if once.len() < line.len() { ";\n" } else { "\n" };
                once.replace(ELSEWHERE_HOST, &publisher) + ending
            })
            .collect();
        let file = self.directory.path().join("block.sql");
        fs::write(&file, script).expect("the block can be written");
        // Both of psql's outputs into one file: it flushes what it has printed before it reports an error.
        let printed = tempfile::tempfile().expect("a temporary file");
        let out = printed.try_clone().expect("a file can be shared");
        let err = printed.try_clone().expect("a file can be shared");
        cluster
            .tool("psql")
            .args(["--no-psqlrc", "--dbname", database, "--file"])
            .arg(&file)
            .current_dir(self.directory.path())
            .stdout(out)
            .stderr(err)
            .status()
            .expect("psql runs");
        let mut text = String::new();
        let mut printed = printed;
        printed.rewind().expect("a file can be read again");
        printed.read_to_string(&mut text).expect("psql prints text");
        let place = format!("psql:{}:", file.display());
        let lines: Vec<&str> = text
            .lines()
            .map(|line| match line.strip_prefix(&place) {
                Some(rest) => rest.split_once(": ").map_or(rest, |(_, message)| message),
                None => line,
            })
            .map(str::trim_end)
            .collect();
        lines.join("\n").trim_end().to_owned()
    }
}

#[test]
fn blocks_print_what_is_shown() {
    let path = readme();
    let text = fs::read_to_string(&path).expect("README.md");
    let lines: Vec<&str> = text.lines().collect();
    let accept = std::env::var_os("README_ACCEPT").is_some();
    let found = blocks(&lines);
    assert!(found.len() > 10, "only {} blocks in README.md", found.len());

    let stage = Stage::new();
    let mut wrong = String::new();
    let mut printed: Vec<(usize, usize, String)> = Vec::new();
    for block in &found {
        stage.make(&block.database);
        stage.settle(&block.database);
        let shown = block.shown.as_ref();
        let right = |output: &str| shown.is_none_or(|s| normal(output) == normal(&s.text));
        let mut output = stage.run(block);
        if block.awaited && !right(&output) {
            poll_until(PATIENCE, || {
                output = stage.run(block);
                right(&output).then_some(())
            });
        }
        let fails = |text: &str| text.lines().any(|l| l.starts_with("ERROR:"));
        if fails(&output) && !shown.is_some_and(|s| fails(&s.text)) {
            wrong += &format!("README.md:{}: an error:\n{output}\n", block.line);
        } else if !right(&output) && !accept {
            let wanted = shown.map_or("", |s| &s.text);
            wrong += &format!(
                "README.md:{}: shown:\n{wanted}\nprinted:\n{output}\n",
                block.line
            );
        }
        if let Some(s) = shown {
            printed.push((s.from, s.to, output));
        }
    }
    if accept {
        let mut kept: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        for (from, to, output) in printed.into_iter().rev() {
            kept.splice(from..to, output.lines().map(str::to_owned));
        }
        fs::write(&path, kept.join("\n") + "\n").expect("README.md can be written");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_may_differ_is_not_compared() {
    let one =
        " id | event  | n\n----+--------+---\n  7 | opened | 5\n(1 row)\n\nPID 12.\n{\"alert\":7}";
    let two = " id  | event  | n\n-----+--------+---\n 123 | opened | 5\n(1 row)\n\nPID 345.\n{\"alert\":88}";
    assert_eq!(normal(one), normal(two));
    let heard = "Asynchronous notification \"a\"\n";
    let (early, late) = (format!("{heard}{one}"), format!("{one}\n\n{heard}"));
    assert_eq!(normal(&early), normal(&late));
    assert_ne!(normal(one), normal(&two.replace("| 5", "| 6")));
    assert_ne!(normal(one), normal(&two.replace("opened", "closed")));
}
