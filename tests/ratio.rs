//! Ratios: a rule that is about a part of a whole.

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

const DEFINE: &str = "SELECT set_rule('transactions', 'denial rate', 'high', \
     numerator => '{denied}', denominator => '{approved,denied}')";

/// A minute in which fewer come, and a quarter of them is denied: no status is far from what is usual for long.
fn worse(m: i64) -> String {
    format!(
        "INSERT INTO transactions (time, status, count) \
         VALUES ({0}, 'denied', 12), ({0}, 'approved', 100), ({0}, 'failed', 0)",
        minute(m)
    )
}

/// Waits until the ratio is followed, and asserts that all models are those of a refold, and that it has read every
/// bucket that is sealed.
fn followed(m: &mut Monitored) {
    m.until(
        "SELECT count(*) FROM verify_models() WHERE same AND series = 'denial rate'",
        "1",
    );
    m.assert_models();
    let readings = m.number(&format!(
        "SELECT extract(epoch FROM sealed_at - timestamptz '{EPOCH}')::bigint / 60 + 1 \
           FROM verify_models() WHERE series = 'denial rate'"
    ));
    let detail = m.text("SELECT detail FROM verify_models() WHERE series = 'denial rate'");
    assert_eq!(
        detail,
        format!("{readings} readings in shared memory, {readings} in the fold")
    );
}

#[test]
fn a_share_alerts_with_its_reason_and_ends() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "ratio");
    m.calm(600);
    m.run(DEFINE);
    followed(&mut m);
    let shown = m.rows(&format!(
        "SELECT labels, observed BETWEEN 0.02 AND 0.09, expected BETWEEN 0.04 AND 0.06, lower = 0, upper BETWEEN 0.06 AND 0.3, \
                verdict FROM scored_series('10 minutes', {}, 'transactions', 'denial rate')",
        minute(600)
    ));
    assert_eq!(shown.len(), 10);
    for row in &shown {
        assert_eq!(
            row[1..],
            ["t", "t", "t", "t", "normal"].map(String::from),
            "{row:?}"
        );
        assert_eq!(row[0], "{\"ratio\": \"denial rate\"}");
    }

    let listener = m.listen();
    for i in 600..620 {
        m.run(&worse(i));
    }
    m.run(&calm_sql(EPOCH, 620, 660));
    m.until(
        "SELECT state FROM incidents WHERE series = 'denial rate'",
        "resolved",
    );
    let row = m.rows(
        "SELECT labels->>'ratio', direction, peak_observed BETWEEN 0.1 AND 0.11, reason ~ '^denial rate 1[0-9]\\.[0-9] % in', \
                opened_at < timestamptz '2025-07-14 18:10+00' FROM incidents WHERE series = 'denial rate'",
    );
    assert_eq!(
        row,
        [["denial rate", "1", "t", "t", "t"].map(String::from)],
        "{:?}",
        m.rows("SELECT event, series, observed, reason, time FROM alerts")
    );
    let heard = m.announced(&listener);
    assert!(
        heard.iter().any(|p| p.contains("\"series\":\"denial rate\"") && p.contains("\"event\":\"opened\"")),
        "{heard:?}"
    );
    // What was found live is what a backtest finds, and after a restart it is the same.
    let backtest = format!(
        "SELECT count(*) FROM backtest_monitor('transactions', {}, {}) WHERE series = 'denial rate'",
        minute(0),
        minute(700)
    );
    assert_eq!(m.number(&backtest), 1);
    m.assert_models();
    // Another definition is another ratio: it begins anew, and what the old one had open is over.
    m.run(
        "SELECT set_rule('transactions', 'denial rate', 'high', \
           numerator => '{denied}', denominator => '{(total)}', min_volume => 5000)",
    );
    m.until(
        "SELECT count(*) FROM verify_models() WHERE same AND series = 'denial rate'",
        "1",
    );
    assert_eq!(m.number(&backtest), 0, "no window holds 5000");
    m.run("SELECT drop_rule('transactions', 'denial rate')");
    m.assert_models();
    assert_eq!(
        m.number("SELECT count(*) FROM verify_models() WHERE series = 'denial rate'"),
        0
    );
}

