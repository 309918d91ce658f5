//! The listeners of examples/, against a real server and a real receiver of their posts.
//! `make listeners` installs what they need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::monitored::{calm_sql, storms, Monitored, EPOCH, SOON};
use testbed::{eventually, target_directory, Choices, Cluster, Proxy, Receiver};

const LANGUAGES: [&str; 2] = ["python", "node"];
const ALERTMANAGER: &str = "/api/v2/alerts";

/// A listener's process, killed when this is dropped.
struct Program {
    child: Child,
    files: PathBuf,
}

impl Program {
    /// The program in a language, with a directory for its cursor and its log.
    fn command(language: &str, files: &Path) -> Command {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let installed = target_directory().join(format!("listener-{language}"));
        assert!(
            installed.join("ready").exists(),
            "what the listener in {language} needs is not installed: run \"make listeners\""
        );
        let mut command = match language {
            "python" => {
                let mut c = Command::new(installed.join("bin/python"));
                c.arg(examples.join("listener_python/listener.py"));
                c
            }
            _ => {
                let mut c = Command::new("node");
                c.arg(examples.join("listener_node/listener.js"))
                    .env("NODE_PATH", installed.join("node_modules"));
                c
            }
        };
        command
            .env("LISTENER_CURSOR", files.join("cursor"))
            .env("LISTENER_POLL", "5")
            .env("PGUSER", "postgres")
            .stdin(Stdio::null());
        command
    }

    fn start(mut command: Command, files: &Path) -> Program {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(files.join("log"))
            .expect("a log can be written");
        let child = command.stderr(log).spawn();
        Program {
            child: child.expect("the listener can be started"),
            files: files.into(),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.files.join("log")).unwrap_or_default()
    }

    /// Waits until it has begun to listen so many times.
    fn listens(&self, times: usize) {
        eventually(SOON, || {
            (self.log().matches("listening").count() >= times).then_some(())
        });
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the listener's log:\n{}", self.log());
        }
    }
}

fn to_socket(command: &mut Command, m: &Monitored) {
    command
        .env("PGHOST", m.cluster.socket_dir())
        .env("PGPORT", m.cluster.port().to_string())
        .env("PGDATABASE", &m.database);
}

/// What a Slack message says.
fn text(message: &str) -> String {
    let message: Value = serde_json::from_str(message).expect("a message is JSON");
    message["text"].as_str().expect("with a text").to_owned()
}

/// The number of the alert that it is about.
fn number(message: &str) -> i64 {
    let text = text(message);
    let (_, after) = text
        .rsplit_once("alert ")
        .expect("that ends with the alert");
    after.split(',').next().unwrap().parse().expect("a number")
}

/// What Alertmanager would show: the last it was told of each alert, by name and severity.
fn firing(posts: &[String]) -> BTreeMap<String, Value> {
    let mut told = BTreeMap::new();
    for post in posts {
        let alerts: Vec<Value> = serde_json::from_str(post).expect("a list");
        for a in alerts {
            let l = &a["labels"];
            let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
            let name = [&l["alertname"], &l["series"], &l["severity"]]
                .map(text)
                .join(" ");
            told.insert(name, a);
        }
    }
    told
}

