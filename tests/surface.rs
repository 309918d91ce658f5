//! The surface itself: declared as it is written, described, installable where its owner wants it.

use std::collections::BTreeMap;
use std::path::Path;

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

/// A function as Rust has it: types of its arguments and of its result's columns.
#[derive(Debug, PartialEq)]
struct Signature {
    arguments: Vec<String>,
    result: Vec<String>,
}

/// The SQL type of a Rust type, as pg_proc would name it.
fn sql_type(rust: &str) -> &'static str {
    let inner = rust
        .strip_prefix("Option<")
        .and_then(|r| r.strip_suffix('>'))
        .unwrap_or(rust);
    match inner {
        "i16" => "smallint",
        "i32" => "integer",
        "i64" => "bigint",
        "f32" => "real",
        "f64" => "double precision",
        "bool" => "boolean",
        "&str" | "String" => "text",
        "JsonB" => "jsonb",
        "Interval" => "interval",
        "TimestampWithTimeZone" => "timestamp with time zone",
        other => panic!("no SQL type is known for {other}"),
    }
}

/// Splits at commas that stand outside of brackets.
fn split(list: &str) -> Vec<String> {
    let (mut depth, mut out, mut item) = (0, Vec::new(), String::new());
    for c in list.chars() {
        match c {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            ',' if depth == 0 => {
                out.push(std::mem::take(&mut item).trim().to_string());
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    out.push(item.trim().to_string());
    out.retain(|i| !i.is_empty());
    out
}

/// Every `#[pg_extern]` function under `src/`, with whether a NULL may reach it.
fn rust_functions() -> BTreeMap<String, (Signature, bool)> {
    fn sources(dir: &Path, out: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../src"),
        &mut text,
    );
    let mut found = BTreeMap::new();
    for part in text.split("#[pg_extern").skip(1) {
        let start = part.find("\nfn ").expect("a function follows") + 4;
        let head = part[start..].split('{').next().unwrap();
        let head: String = head.split_whitespace().collect::<Vec<_>>().join(" ");
        let open = head.find('(').unwrap();
        let mut depth = 0;
        let close = head
            .char_indices()
            .find(|(_, c)| {
                depth += i32::from(*c == '(') - i32::from(*c == ')');
                *c == ')' && depth == 0
            })
            .unwrap()
            .0;
        let rust_arguments: Vec<String> = split(&head[open + 1..close])
            .iter()
            .map(|a| a.split_once(':').unwrap().1.trim().to_string())
            .collect();
        let rest = head[close + 1..].trim();
        let result = match rest.strip_prefix("->").map(str::trim) {
            None => vec!["void".to_string()],
            Some(r) if r.starts_with("TableIterator") => r
                .split("name!(")
                .skip(1)
                .map(|n| {
                    let (_, t) = n.split_once(',').unwrap();
                    let t = t.split(')').next().unwrap_or(t);
                    sql_type(t.trim()).to_string()
                })
                .collect(),
            Some(r) if r.starts_with("SetOfIterator") => {
                let inner = r.split_once(',').unwrap().1;
                vec![sql_type(inner.trim().trim_end_matches('>')).to_string()]
            }
            Some(r) => vec![sql_type(r).to_string()],
        };
        let nullable = rust_arguments.iter().all(|a| a.starts_with("Option<"));
        found.insert(
            head[..open].trim().to_string(),
            (
                Signature {
                    arguments: rust_arguments.iter().map(|a| sql_type(a).into()).collect(),
                    result,
                },
                nullable,
            ),
        );
    }
    found
}

#[test]
fn declared_types_are_the_rust_types() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "declared");
    let mut rust = rust_functions();
    assert!(rust.len() >= 8, "{:?}", rust.keys());
    // These are not wrapped by pgrx; what columns they are declared to return, the library asks at each call.
    let columns = "text,text,jsonb,timestamp with time zone,double precision,double precision,double precision,\
                   double precision,real,smallint,verdict,text";
    for (name, arguments) in [
        (
            "scored_series",
            "interval,timestamp with time zone,text,text",
        ),
        ("detect_anomalies", "interval,timestamp with time zone,text"),
    ] {
        let list = |s: &str| s.split(',').map(String::from).collect();
        let signature = Signature {
            arguments: list(arguments),
            result: list(columns),
        };
        rust.insert(name.into(), (signature, true));
    }
    let declared = m.rows(
        "SELECT p.proname, p.proisstrict, \
                (SELECT coalesce(string_agg(format_type(t, NULL), ',' ORDER BY i), '') FROM unnest(p.proargtypes) WITH ORDINALITY u(t, i)), \
                CASE WHEN p.proargmodes IS NULL THEN format_type(p.prorettype, NULL) ELSE \
                (SELECT string_agg(format_type(t, NULL), ',' ORDER BY i) FROM unnest(p.proallargtypes, p.proargmodes) WITH ORDINALITY u(t, mode, i) WHERE mode = 't') END \
           FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
           JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'cloudwalk_monitor' \
          WHERE l.lanname = 'c' AND p.prorettype <> 'trigger'::regtype",
    );
    assert_eq!(declared.len(), rust.len(), "each is declared once");
    for d in declared {
        let list = |s: &str| -> Vec<String> {
            s.split(',')
                .filter(|x| !x.is_empty())
                .map(String::from)
                .collect()
        };
        let (signature, nullable) = rust
            .get(&d[0])
            .unwrap_or_else(|| panic!("{} is not in src/", d[0]));
        assert_eq!(
            &Signature {
                arguments: list(&d[2]),
                result: list(&d[3])
            },
            signature,
            "{}",
            d[0]
        );
        assert!(
            *nullable || d[1] == "t" || signature.arguments.is_empty(),
            "{} would be handed a NULL it cannot take",
            d[0]
        );
    }
}

#[test]
fn a_table_that_is_declared_otherwise_is_refused() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "misdeclared");
    for columns in ["a integer", "a text, b text"] {
        m.run(&format!(
            "CREATE OR REPLACE FUNCTION wrong{}(interval, timestamptz, text, text) RETURNS TABLE ({columns}) LANGUAGE c \
             AS '$libdir/cloudwalk_monitor', 'scored_series_wrapper'",
            columns.len()
        ));
        let call = format!(
            "wrong{}('1 hour', now(), 'transactions', NULL)",
            columns.len()
        );
        let e = m.refused(&format!("SELECT * FROM {call}"));
        assert_eq!(e.code().code(), "0A000", "{e:?}");
    }
    // Beside the list of columns it works as anywhere else.
    m.run(&calm_sql(EPOCH, 0, 60));
    m.quiesce();
    assert_eq!(
        m.text("SELECT count(v) FROM (SELECT (scored_series('1 hour', '2025-07-14 01:00+00')).verdict) AS s(v)"),
        m.text("SELECT count(*) FROM scored_series('1 hour', '2025-07-14 01:00+00')")
    );
}

