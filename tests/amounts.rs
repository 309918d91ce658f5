//! Amounts with decimals, watched: sums in millionths, judged by the family of values.

use testbed::monitored::Monitored;
use testbed::Cluster;

const SALES: &str = "CREATE TABLE sales (at timestamptz NOT NULL, shop text, amount numeric(12,2), weight float8, rate real)";

/// Two hundred amounts around 20 an hour in shop a and a few in shop b, over a stretch of minutes, times a factor.
fn sales(from: i64, to: i64, factor: f64) -> String {
    format!(
        "INSERT INTO sales SELECT timestamptz '2025-07-14 00:00+00' + make_interval(mins => m, secs => e), shop, \
                {factor} * (12.25 + (m * 37 + e * 11) % 19 + 0.01 * ((m + e) % 97)), \
                {factor} * (0.5 + ((m * 29 + e) % 13) / 7.0), {factor} * (1 + ((m * 31 + e) % 11) / 3.0) \
           FROM generate_series({from}, {to} - 1) m, generate_series(1, 4) e, \
                LATERAL (SELECT CASE WHEN (m + e) % 5 = 0 THEN 'b' ELSE 'a' END AS shop) s"
    )
}

const AT: &str = "timestamptz '2025-07-14 00:00+00'";

#[test]
fn an_incident_of_amounts_opens_and_ends() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "amounts");
    m.run(SALES);
    m.run("SELECT watch_table('sales', 'at', 'amount', '{shop}')");
    m.run("ALTER DATABASE amounts SET cloudwalk_monitor.alert_horizon = '100 years'");
    m.run(&sales(0, 1500, 1.0));
    m.assert_models_of("sales");
    assert_eq!(
        m.rows("SELECT series, family, learning FROM series_models('sales') ORDER BY 1"),
        [
            ["(total)", "values", "f"],
            ["a", "values", "f"],
            ["b", "values", "f"]
        ]
    );
    let before = m.number("SELECT count(*) FROM incidents");
    m.run(&sales(1500, 1510, 12.0));
    m.run(&sales(1510, 1640, 1.0));
    m.assert_models_of("sales");
    let since = format!("opened_at >= {AT} + interval '1500 minutes'");
    m.until(
        &format!(
            "SELECT string_agg(DISTINCT state || direction, ',') FROM incidents \
              WHERE {since} AND opened_at < {AT} + interval '1510 minutes' AND series = 'a'"
        ),
        "resolved1",
    );
    assert_eq!(
        m.text(&format!(
            "SELECT max(resolved_at - opened_at) < interval '25 minutes' FROM incidents \
              WHERE {since} AND opened_at < {AT} + interval '1510 minutes' AND series = 'a'"
        )),
        "t"
    );
    assert!(before <= 2, "{before} incidents in a day of nothing");
    // What was seen is the sum of the rows, to the cent; and bounds are about what is usual.
    let odd = m.rows(
        "SELECT count(*), count(*) FILTER (WHERE lower > expected OR expected > upper OR lower < 0), \
                count(*) FILTER (WHERE verdict >= 'warning' AND reason IS NULL) \
           FROM scored_series('1 day', timestamptz '2025-07-15 00:00+00', 'sales') WHERE verdict <> 'learning'",
    );
    assert_eq!(
        (odd[0][1].as_str(), odd[0][2].as_str()),
        ("0", "0"),
        "{odd:?}"
    );
    assert_eq!(
        m.text(
            "SELECT count(*) FROM scored_series('1 day', timestamptz '2025-07-15 00:00+00', 'sales', 'a') s \
              WHERE abs(s.observed - (SELECT coalesce(sum(amount), 0) FROM sales \
                                       WHERE shop = 'a' AND at >= s.time AND at < s.time + interval '1 minute')) > 1e-6"
        ),
        "0"
    );
    let reason = m.text(&format!(
        "SELECT reason FROM incidents WHERE {since} AND series = 'a' ORDER BY opened_at LIMIT 1"
    ));
    assert!(reason.contains("expected"), "{reason}");
    // Live and in a backtest they are the same.
    let live = m.rows(&format!(
        "SELECT series, direction, opened_at, peak_observed FROM incidents WHERE {since} ORDER BY 1, 3"
    ));
    let again = m.rows(&format!(
        "SELECT series, direction, opened_at, peak_observed \
           FROM backtest_monitor('sales', {AT} + interval '1500 minutes', {AT} + interval '1700 minutes') ORDER BY 1, 3"
    ));
    assert_eq!(live, again);
    // In any order, and corrected, they are what a refold says.
    m.run("UPDATE sales SET amount = amount + 0.005 WHERE extract(epoch FROM at)::bigint % 7 = 0");
    m.run("UPDATE sales SET amount = amount / 12 WHERE amount > 100");
    m.assert_models_of("sales");
    m.until(
        &format!(
            "SELECT string_agg(DISTINCT state, ',') FROM incidents WHERE {since} AND series = 'a'"
        ),
        "retracted",
    );
}