#[test]
fn alerts_reach_the_webhook_and_alertmanager() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.heartbeat_interval", "300ms")]);
    for language in LANGUAGES {
        let files = tempfile::tempdir().unwrap();
        let mut m = Monitored::create(&cluster, &format!("told_{language}"));
        // With characters that Slack and JSON take for their own.
        let odd = "de&ni<e>d \"ü\"";
        m.run(&calm_sql(EPOCH, 0, 240));
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) SELECT timestamptz '{EPOCH}' + make_interval(mins => m), '{odd}', 5 + m % 3 \
               FROM generate_series(0, 239) m"
        ));
        m.run(&storms(240, 1));
        m.until("SELECT count(*) FROM alerts_since()", "2");
        let receiver = Receiver::start();
        let mut command = Program::command(language, files.path());
        to_socket(&mut command, &m);
        command
            .env("SLACK_WEBHOOK_URL", receiver.url("/slack"))
            .env("ALERTMANAGER_URL", receiver.url(""));
        let program = Program::start(command, files.path());
        program.listens(1);
        // Without a cursor it begins with what comes from now on.
        eventually(SOON, || {
            std::fs::read_to_string(files.path().join("cursor")).ok()
        });

        m.run(&storms(265, 1).replace("'denied'", &format!("'{odd}'")));
        let slack = |n: usize| {
            eventually(SOON, || {
                let taken = receiver.taken("/slack");
                (taken.len() >= n).then_some(taken)
            })
        };
        let messages = slack(2);
        assert!(
            messages[0].contains("de&amp;ni&lt;e&gt;d"),
            "{}",
            messages[0]
        );
        assert_eq!(
            messages.iter().map(|x| number(x)).collect::<Vec<_>>(),
            [3, 4]
        );
        let ended = |told: &BTreeMap<String, Value>, name: &str| -> bool {
            let ends: String = told[name]["endsAt"].as_str().unwrap().into();
            ends < now()
        };
        eventually(SOON, || {
            let told = firing(&receiver.taken(ALERTMANAGER));
            let name = format!("TransactionAnomaly {odd} critical");
            (told.contains_key(&name) && ended(&told, &name)).then_some(())
        });
        eventually(SOON, || {
            let told = firing(&receiver.taken(ALERTMANAGER));
            (told.contains_key("MonitorAlive  ") && !told.contains_key("MonitorUnwell  "))
                .then_some(())
        });

        // One that stays open fires, and is told again; an acknowledgement is a message.
        m.run(&storms(290, 1).replace(
            "make_interval(mins => m)",
            "make_interval(mins => least(m, 294))",
        ));
        slack(3);
        m.run("SELECT acknowledge_incident(id, 'mine') FROM incidents WHERE state = 'open'");
        assert!(slack(4)[3].contains("acknowledged by postgres: mine"));
        let told = eventually(SOON, || {
            let told = firing(&receiver.taken(ALERTMANAGER));
            told.contains_key("TransactionAnomaly denied critical")
                .then_some(told)
        });
        assert!(
            !ended(&told, "TransactionAnomaly denied critical"),
            "{told:#?}"
        );

        // What is refused for good is given up, what fails for now is sent again. The heartbeats go to the same
        // receiver, so that all is answered alike until the message was.
        let posted = || {
            receiver
                .posts()
                .iter()
                .filter(|p| p.path == "/slack")
                .count()
        };
        for (status, note) in [(400, "refused"), (500, "failed")] {
            let before = posted();
            receiver.answer(&[status; 200]);
            m.run(&format!(
                "SELECT acknowledge_incident(id, '{note}') FROM incidents WHERE state = 'acknowledged'"
            ));
            eventually(SOON, || (posted() > before).then_some(()));
            receiver.answer(&[]);
            let last = m.text("SELECT max(id) FROM alerts_since()");
            eventually(SOON, || {
                let cursor = std::fs::read_to_string(files.path().join("cursor")).ok()?;
                (cursor == last).then_some(())
            });
        }
        m.run(
            "UPDATE transactions SET count = 5 WHERE count = 60 AND time >= '2025-07-14 12:50+00'",
        );
        let messages = slack(6);
        let events: Vec<String> = messages
            .iter()
            .map(|x| text(x).split(' ').nth(1).unwrap().to_owned())
            .collect();
        assert_eq!(
            events,
            [
                "opened",
                "resolved",
                "opened",
                "acknowledged",
                "acknowledged",
                "retracted"
            ]
        );
        assert!(
            messages[4].contains("acknowledged by postgres: failed"),
            "{messages:#?}"
        );
        drop(program);
        m.assert_models();
    }
}

fn now() -> String {
    // As RFC 3339 in UTC, which sorts as text.
    let output = Command::new("date")
        .args(["--utc", "+%Y-%m-%dT%H:%M:%S.%N"])
        .output()
        .expect("date can be run");
    String::from_utf8(output.stdout).expect("ASCII")
}