#[test]
fn no_function_falls_over_nulls() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "nulls");
    m.run(&calm_sql(EPOCH, 0, 100));
    m.quiesce();
    let backend = m.text("SELECT pg_backend_pid()");
    let calls = m.rows(
        "SELECT p.proname, (SELECT coalesce(string_agg('NULL::' || format_type(t, NULL), ', ' ORDER BY i), '') \
                   FROM unnest(p.proargtypes) WITH ORDINALITY AS u(t, i)) \
           FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
           JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'cloudwalk_monitor'",
    );
    assert!(calls.len() > 20);
    for c in calls {
        let sql = format!("SELECT {}({})", c[0], c[1]);
        if let Err(e) = m.client.batch_execute(&sql) {
            let e = e.as_db_error().unwrap_or_else(|| panic!("{sql}: {e:?}"));
            // A trigger function is not called, anything else says what is missing.
            assert!(
                ["22004", "0A000", "42704", "22023", "23502", "39P01"].contains(&e.code().code()),
                "{sql}: {e:?}"
            );
        }
    }
    assert_eq!(m.text("SELECT pg_backend_pid()"), backend);
    m.assert_models();
}

#[test]
fn everything_is_described() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "described");
    let nameless = m.rows(
        "WITH members AS (SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'cloudwalk_monitor' WHERE d.deptype = 'e') \
         SELECT o.classid::regclass::text, pg_describe_object(o.classid, o.objid, 0) FROM members o \
          WHERE o.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass) \
            AND (o.classid <> 'pg_class'::regclass OR (SELECT relkind IN ('r', 'v') FROM pg_class WHERE oid = o.objid)) \
            AND (o.classid <> 'pg_type'::regclass OR (SELECT typtype = 'e' FROM pg_type WHERE oid = o.objid)) \
            AND obj_description(o.objid, o.classid::regclass::name) IS NULL \
         UNION ALL \
         SELECT 'column', c.relname || '.' || a.attname FROM members o JOIN pg_class c ON c.oid = o.objid AND o.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'v') \
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
          WHERE col_description(c.oid, a.attnum) IS NULL",
    );
    assert_eq!(nameless, Vec::<Vec<String>>::new());
    m.run("LOAD 'cloudwalk_monitor'");
    let settings = m.rows(
        "SELECT name FROM pg_settings WHERE name LIKE 'cloudwalk_monitor.%' AND length(short_desc) > 10 ORDER BY 1",
    );
    assert_eq!(
        settings.concat(),
        [
            "alert_horizon",
            "channel",
            "delivery",
            "enabled",
            "future_tolerance",
            "heartbeat_interval",
            "lateness",
            "queue_limit",
            "remind_every",
            "reopen_window",
            "retention",
            "sealed_horizon",
            "shared_memory",
            "snapshot_retention",
            "strict",
            "tick_interval"
        ]
        .map(|s| format!("cloudwalk_monitor.{s}"))
    );
    for value in ["a while", "-1 day"] {
        let e = m.refused(&format!("SET cloudwalk_monitor.alert_horizon = '{value}'"));
        assert_eq!(e.code().code(), "22023");
        assert!(e.detail().is_some() && e.hint().is_some(), "{e:?}");
    }
    m.run("SET cloudwalk_monitor.alert_horizon = '2 years 3 days'");
}

