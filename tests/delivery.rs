//! How alerts leave the database: each once, in order, cut to size, and what happens when nobody takes them.

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

/// Texts that grow when JSON or UTF-8 writes them.
const GROWING: [&str; 4] = ["ü", "\u{1F4B3}", "\u{1}", "\""];

#[test]
fn no_payload_is_too_long() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "long");
    let listener = m.listen();
    for (n, c) in GROWING.iter().enumerate() {
        let name = c.repeat(3000);
        let (bytes, columns) = (
            c.len(),
            ["a", "b", "c"].map(|x| format!("\"{x}{}\"", "ü".repeat(30))),
        );
        // As much as a key takes: three times 80 bytes.
        let value = c.repeat(80 / bytes);
        m.client
            .execute(
                &format!(
                    "CREATE TABLE t{n} (at timestamptz, {0} text, {1} text, {2} text)",
                    columns[0], columns[1], columns[2]
                ),
                &[],
            )
            .unwrap();
        m.client
            .execute(
                &format!("SELECT watch_table('t{n}', 'at', NULL, $1::text[]::name[], name => $2)"),
                &[
                    &columns.each_ref().map(|c| c.trim_matches('"')).to_vec(),
                    &name,
                ],
            )
            .unwrap();
        m.client
            .execute(
                &format!(
                    "INSERT INTO t{n} SELECT timestamptz '{EPOCH}' + make_interval(mins => m), $1, $1, $1 \
                       FROM generate_series(1, 100) m, generate_series(1, 4) e"
                ),
                &[&value],
            )
            .unwrap();
        m.quiesce();
        m.client
            .execute(
                &format!(
                    "INSERT INTO t{n} SELECT {}, $1, $1, $1 FROM generate_series(1, 60)",
                    minute(101)
                ),
                &[&value],
            )
            .unwrap();
        m.until(
            "SELECT count(*) FROM incidents WHERE labels <> '{}'",
            &(n + 1).to_string(),
        );
        m.client
            .execute(
                "SELECT acknowledge_incident(max(id), $1) FROM incidents",
                &[&c.repeat(20_000)],
            )
            .unwrap();
    }
    let heard = m.announced(&listener);
    assert_eq!(heard.len(), 2 * GROWING.len(), "{heard:#?}");
    for p in &heard {
        assert!(p.len() < 8000, "{}", p.len());
        let same = m
            .client
            .query_one(
                "SELECT count(*) FROM alerts WHERE payload = $1::text::jsonb",
                &[p],
            )
            .unwrap();
        assert_eq!(
            same.get::<_, i64>(0),
            1,
            "what is recorded is what was announced: {p}"
        );
    }
    // The longest is not cut to nothing either.
    assert!(heard.iter().any(|p| p.len() > 4000));
    assert_eq!(m.number("SELECT errors FROM monitor_stats"), 0);
    m.run(&calm_sql(EPOCH, 0, 60));
    m.assert_models();
}
