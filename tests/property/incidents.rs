//! Recorded incidents against those of a backtest.

use std::time::Duration;

use testbed::monitored::Monitored;
use testbed::poll_until;

/// How long recording may take after the models are exact.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

/// Asserts that both have the same incidents, open or over, of all that is sealed. The start of a recorded one stays
/// where it was first seen; late rows and corrections may have the fold see it earlier, or by up to five buckets later. One that ended a moment ago may have been reopened by
/// what is too high in a bucket that is not sealed yet. One older than `sealed_horizon` may stay when the table was emptied.
pub fn assert_recorded(m: &mut Monitored, monitor: &str) {
    let mut last = Vec::new();
    let same = poll_until(RECORDED_WITHIN, || {
        last = difference(m, monitor);
        last.is_empty().then_some(())
    });
    if same.is_none() {
        let alerts = m.rows(&format!(
            "SELECT id, incident, at, event, series, direction, time, last_seen_at, reason FROM alerts \
              WHERE monitor = '{monitor}' ORDER BY id DESC LIMIT 60"
        ));
        let backtest = m.rows(&format!(
            "SELECT * FROM backtest_monitor('{monitor}', '1899-01-01', '2100-01-01') ORDER BY opened_at DESC LIMIT 20"
        ));
        let sealed = m.text(&format!(
            "SELECT min(sealed_at) FROM verify_models('{monitor}')"
        ));
        panic!(
            "{monitor}: recorded and backtest differ, sealed at {sealed}:\n{}\nbacktest, the latest first:\n{}\n\
             alerts, the latest first:\n{}",
            lines(&last),
            lines(&backtest),
            lines(&alerts)
        );
    }
}

fn lines(rows: &[Vec<String>]) -> String {
    rows.iter().map(|r| r.join(" | ") + "\n").collect()
}

fn difference(m: &mut Monitored, monitor: &str) -> Vec<Vec<String>> {
    let sealed = m.text(&format!(
        "SELECT min(sealed_at) FROM verify_models('{monitor}')"
    ));
    // Nothing is sealed of an empty table.
    let sealed = if sealed.is_empty() {
        "1900-01-01 00:00+00"
    } else {
        &sealed
    };
    let column = m.text(&format!(
        "SELECT time_column FROM monitors WHERE name = '{monitor}'"
    ));
    m.rows(&format!(
        "WITH backtest AS ( \
           SELECT series, direction, opened_at, resolved_at IS NULL AS open, \
                  coalesce(resolved_at, 'infinity') AS ended_at \
             FROM backtest_monitor('{monitor}', '1899-01-01', timestamptz '{sealed}' + interval '1 minute')), \
         live AS ( \
           SELECT id, series, direction, opened_at, state IN ('open', 'acknowledged') AS open \
             FROM incidents WHERE monitor = '{monitor}' AND state <> 'retracted'), \
         same AS ( \
           SELECT b.series, b.direction, b.opened_at, l.id FROM backtest b JOIN live l \
               ON l.series = b.series AND l.direction = b.direction \
              AND (l.open = b.open OR l.open AND l.direction > 0 AND b.ended_at >= '{sealed}'::timestamptz - interval '10 min') \
              AND l.opened_at BETWEEN b.opened_at - interval '5 min' AND b.ended_at) \
         SELECT 'only in the backtest' AS what, series, direction, opened_at, open FROM backtest b \
          WHERE NOT EXISTS (SELECT FROM same s WHERE s.series = b.series AND s.direction = b.direction \
                               AND s.opened_at = b.opened_at) \
         UNION ALL \
         SELECT 'only recorded', series, direction, opened_at, open FROM live l \
          WHERE NOT EXISTS (SELECT FROM same s WHERE s.id = l.id) AND (opened_at <= '{sealed}' OR direction < 0) \
            AND (opened_at >= now() - interval '7 days' OR EXISTS (SELECT FROM {monitor} WHERE {column} <= opened_at)) \
         UNION ALL \
         SELECT 'recorded as several', series, direction, opened_at, NULL FROM same \
          GROUP BY 2, 3, 4 HAVING count(*) > 1 \
         ORDER BY what, series, opened_at"
    ))
}