#[test]
fn in_a_schema_of_its_own() {
    let cluster = Cluster::shared();
    cluster.create_database("elsewhere");
    let mut m = Monitored::of(&cluster, "elsewhere");
    m.run("CREATE TABLE transactions (mine text)");
    let e = m.refused("CREATE EXTENSION cloudwalk_monitor");
    assert_eq!(e.code().code(), "42P07");
    assert!(
        e.hint().is_some_and(|h| h.contains("SCHEMA monitoring")),
        "{e:?}"
    );
    m.run("CREATE SCHEMA \"Monitoring 1\"; CREATE EXTENSION cloudwalk_monitor SCHEMA \"Monitoring 1\"");
    m.run("ALTER DATABASE elsewhere SET cloudwalk_monitor.alert_horizon = '100 years'");
    let s = "\"Monitoring 1\"";
    m.run(&calm_sql(EPOCH, 0, 240).replace("INTO transactions", &format!("INTO {s}.transactions")));
    m.run(&format!(
        "INSERT INTO {s}.transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 120)",
        minute(240)
    ));
    m.until(
        &format!("SELECT count(*) FROM {s}.incidents WHERE state = 'open'"),
        "1",
    );
    assert_eq!(
        m.number(&format!(
            "SELECT count(*) FROM {s}.verify_models() WHERE NOT same"
        )),
        0
    );
    m.run("CREATE TABLE payments (at timestamptz)");
    m.run(&format!(
        "SELECT {s}.watch_table('payments', 'at'), {s}.set_rule('payments', '(all)', 'high')"
    ));
    m.run("INSERT INTO payments SELECT now() - make_interval(mins => m) FROM generate_series(1, 100) m");
    m.until(
        &format!("SELECT count(*) FROM {s}.verify_models('payments') WHERE same"),
        "2",
    );
    let blocked = m.refused("DROP EXTENSION cloudwalk_monitor");
    assert_eq!(
        blocked.code().code(),
        "2BP01",
        "a watched table depends on it"
    );
    m.run(&format!("SELECT {s}.unwatch_table('payments')"));
    m.run("DROP EXTENSION cloudwalk_monitor");
    assert_eq!(
        m.number(
            "SELECT count(*) FROM pg_class WHERE relnamespace = '\"Monitoring 1\"'::regnamespace"
        ),
        0
    );
    m.run("DROP SCHEMA \"Monitoring 1\"");
}

