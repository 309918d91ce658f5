//! `backtest_monitor`.

use detector::score;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use super::look::{fold_stretch, stretch};
use super::refuse_missing;
use crate::fault::raise;
use crate::{ledger, reconcile, store};

/// The incidents of a stretch, as the live path would have opened them.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn read_backtest(
    monitor: Option<&str>,
    since: Option<TimestampWithTimeZone>,
    until: Option<TimestampWithTimeZone>,
    sensitivity: Option<f32>,
) -> TableIterator<
    'static,
    (
        name!(series, String),
        name!(direction, i16),
        name!(severity, String),
        name!(opened_at, TimestampWithTimeZone),
        name!(last_seen_at, TimestampWithTimeZone),
        name!(resolved_at, Option<TimestampWithTimeZone>),
        name!(peak_observed, f64),
        name!(peak_expected, f64),
        name!(peak_score, f32),
        name!(buckets, i32),
        name!(reason, String),
        name!(group_opened_at, TimestampWithTimeZone),
    ),
> {
    let mut m = store::monitor_by_name(monitor.unwrap_or_else(|| refuse_missing("monitor")));
    let since = store::micros(since.unwrap_or_else(|| refuse_missing("since")));
    let until = store::micros(until.unwrap_or_else(|| refuse_missing("until")));
    if sensitivity.is_some_and(|s| !(0.0..=100.0).contains(&s)) {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "sensitivity must be between 0 and 100".into(),
            "50 is built in; more finds more.".into(),
            "Leave it out to use that of the rules.",
        );
    }
    if until <= since {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "until must be later than since".into(),
            "They bound the stretch that is folded.".into(),
            "Exchange them.",
        );
    }
    let mut rules = store::rules(&m.name);
    if let Some(s) = sensitivity {
        m.sensitivity = Some(s.into());
        for rule in &mut rules {
            rule.sensitivity = m.sensitivity;
        }
    }
    let s = stretch(&m, since.max(i64::MIN / 4), until.min(i64::MAX / 4));
    let windows = store::maintenance(&m);
    let fold = fold_stretch(&m, &rules, &windows, &s, &mut |_| {});
    let cal = &m.calendar;
    let mut wanted = reconcile::wanted_of_fold(&m, &rules, &fold);
    wanted.retain(|w| !w.muted);
    let rows: Vec<_> = reconcile::clusters(&m, wanted.iter().collect())
        .into_iter()
        .flat_map(|c| {
            let first = c.members[0].incident.opened;
            c.members.into_iter().map(move |w| (first, w))
        })
        .filter(|(_, w)| w.incident.opened >= s.from && w.incident.opened <= s.to)
        .map(|(first, w)| {
            let i = w.incident;
            (
                w.series.clone(),
                i16::from(i.direction),
                ledger::severity(reconcile::is_critical(&i)).to_string(),
                store::timestamp(cal.start(i.opened)),
                store::timestamp(cal.start(i.last_seen)),
                (!i.is_open()).then(|| store::timestamp(cal.start(i.resolved))),
                i.peak_observed,
                i.peak_expected,
                score(i.peak_surprise) as f32,
                i.buckets as i32,
                w.reason(&m),
                store::timestamp(cal.start(first)),
            )
        })
        .collect();
    TableIterator::new(rows)
}
