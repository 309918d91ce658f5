//! `scored_series` and `detect_anomalies`.

use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::iter::TableIterator;
use pgrx::prelude::*;
use pgrx::JsonB;

use super::look::{asked_stretch, fold_stretch, is_complete, label_of, Seen};
use super::{may_write, refuse_null, segment, verdict_name};
use crate::fold::{Shown, Subject};
use crate::monitor::Monitor;
use crate::reconcile::{self, Scope};
use crate::{calendar, key, quiet, settings, store};

type SeriesRow = (
    String,
    String,
    JsonB,
    TimestampWithTimeZone,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    Option<f64>,
    f32,
    i16,
    String,
    Option<String>,
);

/// Start of the time whose buckets may page, as this session is set.
fn alert_horizon(m: &Monitor, now: i64) -> i64 {
    let horizon = now.saturating_sub(settings::alert_horizon());
    match segment().and_then(|s| s.cell(m.id)) {
        Some((_, cell)) => quiet::horizon(m, cell, horizon),
        None => horizon,
    }
}

/// Every reading of a window; with `record`, what is new in it goes into `alerts`.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn read_series(
    window: Option<Interval>,
    until: Option<TimestampWithTimeZone>,
    monitor: Option<&str>,
    series: Option<&str>,
    record: Option<bool>,
) -> TableIterator<
    'static,
    (
        name!(monitor, String),
        name!(series, String),
        name!(labels, JsonB),
        name!(time, TimestampWithTimeZone),
        name!(observed, Option<f64>),
        name!(expected, Option<f64>),
        name!(lower, Option<f64>),
        name!(upper, Option<f64>),
        name!(score, f32),
        name!(direction, i16),
        name!(verdict, String),
        name!(reason, Option<String>),
    ),
> {
    let monitor = monitor.unwrap_or_else(|| refuse_null("monitor"));
    let m = store::monitor_by_name(monitor);
    let rules = store::rules(&m.name);
    let now = calendar::now();
    let s = asked_stretch(&m, window, until, now);
    let lateness = settings::lateness();
    let cal = &m.calendar;
    let mut rows: Vec<SeriesRow> = Vec::new();
    let mut show = |shown: Shown| {
        if series.is_some_and(|wanted| wanted != label_of(&m, &shown)) {
            return;
        }
        let seen = Seen::new(&m, &rules, &shown, lateness, now);
        let labels = match shown.subject {
            Subject::Total(_) => serde_json::json!({}),
            Subject::Series(f, _) => key::labels(&f.key, &m.series_columns),
            Subject::Ratio(r, ..) => serde_json::json!({ "ratio": r.name }),
        };
        rows.push((
            m.name.clone(),
            seen.label,
            JsonB(labels),
            store::timestamp(cal.start(shown.at.bucket)),
            Some(shown.observed),
            Some(shown.judgement.expected),
            seen.out.bounds.map(|b| b.lower),
            seen.out.bounds.map(|b| b.upper),
            seen.out.score as f32,
            i16::from(shown.judgement.direction),
            verdict_name(seen.out.verdict).into(),
            seen.out.reason,
        ));
    };
    let windows = store::maintenance(&m);
    let fold = fold_stretch(&m, &rules, &windows, &s, &mut show);
    if record.unwrap_or(false) && may_write() {
        let wanted: Vec<_> = reconcile::wanted_of_fold(&m, &rules, &fold)
            .into_iter()
            .filter(|w| {
                let i = &w.incident;
                i.opened <= s.to
                    && i.last_seen >= s.from
                    && (i.direction > 0 || is_complete(&m, i.opened, lateness, now))
            })
            .collect();
        if !wanted.is_empty() {
            reconcile::reconcile(
                &m,
                &wanted,
                &Scope {
                    series: None,
                    horizon: alert_horizon(&m, now),
                    retract_from: None,
                    sealed_at: cal.start(fold.sealed),
                    reach: None,
                    provisional: false,
                    current: false,
                },
            );
        }
    }
    TableIterator::new(rows)
}
