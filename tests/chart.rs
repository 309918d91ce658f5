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
    assert!(lines[0].starts_with("denied · "), "{text}");
    assert!(lines[0].ends_with(" · 1 incident"), "{text}");
    assert_eq!(lines.len(), 1 + 8 + 2 + 1 + 1, "{text}");
    assert!(lines.iter().all(|l| l.chars().count() <= 70), "{text}");
    let marked = lines[1..9].concat().matches('◆').count();
    assert!((10..=25).contains(&marked), "{marked}\n{text}");
    let times: Vec<&str> = lines[10].split_whitespace().collect();
    assert_eq!(
        times,
        ["11:30", "11:40", "11:50", "12:00", "12:10", "12:20"]
    );
    let lane = lines[11].matches('━').count();
    assert!((10..=25).contains(&lane), "{lane}\n{text}");
    // The session's time zone, and nothing anomalous in another series.
    m.run("SET timezone = 'America/Sao_Paulo'");
    let calm = m.rows(&call.replace("denied", "approved").replace("70", "100"));
    let calm = calm.concat();
    assert!(
        calm[0].starts_with("approved · 2025-07-14 08:30 to 09:30 · last "),
        "{calm:?}"
    );
    assert!(calm[0].contains(" or more) · 0 incidents"), "{calm:?}");
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
        assert_eq!(lines.len(), 21, "{lines:?}");
    }
    // One bucket; and a window in which nothing is known.
    for (window, until, count) in [
        ("1 minute", "2025-07-14 12:30+00", 21),
        ("1 hour", "2025-07-14 07:00+00", 2),
    ] {
        let call = format!("SELECT chart_series('approved', '{window}', '{until}')");
        let refused = count == 2;
        if refused {
            assert_eq!(m.refused(&call).code().code(), "42704");
        } else {
            assert_eq!(m.rows(&call).len(), count);
        }
    }
    // Long names and great numbers.
    let long = "x".repeat(200);
    m.run(&format!(
        "INSERT INTO transactions (time, status, count) VALUES ({0}, '{long}', 1200000)",
        minute(275)
    ));
    let lines = m.rows(&format!(
        "SELECT chart_series('{long}', '10 minutes', '2025-07-14 12:36+00')"
    ));
    let lines = lines.concat();
    assert!(lines[0].starts_with("xxxxxxxxxxxx"), "{lines:?}");
    assert!(
        lines[0].contains("… · ") && lines[0].contains(" · last 1.2M"),
        "{lines:?}"
    );
    assert!(lines.iter().all(|l| l.chars().count() <= 100), "{lines:?}");
    // The open minute of a stream that goes on, and the time since a stream ended.
    m.run("INSERT INTO transactions (status) VALUES ('approved')");
    let now = m.rows("SELECT chart_series()").concat();
    assert!(now[0].contains(" · last "), "{now:?}");
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
