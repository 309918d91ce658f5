//! Bad and odd input: a clear error or an honest verdict; never a crash, and nothing is lost.

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

#[test]
fn what_the_table_refuses() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "refused");
    m.run(&calm_sql(EPOCH, 0, 60));
    let backend = m.text("SELECT pg_backend_pid()");
    for (values, state) in [
        ("(NULL, 'denied', 1)".to_string(), "23502"),
        ("(now(), NULL, 1)".into(), "23502"),
        ("(now(), 'denied', NULL)".into(), "23502"),
        ("(now(), 'denied', -1)".into(), "23514"),
        ("(now(), '', 1)".into(), "23514"),
        (format!("(now(), '{}', 1)", "x".repeat(10_000)), "23514"),
        ("(now(), 'denied', 2147483648)".into(), "22003"),
        ("('294277-01-01', 'denied', 1)".into(), "22008"),
    ] {
        let e = m.refused(&format!(
            "INSERT INTO transactions (time, status, count) VALUES {values}"
        ));
        let shown = &values[..values.len().min(60)];
        assert_eq!(e.code().code(), state, "{shown}: {e:?}");
    }
    assert_eq!(m.text("SELECT pg_backend_pid()"), backend);
    assert_eq!(m.number("SELECT count(*) FROM transactions"), 180);
    m.assert_models();
    assert_eq!(m.number("SELECT errors FROM monitor_stats"), 0);
}

#[test]
fn what_the_table_takes() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "taken");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.quiesce();
    let backend = m.text("SELECT pg_backend_pid()");
    let long = "\u{1F4B3}".repeat(200);
    let at = minute(240);
    let cases = [
        (
            "'294276-12-31 23:59:59+00'".to_string(),
            "denied",
            1,
            "learning",
        ),
        ("'infinity'".into(), "denied", 1, "learning"),
        ("'-infinity'".into(), "denied", 1, "learning"),
        (
            "'4713-01-01 00:00:00+00 BC'".into(),
            "denied",
            1,
            "learning",
        ),
        (at.clone(), "denied", 2_147_483_647, "critical"),
        (at.clone(), "approved", 0, "critical"),
        (at.clone(), "it's, \"quoted\" = \n\ttwice\\", 2, "normal"),
        (at.clone(), long.as_str(), 2, "normal"),
        (at.clone(), "(total)", 2, "normal"),
        (at, "denied", 0, "critical"),
    ];
    for (time, status, count, verdict) in &cases {
        let said: String = m
            .client
            .query_one(
                &format!("INSERT INTO transactions (time, status, count) VALUES ({time}, $1, $2) RETURNING verdict::text"),
                &[status, count],
            )
            .unwrap_or_else(|e| panic!("{time} {count}: {e:?}"))
            .get(0);
        assert_eq!(&said, verdict, "{time} {status} {count}");
    }
    assert_eq!(m.text("SELECT pg_backend_pid()"), backend);
    assert_eq!(
        m.number("SELECT count(*) FROM transactions"),
        720 + cases.len() as i64
    );
    m.assert_models();
    assert_eq!(m.number("SELECT errors FROM monitor_stats"), 0);
    // The payload of a long name is cut, not refused.
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) SELECT {}, '{long}', 1000 FROM generate_series(1, 3)",
        minute(241)
    ));
    m.until(
        "SELECT count(*) > 0 FROM alerts WHERE length(series) >= 7 AND event = 'opened' AND series NOT IN ('denied', 'approved')",
        "t",
    );
    // It joins a group that was told of a moment ago, so it is announced when a minute has passed.
    m.run("UPDATE alerts SET at = at - interval '2 minutes'; SELECT run_monitor()");
    m.until(
        "SELECT octet_length(payload::text) < 8000 FROM alerts WHERE notice = 'escalated' AND series NOT IN ('denied', 'approved')",
        "t",
    );
    m.assert_models();
}

/// A judged row is stored as the server forms it by itself: the same values, of the same length, whatever columns there are
/// beside those of the verdict.
#[test]
fn a_judged_row_is_like_others() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "stored");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run("CREATE TABLE by_itself (LIKE transactions)");
    m.quiesce();
    let changes = [
        "ALTER id SET NOT NULL",
        "ALTER count DROP NOT NULL",
        "ADD COLUMN note text",
        "ADD COLUMN kind text NOT NULL DEFAULT 'card'",
        "DROP COLUMN note, DROP COLUMN kind",
    ];
    for (n, change) in changes.into_iter().enumerate() {
        for table in ["transactions", "by_itself"] {
            m.run(&format!("ALTER TABLE {table} {change}"));
        }
        let last = m.number("SELECT max(id) FROM transactions");
        let count = if n == 0 { "1" } else { "nullif(n % 3, 0)" };
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) SELECT {}, repeat('x', n), {count} FROM generate_series(1, 200) n",
            minute(240)
        ));
        m.run(&format!(
            "INSERT INTO by_itself SELECT * FROM transactions WHERE id > {last}"
        ));
        // A row is measured where it is scanned: a join may pack it.
        let size = |table: &str| {
            format!("(SELECT sum(pg_column_size(t)) FROM {table} t WHERE id > {last})")
        };
        let compared = m.rows(&format!(
            "SELECT count(*), bool_and(t *= b), {} = {}, \
                    bool_and(t.verdict > 'learning' AND t.expected >= 0 AND t.score >= 0) \
               FROM transactions t JOIN by_itself b USING (id) WHERE id > {last}",
            size("transactions"),
            size("by_itself")
        ));
        assert_eq!(compared, [["200", "t", "t", "t"]], "{change}");
    }
    m.assert_models();
}