#[test]
fn a_ratio_survives_a_restart_and_its_rule_may_go_while_it_alerts() {
    let cluster = Cluster::start();
    let mut m = Monitored::create(&cluster, "ratio_restart");
    m.run(DEFINE);
    m.calm(3000);
    followed(&mut m);
    for i in 3000..3020 {
        m.run(&worse(i));
    }
    m.until(
        "SELECT state FROM incidents WHERE series = 'denial rate'",
        "open",
    );
    cluster.restart();
    m.reconnect();
    m.run(&worse(3020));
    m.assert_models();
    assert_eq!(
        m.number("SELECT count(*) FROM alerts WHERE series = 'denial rate' AND event = 'opened'"),
        1
    );
    // Stored states hold the ratio too.
    assert!(m.number("SELECT count(*) FROM snapshots WHERE substring(series, 1, 1) = '\\xff'") > 0);
    m.run("SELECT drop_rule('transactions', 'denial rate')");
    m.until(
        "SELECT state FROM incidents WHERE series = 'denial rate'",
        "resolved",
    );
    m.assert_models();
}

#[test]
fn what_is_no_ratio_is_refused() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "ratio_refused");
    for (arguments, code) in [
        ("numerator => '{denied}'", "22023"),
        ("denominator => '{denied}'", "22023"),
        ("min_volume => 5", "22023"),
        ("warn_above => -1", "22023"),
        ("critical_above => 'infinity'", "22023"),
        (
            "numerator => '{denied}', denominator => '{denied}', warn_above => 5",
            "22023",
        ),
        ("numerator => '{}', denominator => '{approved}'", "22023"),
        (
            "numerator => '{denied}', denominator => '{approved}'",
            "22023",
        ),
        (
            "numerator => '{denied,NULL}', denominator => '{denied,NULL}'",
            "22023",
        ),
        (
            "numerator => '{denied}', denominator => '{denied}', min_volume => 'NaN'",
            "22023",
        ),
        (
            "numerator => '{denied}', denominator => '{denied}', min_volume => 0",
            "22023",
        ),
        (
            "numerator => '{rate}', denominator => '{rate,denied}'",
            "22023",
        ),
    ] {
        let e = m.refused(&format!(
            "SELECT set_rule('transactions', 'rate', {arguments})"
        ));
        assert_eq!(e.code().code(), code, "{arguments}: {e:?}");
        assert!(
            e.detail().is_some() && e.hint().is_some(),
            "{arguments}: {e:?}"
        );
    }
    // Nor past the function.
    for (columns, values) in [
        (
            "numerator, denominator, min_volume",
            "'{a}', '{a,NULL}', 20",
        ),
        ("numerator, denominator, min_volume", "'{}', '{a}', 20"),
        ("numerator, denominator, min_volume", "'{a}', '{a}', 'NaN'"),
        ("numerator, denominator, min_volume", "'{a}', '{a}', -5"),
        ("warn_above", "'NaN'"),
    ] {
        let e = m.refused(&format!(
            "INSERT INTO rules (monitor, series, {columns}) VALUES ('transactions', 'r', {values})"
        ));
        assert_eq!(e.code().code(), "23514", "{values}");
    }
    for n in 0..8 {
        m.run(&format!(
            "SELECT set_rule('transactions', 'rate {n}', numerator => '{{denied}}', denominator => '{{(total)}}')"
        ));
    }
    let e = m.refused(
        "SELECT set_rule('transactions', 'rate 8', numerator => '{denied}', denominator => '{(total)}')",
    );
    assert_eq!(e.code().code(), "54000");
    // Changing one of the eight is no ninth.
    m.run("SELECT set_rule('transactions', 'rate 7', numerator => '{failed}', denominator => '{(total)}')");
    m.calm(60);
    m.until(
        "SELECT count(*) FROM verify_models() WHERE same AND series LIKE 'rate %'",
        "8",
    );
}