#[test]
fn amounts_of_all_types_and_of_no_number() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "amount_types");
    m.run(SALES);
    m.run("CREATE TABLE wide (at timestamptz NOT NULL, n numeric)");
    for (column, name) in [("amount", "cents"), ("weight", "kilos"), ("rate", "rates")] {
        m.run(&format!(
            "SELECT watch_table('sales', 'at', '{column}', '{{shop}}', name => '{name}')"
        ));
    }
    m.run("SELECT watch_table('wide', 'at', 'n')");
    m.run(&sales(0, 300, 1.0));
    for name in ["cents", "kilos", "rates"] {
        m.assert_models_of(name);
    }
    // Limits may lie below zero; of amounts there are no ratios.
    m.run("SELECT set_rule('cents', 'a', warn_below => -100)");
    let refused =
        m.refused("SELECT set_rule('cents', 'r', numerator => '{a}', denominator => '{a,b}')");
    assert_eq!(refused.code().code(), "42809");
    m.run("SELECT drop_rule('cents', 'a')");
    // Refunds: below zero is an amount too.
    m.run(&sales(300, 320, -0.5));
    m.assert_models_of("cents");
    assert_eq!(
        m.text("SELECT count(*) FROM scored_series('10 minutes', timestamptz '2025-07-14 05:15+00', 'cents', 'a') WHERE observed < 0"),
        "10"
    );
    // What is no number is stored, warned about once and counted; it is added as zero.
    let errors = m.number("SELECT errors FROM monitor_stats");
    m.run(&format!(
        "INSERT INTO sales (at, shop, amount, weight, rate) SELECT {AT} + interval '321 minutes', 'a', 10.5, w, r \
           FROM (VALUES ('NaN'::float8, 'Infinity'::real), ('-Infinity', 'NaN'), (2.5, 2.5), (1e200, 1e38)) v (w, r)"
    ));
    m.run(&format!(
        "INSERT INTO wide SELECT {AT} + make_interval(mins => (k / 8)::integer), n FROM generate_series(0, 400) k, \
                LATERAL (SELECT (ARRAY['NaN', '1e400', '-1e400', 'Infinity', '0.0000005', '1.0000015', '1e15', '12.3456785']::numeric[])[k % 8 + 1] AS n) v"
    ));
    assert!(m.number("SELECT errors FROM monitor_stats") > errors + 4);
    assert_eq!(m.number("SELECT count(*) FROM wide"), 401);
    for name in ["cents", "kilos", "rates", "wide"] {
        m.assert_models_of(name);
    }
    assert_eq!(
        m.text("SELECT observed FROM scored_series('1 minute', timestamptz '2025-07-14 00:02+00', 'wide', '(total)')"),
        // 10^12 of the one that is larger, and the millionths of the others, to the nearest.
        "1000000000013.3457"
    );
    m.run("SET cloudwalk_monitor.strict = on");
    let error = m.refused(&format!(
        "INSERT INTO sales (at, shop, weight) VALUES ({AT} + interval '322 minutes', 'a', 'NaN')"
    ));
    assert!(error.message().contains("no number"), "{error:?}");
}

/// Counts of a status stay counts; whole amounts become values; both are exact.
#[test]
fn a_series_of_integers_chooses_its_family() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "families");
    m.run(
        "CREATE TABLE hits (at timestamptz NOT NULL, page text, n integer); \
         SELECT watch_table('hits', 'at', 'n', '{page}')",
    );
    m.run(&format!(
        "SELECT setseed(0.5); \
         INSERT INTO hits SELECT {AT} + make_interval(mins => m), 'steady', 20 + (9 * (random() + random() - 1))::integer \
           FROM generate_series(0, 1999) m; \
         INSERT INTO hits SELECT {AT} + make_interval(mins => m), 'cents', (-60000 * ln(1 - random()))::integer \
           FROM generate_series(0, 1999) m"
    ));
    m.assert_models_of("hits");
    assert_eq!(
        m.rows(
            "SELECT series, family FROM series_models('hits') WHERE series <> '(total)' ORDER BY 1"
        ),
        [["cents", "values"], ["steady", "counts"]]
    );
    // A copy that a transaction moves on through the hand-over of a family says what the sealed one does.
    m.run(&format!(
        "INSERT INTO hits SELECT {AT} + make_interval(mins => 2000 + m), p, 20 FROM generate_series(0, 30) m, unnest('{{cents,steady}}'::text[]) p"
    ));
    m.assert_models_of("hits");
}