#[test]
fn a_fault_never_stops_an_insert_unless_it_is_asked_to() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "faulty");
    m.run("CREATE TABLE payments (at timestamptz, kind text); SELECT watch_table('payments', 'at', NULL, '{kind}')");
    m.run("ALTER TABLE payments RENAME COLUMN kind TO sort");
    m.reconnect();
    m.run("INSERT INTO payments VALUES (now(), 'a'), (now(), 'b')");
    assert_eq!(m.number("SELECT count(*) FROM payments"), 2);
    m.run("SET cloudwalk_monitor.strict = on");
    let e = m.refused("INSERT INTO payments VALUES (now(), 'c')");
    assert!(e.message().contains("cannot be read"), "{e:?}");
    assert!(
        e.detail().is_some_and(|d| d.contains("kind")) && e.hint().is_some(),
        "{e:?}"
    );
    m.run("SET cloudwalk_monitor.strict = off");
    // The others go on.
    m.run(&calm_sql(EPOCH, 0, 100));
    m.until("SELECT count(*) FROM verify_models() WHERE same", "4");
    // What has failed is told of for an hour.
    m.run("ALTER TABLE payments RENAME COLUMN sort TO kind");
    assert_eq!(
        m.text("SELECT status FROM monitor_health"),
        "something has failed within the last hour: see errors and the server log"
    );
    assert_eq!(
        m.text(
            "SELECT last_error > now() - interval '10 minutes' AND errors >= 2 FROM monitor_health"
        ),
        "t"
    );
}

#[test]
fn a_missing_argument_is_told_from_one_with_a_default() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "missing");
    for (call, has_default) in [
        ("recommend_alert(NULL, 1)", false),
        ("recommend_alert('denied', NULL)", false),
        ("recommend_alert('denied', 1, NULL)", true),
        ("backtest_monitor(NULL, '2025-07-14', now())", false),
        ("backtest_monitor('transactions', NULL, now())", false),
        ("backtest_monitor('transactions', now(), NULL)", false),
        ("scored_series(NULL)", true),
        ("scored_series('1 hour', NULL)", true),
        ("scored_series('1 hour', now(), NULL)", true),
        ("chart_series(NULL)", true),
        ("acknowledge_incident(NULL)", false),
    ] {
        let e = m.refused(&format!("SELECT * FROM {call}"));
        assert_eq!(e.code().code(), "22004", "{call}: {e:?}");
        let hint = e.hint().unwrap_or_default();
        assert!(
            e.detail().is_some() && !hint.is_empty() && hint.contains("default") == has_default,
            "{call}: {e:?}"
        );
    }
}

#[test]
fn a_renamed_schema() {
    let cluster = Cluster::shared();
    cluster.create_database("renamed");
    let mut m = Monitored::of(&cluster, "renamed");
    m.run("CREATE SCHEMA one; CREATE EXTENSION cloudwalk_monitor SCHEMA one");
    m.run("ALTER DATABASE renamed SET cloudwalk_monitor.alert_horizon = '100 years'");
    m.reconnect();
    m.run(&calm_sql(EPOCH, 0, 240).replace("INTO transactions", "INTO one.transactions"));
    m.until("SELECT status FROM one.monitor_health", "ok");
    let count = |s: &str| {
        format!("SELECT count(*) > 0 FROM {s}.scored_series('1 hour', '2025-07-14 12:00+00')")
    };
    assert_eq!(m.text(&count("one")), "t");
    // By somebody else, while this session and the worker go on.
    m.connect()
        .batch_execute("ALTER SCHEMA one RENAME TO two")
        .unwrap();
    assert_eq!(m.text(&count("two")), "t");
    m.run(&format!(
        "INSERT INTO two.transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 120)",
        minute(240)
    ));
    m.until(
        "SELECT string_agg(series || ' ' || state, ',') FROM two.incidents",
        "denied open",
    );
    m.run("SELECT two.acknowledge_incident(id) FROM two.incidents");
    m.run("SELECT two.set_rule('transactions', 'failed', warn_above => 5), two.drop_rule('transactions', 'failed')");
    m.run("CREATE TABLE payments (at timestamptz); SELECT two.watch_table('payments', 'at')");
    m.run("INSERT INTO payments VALUES ('2025-07-14 12:00+00')");
    for call in [
        "alerts_since(0)",
        "detect_anomalies('1 hour', '2025-07-14 12:10+00')",
        "chart_series('denied', '1 hour', '2025-07-14 12:10+00')",
        "backtest_monitor('transactions', '2025-07-14', '2025-07-15')",
        "recommend_alert('denied', 6, '2025-07-14 12:01+00')",
        "verify_models('payments')",
    ] {
        assert_eq!(
            m.text(&format!("SELECT count(*) > 0 FROM two.{call}")),
            "t",
            "{call}"
        );
    }
    m.run("SELECT two.run_monitor()");
    m.run("SELECT two.unwatch_table('payments')");
    assert_eq!(
        m.text("SELECT count(*) FROM two.verify_models() WHERE NOT same"),
        "0"
    );
    assert_eq!(m.number("SELECT errors FROM two.monitor_stats"), 0);
    // Dropped and created again, in the session that knows the old one.
    m.run("DROP EXTENSION cloudwalk_monitor; CREATE EXTENSION cloudwalk_monitor SCHEMA public");
    m.run(&calm_sql(EPOCH, 0, 60));
    m.assert_models();
}