/// A status may be called what another series is called; its label may not.
#[test]
fn labels_are_unambiguous() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "labels");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) SELECT {}, s, 1 \
           FROM unnest(ARRAY['(total)', '(null)', '(other)', '\"(total)\"', '(all)', 'a \"b\"', '(x)']) s",
        minute(239)
    ));
    m.assert_models();
    let labels = m.rows("SELECT series FROM verify_models() ORDER BY series COLLATE \"C\"");
    assert_eq!(
        labels.concat(),
        [
            "\"\"\"(total)\"\"\"",
            "\"(all)\"",
            "\"(null)\"",
            "\"(other)\"",
            "\"(total)\"",
            "(total)",
            "(x)",
            "a \"b\"",
            "approved",
            "denied",
            "failed"
        ]
    );
    let window = "'3 minutes', '2025-07-14 12:00+00', 'transactions'";
    assert_eq!(
        m.rows(&format!(
            "SELECT labels, count(*), sum(observed) > 100 FROM scored_series({window}, '(total)') GROUP BY 1"
        )),
        [["{}", "3", "t"]]
    );
    assert_eq!(
        m.rows(&format!(
            "SELECT labels, sum(observed) FROM scored_series({window}, '\"(total)\"') GROUP BY 1"
        )),
        [["{\"status\": \"(total)\"}", "1"]]
    );
    // A rule for the one does not count for the other.
    m.run("SELECT set_rule('transactions', '\"(total)\"', critical_above => 2)");
    let ask = |status: &str| {
        format!(
            "SELECT verdict || ' ' || coalesce(reason, '') FROM recommend_alert('{status}', 2, {})",
            minute(240)
        )
    };
    m.until(
        &format!(
            "SELECT starts_with(({}), 'critical \"(total)\" 2 in')",
            ask("(total)")
        ),
        "t",
    );
    assert_eq!(m.text(&ask("(null)")), "normal ");

    m.run("CREATE TABLE payments (at timestamptz, kind text, shop text); SELECT watch_table('payments', 'at', NULL, '{kind}')");
    m.run("SELECT watch_table('payments', 'at', NULL, '{kind,shop}', name => 'both')");
    m.run("INSERT INTO payments VALUES ('2025-07-14 08:00+00', NULL, NULL), ('2025-07-14 08:00+00', '(null)', '(null)'), ('2025-07-14 08:00+00', '', '')");
    m.assert_models_of("payments");
    m.assert_models_of("both");
    for monitor in ["payments", "both"] {
        let series = m.rows(&format!(
            "SELECT count(DISTINCT series) FROM verify_models('{monitor}')"
        ));
        assert_eq!(series, [["4"]], "{monitor}");
    }
}

/// Whatever its date and count, one row says nothing of today.
#[test]
fn one_row_of_another_age() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "another_age");
    m.run(&calm_sql(EPOCH, 0, 240));
    m.assert_models();
    let ask = format!(
        "SELECT s, verdict, score, expected, lower, upper \
           FROM unnest('{{approved,denied,failed}}'::text[]) s, recommend_alert(s, 6, {})",
        minute(240)
    );
    let models = "SELECT series, time, expected, lower, upper, score, verdict FROM scored_series('1 hour', '2025-07-14 12:00+00') ORDER BY time, series";
    let (asked, scored) = (m.rows(&ask), m.rows(models));
    assert_eq!(m.number("SELECT count(*) FROM incidents"), 0);
    for status in ["denied", "unheard of"] {
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ('4713-01-01 BC', '{status}', 2147483647), \
                ('294276-12-31', '{status}', 2147483647), ('1970-01-01', '{status}', 2147483647)"
        ));
        m.assert_models();
    }
    assert_eq!(m.rows(&ask), asked);
    let now: Vec<_> = m
        .rows(models)
        .into_iter()
        .filter(|r| r[0] != "unheard of")
        .collect();
    assert_eq!(now, scored);
    m.run(&calm_sql(EPOCH, 240, 245));
    m.assert_models();
    assert_eq!(
        m.rows("SELECT series, opened_at FROM incidents WHERE opened_at > '2025-01-01'"),
        Vec::<Vec<String>>::new()
    );
    let verdict = m.text(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, 'approved', 120), ({0}, 'denied', 40) RETURNING verdict",
        minute(245)
    ));
    assert_eq!(verdict, "normal");
    m.until(
        "SELECT string_agg(series || ' ' || state, ',') FROM incidents WHERE opened_at > '2025-01-01'",
        "denied open",
    );
    m.assert_models();
}
