//! `chart_series` on a server.

use testbed::monitored::{calm_sql, minute, Monitored, EPOCH};
use testbed::Cluster;

#[test]
fn a_storm_is_drawn() {
    let cluster = Cluster::shared();
    let mut m = Monitored::create(&cluster, "drawn");
    m.run("SET timezone = 'UTC'");
    m.run(&calm_sql(EPOCH, 0, 240));
    for i in 240..250 {
        m.run(&format!(
            "INSERT INTO transactions (time, status, count) VALUES ({0}, 'denied', 40), ({0}, 'approved', 120), ({0}, 'failed', 0)",
            minute(i)
        ));
    }
    m.run(&calm_sql(EPOCH, 250, 275));
    m.until(
        "SELECT count(*) FROM incidents WHERE state = 'resolved'",
        "1",
    );
    let call = "SELECT * FROM chart_series('denied', '1 hour', '2025-07-14 12:30+00', width => 70, height => 8)";
    let lines = m.rows(call).concat();
    let text = lines.join("\n");
    assert!(
        lines[0].starts_with("denied, 2025-07-14 11:30 to 2025-07-14 12:30, last "),
        "{text}"
    );
    assert!(
        lines[0].ends_with("1 incident") || lines[0].ends_with('…'),
        "{text}"
    );
    assert_eq!(lines.len(), 1 + 8 + 2 + 1 + 1, "{text}");
    assert!(lines.iter().all(|l| l.chars().count() <= 70), "{text}");
    let marked = lines[1..9].concat().matches('◆').count();
    // The windows go on speaking for some minutes after the storm.
    assert!((10..=30).contains(&marked), "{text}");
    assert!(
        lines[10].contains("11:30") && lines[10].contains("12:18"),
        "{text}"
    );
    let lane = lines[11].matches('━').count();
    assert!((10..=25).contains(&lane), "{lane}\n{text}");
    // The session's time zone, and nothing anomalous in another series.
    m.run("SET timezone = 'America/Sao_Paulo'");
    let calm = m.rows(&call.replace("denied", "approved")).concat();
    assert!(calm[0].contains("2025-07-14 08:30"), "{calm:?}");
    assert_eq!(calm[1..9].concat().matches('◆').count(), 0);
    // The total, a series without a reading in the window, a whole month.
    for (series, window) in [
        ("(total)", "1 hour"),
        ("failed", "1 hour"),
        ("denied", "30 days"),
    ] {
        let lines = m
            .rows(&format!(
                "SELECT chart_series('{series}', '{window}', '2025-07-14 12:30+00')"
            ))
            .concat();
        assert!(lines.len() > 18, "{lines:?}");
    }
    for (call, state) in [
        ("chart_series('nothing')", "42704"),
        ("chart_series('denied', width => 10)", "22023"),
        ("chart_series('denied', height => 0)", "22023"),
        ("chart_series('denied', '-1 hour')", "22023"),
        ("chart_series('denied', monitor => 'nowhere')", "42704"),
        ("chart_series(NULL)", "22004"),
    ] {
        let e = m.refused(&format!("SELECT {call}"));
        assert_eq!(e.code().code(), state, "{call}");
        assert!(e.detail().is_some() && e.hint().is_some(), "{call}: {e:?}");
    }
}