/// 1,000 alerts. The listeners are killed, and their sessions ended, at random: each alert is passed on, and again only
/// where the listener was killed between the post and the cursor. A reader that keeps its cursor in the database, in one
/// transaction with what it does, deals with each exactly once.
#[test]
fn a_thousand_alerts_and_a_listener_that_is_killed() {
    let mut choices = Choices::of_environment(7);
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "thousand");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(
        "CREATE TABLE handled (alert bigint, by integer); CREATE TABLE reached (last bigint); \
         INSERT INTO reached VALUES (0)",
    );
    // A fixed limit: five hundred storms in a row become a habit of the series, which is no news any more.
    m.run("SELECT set_rule('transactions', 'denied', critical_above => 50)");
    m.quiesce();
    let programs: Vec<_> = LANGUAGES
        .map(|language| {
            let files = tempfile::tempdir().unwrap();
            std::fs::write(files.path().join("cursor"), "0").unwrap();
            (language, files, Receiver::start())
        })
        .into_iter()
        .collect();
    let start = |n: usize, m: &Monitored| {
        let (language, files, receiver) = &programs[n];
        let mut command = Program::command(language, files.path());
        to_socket(&mut command, m);
        command.env("SLACK_WEBHOOK_URL", receiver.url("/slack"));
        Program::start(command, files.path())
    };
    let mut running: Vec<Program> = (0..2).map(|n| start(n, &m)).collect();
    let mut kills = [0usize; 2];
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_exactly_once(&cluster, &stop));
        for chunk in 0..20 {
            m.run(&storms(240 + chunk * 625, 25));
            let victim = choices.below(3) as usize;
            std::thread::sleep(Duration::from_millis(choices.below(150) as u64));
            m.run(&format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
                if victim == 2 { "reader" } else { "cloudwalk_listener" }
            ));
            if victim < 2 {
                drop(running.remove(victim));
                kills[victim] += 1;
                running.insert(victim, start(victim, &m));
            }
        }
        m.until("SELECT count(*) FROM alerts_since(0, NULL)", "1000");
        m.until("SELECT count(*) FROM handled", "1000");
        stop.store(true, std::sync::atomic::Ordering::Release);
        println!(
            "a reader in transactions began {} times",
            reader.join().unwrap()
        );
    });
    let all: Vec<i64> = m
        .rows("SELECT id FROM alerts_since(0, NULL)")
        .iter()
        .map(|r| r[0].parse().unwrap())
        .collect();
    assert_eq!(
        m.rows("SELECT alert FROM handled ORDER BY alert").concat(),
        all.iter().map(i64::to_string).collect::<Vec<_>>()
    );
    let began = Instant::now();
    for (n, (language, _, receiver)) in programs.iter().enumerate() {
        let passed_on = eventually(Duration::from_secs(120), || {
            let ids: Vec<i64> = receiver.taken("/slack").iter().map(|x| number(x)).collect();
            (ids.last() == all.last()).then_some(ids)
        });
        let mut distinct = passed_on.clone();
        distinct.dedup();
        // In order, and again only one after the other.
        assert_eq!(distinct, all, "{language}");
        let again = passed_on.len() - all.len();
        println!(
            "{language}: killed {} times, {again} alerts sent again",
            kills[n]
        );
        assert!(again <= kills[n], "{again} after {} kills", kills[n]);
    }
    println!(
        "the listeners were done {:?} after the last alert",
        began.elapsed()
    );
    assert!(kills.iter().all(|k| *k > 1), "{kills:?}");
}

/// Reads on from the cursor in the database; gives how often it had to begin anew.
fn read_exactly_once(cluster: &Cluster, stop: &std::sync::atomic::AtomicBool) -> usize {
    let mut beginnings = 0;
    while !stop.load(std::sync::atomic::Ordering::Acquire) {
        let Ok(mut c) = cluster.try_connect_as("postgres", "thousand") else {
            continue;
        };
        beginnings += 1;
        let mut read = || -> Result<(), postgres::Error> {
            c.batch_execute("SET application_name = 'reader'")?;
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                let mut t = c.transaction()?;
                let last: i64 = t
                    .query_one("SELECT last FROM reached FOR UPDATE", &[])?
                    .get(0);
                let batch = t.query("SELECT id FROM alerts_since($1, 3)", &[&last])?;
                for row in &batch {
                    let id: i64 = row.get(0);
                    t.execute("INSERT INTO handled VALUES ($1)", &[&id])?;
                    t.execute("UPDATE reached SET last = $1", &[&id])?;
                }
                t.commit()?;
                if batch.is_empty() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Ok(())
        };
        let _ = read();
    }
    beginnings
}

#[test]
fn a_connection_that_fell_silent_is_noticed() {
    let cluster = Cluster::start_with(&[("cloudwalk_monitor.heartbeat_interval", "300ms")]);
    for language in LANGUAGES {
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("cursor"), "0").unwrap();
        let mut m = Monitored::create(&cluster, &format!("silent_{language}"));
        m.run(&calm_sql(EPOCH, 0, 240));
        m.quiesce();
        let socket = cluster
            .socket_dir()
            .join(format!(".s.PGSQL.{}", cluster.port()));
        let proxy = Proxy::start(socket);
        let receiver = Receiver::start();
        let mut command = Program::command(language, files.path());
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", proxy.port().to_string())
            .env("PGDATABASE", &m.database)
            .env("PGSSLMODE", "disable")
            .env("LISTENER_POLL", "600")
            .env("SLACK_WEBHOOK_URL", receiver.url("/slack"));
        let program = Program::start(command, files.path());
        program.listens(1);
        m.run(&storms(240, 1));
        eventually(SOON, || (receiver.taken("/slack").len() == 2).then_some(()));
        // So long that a heartbeat has said how often they come.
        std::thread::sleep(Duration::from_millis(700));
        proxy.fall_silent();
        m.run(&storms(265, 1));
        m.until("SELECT count(*) FROM alerts_since()", "4");
        let began = Instant::now();
        eventually(SOON, || (receiver.taken("/slack").len() == 4).then_some(()));
        println!(
            "{language}: noticed and caught up {:?} later",
            began.elapsed()
        );
        assert!(program.log().contains("no heartbeat"), "{}", program.log());
        assert_eq!(proxy.accepted(), 2);
    }
}