/// A trigger of another kind has no row to give, or gives the wrong one back.
#[test]
fn triggers_of_another_kind_are_refused() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "kinds");
    m.run("CREATE TABLE u (time timestamptz, count int, status text)");
    let argument = r#"'["0","60000000","UTC","time","count","status"]'"#;
    for (kind, function, statement) in [
        (
            "AFTER INSERT ON u FOR EACH STATEMENT",
            "record_row",
            "INSERT INTO u VALUES (now(), 1, 'a')",
        ),
        (
            "BEFORE INSERT ON u FOR EACH ROW",
            "record_row",
            "INSERT INTO u VALUES (now(), 1, 'a')",
        ),
        (
            "AFTER INSERT ON u FOR EACH ROW",
            "judge_row",
            "INSERT INTO u VALUES (now(), 1, 'a')",
        ),
        (
            "BEFORE UPDATE ON u FOR EACH ROW",
            "judge_row",
            "INSERT INTO u VALUES (now(), 1, 'a'); UPDATE u SET count = 2",
        ),
        (
            "BEFORE DELETE ON u FOR EACH ROW",
            "judge_row",
            "INSERT INTO u VALUES (now(), 1, 'a'); DELETE FROM u",
        ),
        (
            "AFTER INSERT ON u FOR EACH ROW",
            "record_truncate",
            "INSERT INTO u VALUES (now(), 1, 'a')",
        ),
        (
            "BEFORE INSERT ON u FOR EACH ROW",
            "rules_changed",
            "INSERT INTO u VALUES (now(), 1, 'a')",
        ),
    ] {
        m.run(&format!(
            "CREATE TRIGGER strange {kind} EXECUTE FUNCTION {function}({argument})"
        ));
        let e = m.refused(statement);
        assert_eq!(e.code().code(), "39P01", "{kind} {function}: {e:?}");
        assert!(e.detail().is_some() && e.hint().is_some(), "{e:?}");
        m.run("DROP TRIGGER strange ON u");
    }
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "reasons");
    // A round at no time; a ratio in place of limits, and the other way round.
    m.run("SELECT set_rule('transactions', 'denied', warn_above => 15)");
    m.run("SELECT set_rule('transactions', 'rate', numerator => '{denied}', denominator => '{denied,approved}')");
    for (call, code) in [
        ("run_monitor('-infinity')", "22008"),
        (
            "set_rule('transactions', 'denied', numerator => '{failed}', denominator => '{failed,approved}')",
            "22023",
        ),
        ("set_rule('transactions', 'rate', warn_above => 0.5)", "22023"),
    ] {
        let e = m.refused(&format!("SELECT {call}"));
        assert_eq!(e.code().code(), code, "{call}: {e:?}");
        assert!(e.detail().is_some() && e.hint().is_some(), "{e:?}");
    }
    assert_eq!(m.number("SELECT count(*) FROM rules"), 2);
    // Text of another encoding.
    m.run(
        "CREATE DATABASE of_latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    let mut latin = cluster.connect_to("of_latin");
    let e = latin
        .batch_execute("CREATE EXTENSION cloudwalk_monitor")
        .expect_err("it cannot be created");
    let e = e.as_db_error().expect("of the server");
    assert_eq!(e.code().code(), "0A000");
    assert!(e.detail().is_some_and(|d| d.contains("LATIN1")) && e.hint().is_some());
}

#[test]
fn a_verdict_without_a_column_is_a_blind_spot() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "columnless");
    let spots = "SELECT count(*) FROM blind_spots WHERE what = 'verdicts' AND reason LIKE '%no column verdict%'";
    assert_eq!(m.number(spots), 0);
    m.run("ALTER TABLE transactions DROP COLUMN verdict");
    m.reconnect();
    m.run("INSERT INTO transactions (status, count) VALUES ('denied', 1)");
    assert_eq!(m.number(spots), 1);
}
