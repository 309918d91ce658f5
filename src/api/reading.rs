//! `scored_series` and `detect_anomalies`.

use detector::Verdict;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::fcinfo::pg_getarg;
use pgrx::{pg_guard, pg_sys};

use super::look::{asked_stretch, fold_stretch, is_complete, label_of, look_at};
use super::table::{Table, Varlena};
use super::{may_write, refuse_null, segment};
use crate::calling::finfo;
use crate::fold::{Shown, Subject};
use crate::hash::QuickMap;
use crate::monitor::Monitor;
use crate::reconcile::{self, Scope};
use crate::{calendar, key, plan, quiet, settings, store};

/// The columns of both.
const COLUMNS: [pg_sys::Oid; 12] = [
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::JSONBOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::FLOAT8OID,
    pg_sys::FLOAT8OID,
    pg_sys::FLOAT8OID,
    pg_sys::FLOAT8OID,
    pg_sys::FLOAT4OID,
    pg_sys::INT2OID,
    // The type `verdict`, wherever it is.
    pg_sys::InvalidOid,
    pg_sys::TEXTOID,
];
const VERDICT: usize = 10;

/// What is asked for.
struct Asked {
    window: Option<Interval>,
    until: Option<TimestampWithTimeZone>,
    monitor: Option<String>,
    series: Option<String>,
}

impl Asked {
    /// # Safety
    /// `fcinfo` must be that of a call with these arguments, in this order; the last may be missing.
    unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Asked {
        Asked {
            window: pg_getarg(fcinfo, 0),
            until: pg_getarg(fcinfo, 1),
            monitor: pg_getarg(fcinfo, 2),
            series: ((*fcinfo).nargs > 3)
                .then(|| pg_getarg(fcinfo, 3))
                .flatten(),
        }
    }
}

finfo!(pg_finfo_scored_series_wrapper);
finfo!(pg_finfo_detect_anomalies_wrapper);

/// `scored_series(window interval, until timestamptz, monitor text, series text)`: every reading of a window.
///
/// # Safety
/// Called by the server as a function.
#[no_mangle]
#[pg_guard]
pub unsafe extern "C-unwind" fn scored_series_wrapper(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    let table = Table::of_call(fcinfo, &COLUMNS);
    read(table, Asked::of(fcinfo), Verdict::Learning, false);
    pg_sys::Datum::from(0usize)
}

/// `detect_anomalies(window interval, until timestamptz, monitor text)`: the anomalous readings of a window; what is new in
/// it goes into `alerts`.
///
/// # Safety
/// Called by the server as a function.
#[no_mangle]
#[pg_guard]
pub unsafe extern "C-unwind" fn detect_anomalies_wrapper(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    let table = Table::of_call(fcinfo, &COLUMNS);
    read(table, Asked::of(fcinfo), Verdict::Warning, may_write());
    pg_sys::Datum::from(0usize)
}

/// Start of the time whose buckets may page, as this session is set.
fn alert_horizon(m: &Monitor, now: i64) -> i64 {
    let horizon = now.saturating_sub(settings::alert_horizon());
    match segment().and_then(|s| s.cell(m.id)) {
        Some((_, cell)) => quiet::horizon(m, cell, horizon),
        None => horizon,
    }
}

/// A series as its rows name it.
struct Name {
    series: Varlena,
    labels: Varlena,
}

/// The names met so far, of ratios apart from those of series: they may be the same.
#[derive(Default)]
struct Names([QuickMap<String, Name>; 2]);

impl Names {
    fn of(&mut self, m: &Monitor, shown: &Shown) -> &Name {
        let label = label_of(shown);
        let known = &mut self.0[usize::from(matches!(shown.subject, Subject::Ratio(..)))];
        if !known.contains_key(label) {
            let labels = match shown.subject {
                Subject::Total(_) => serde_json::json!({}),
                Subject::Series(f, _) => key::labels(&f.key, &m.series_columns),
                Subject::Ratio(r, ..) => serde_json::json!({ "ratio": r.name }),
            };
            let name = Name {
                series: Varlena::text(label),
                labels: Varlena::jsonb(labels),
            };
            known.insert(label.to_string(), name);
        }
        &known[label]
    }
}

/// The readings of a window whose verdict is at least this; with `record`, what is new in it goes into `alerts`.
fn read(mut table: Table, asked: Asked, least: Verdict, record: bool) {
    let monitor = asked.monitor.unwrap_or_else(|| refuse_null("monitor"));
    let m = store::monitor_by_name(&monitor);
    let rules = store::rules(&m.name);
    let now = calendar::now();
    let s = asked_stretch(&m, asked.window, asked.until, now);
    let lateness = settings::lateness();
    let cal = &m.calendar;
    let series = asked.series.as_deref();
    let verdicts = plan::verdict_labels(table.type_of(VERDICT));
    let monitor = Varlena::text(&m.name);
    let mut names = Names::default();
    let mut show = |shown: Shown| {
        if series.is_some_and(|wanted| wanted != label_of(&shown)) {
            return;
        }
        let Some(seen) = look_at(least, &m, &rules, &shown, lateness, now) else {
            return;
        };
        let name = names.of(&m, &shown);
        let reason = seen.reason.as_deref().map(Varlena::text);
        table.put([
            Some(monitor.datum()),
            Some(name.series.datum()),
            Some(name.labels.datum()),
            Some(
                store::timestamp(cal.start(shown.at.bucket))
                    .into_inner()
                    .into(),
            ),
            Some(float8(shown.observed)),
            Some(float8(shown.judgement.expected)),
            seen.bounds.map(|b| float8(b.lower)),
            seen.bounds.map(|b| float8(b.upper)),
            Some((seen.score as f32).to_bits().into()),
            Some(i16::from(shown.judgement.direction).into()),
            verdicts.map(|of| of[seen.verdict as usize].into()),
            reason.as_ref().map(Varlena::datum),
        ]);
    };
    let windows = store::maintenance(&m);
    let fold = fold_stretch(&m, &rules, &windows, &s, &mut show);
    if !record {
        return;
    }
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

/// A float8 is passed by value, as its bits.
fn float8(x: f64) -> pg_sys::Datum {
    x.to_bits().into()
}
