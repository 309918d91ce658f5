//! `chart_series`.

use detector::Verdict;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::iter::SetOfIterator;
use pgrx::prelude::*;

use super::look::{asked_stretch, fold_stretch, Seen};
use super::refuse_null;
use crate::fault::raise;
use crate::fold::Shown;
use crate::{calendar, key, reconcile, settings, store};

/// A series against its band, as lines of text.
#[pg_extern(sql = false)]
fn read_chart(
    series: Option<&str>,
    window: Option<Interval>,
    until: Option<TimestampWithTimeZone>,
    monitor: Option<&str>,
    width: Option<i32>,
    height: Option<i32>,
) -> SetOfIterator<'static, String> {
    let series = series.unwrap_or_else(|| refuse_null("series"));
    let monitor = monitor.unwrap_or_else(|| refuse_null("monitor"));
    let (width, height) = (width.unwrap_or(100), height.unwrap_or(20));
    let fits = |v: i32, least: usize, most: usize| (least..=most).contains(&(v.max(0) as usize));
    if !fits(width, ::chart::LEAST.0, ::chart::MOST.0)
        || !fits(height, ::chart::LEAST.1, ::chart::MOST.1)
    {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("a chart of {width} by {height} cannot be drawn"),
            format!(
                "Width is {} to {}, height {} to {}.",
                ::chart::LEAST.0,
                ::chart::MOST.0,
                ::chart::LEAST.1,
                ::chart::MOST.1
            ),
            "Give the width and height of your terminal.",
        );
    }
    let m = store::monitor_by_name(monitor);
    let cal = &m.calendar;
    let rules = store::rules(&m.name);
    let now = calendar::now();
    let s = asked_stretch(&m, window, until, now);
    let lateness = settings::lateness();
    let mut points: Vec<(i64, ::chart::Point)> = Vec::new();
    let mut known = series == key::TOTAL;
    let mut last = String::new();
    let mut show = |shown: Shown| {
        let seen = Seen::new(&m, &rules, &shown, lateness, now);
        if seen.label != series {
            return;
        }
        known = true;
        let band = seen.out.bounds;
        last = format!(
            ", last {} of {:.1}{}",
            shown.observed,
            shown.judgement.expected,
            band.map_or(String::new(), |b| format!(
                " ({} to {})",
                b.lower.ceil(),
                b.upper.floor()
            ))
        );
        points.push((
            shown.at.bucket,
            ::chart::Point {
                observed: Some(shown.observed),
                band: band.map(|b| (b.lower, b.upper)),
                anomalous: seen.out.verdict >= Verdict::Warning,
                incident: false,
            },
        ));
    };
    let fold = fold_stretch(&m, &rules, &s, &mut show);
    let known = known || fold.series.iter().any(|f| m.label(&f.key) == series);
    if !known {
        raise(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("series \"{}\" does not exist", reconcile::cut(series, 200)),
            format!(
                "Monitor \"{}\" has no row of it up to the end of the window.",
                m.name
            ),
            "SELECT DISTINCT series FROM scored_series() shows the names.",
        );
    }
    let mut incidents = 0;
    for w in reconcile::wanted_of_fold(&m, &rules, &fold) {
        let i = &w.incident;
        if w.muted || w.series != series || i.opened > s.to || i.resolved < s.from {
            continue;
        }
        incidents += 1;
        for (bucket, p) in &mut points {
            p.incident |= (i.opened..=i.resolved).contains(bucket);
        }
    }
    // Buckets without data are gaps.
    let mut all: Vec<::chart::Point> = Vec::new();
    let first = points.first().map_or(s.from, |(b, _)| *b);
    for (bucket, p) in &points {
        let missing = (bucket - first).max(0) as usize;
        all.resize(
            missing.max(all.len()),
            ::chart::Point {
                observed: None,
                band: None,
                anomalous: false,
                incident: false,
            },
        );
        all.push(*p);
    }
    const DAY_US: i64 = 86_400_000_000;
    let long = cal.start(s.to).saturating_sub(cal.start(s.from)) > DAY_US + DAY_US / 8;
    let name = |n: usize| {
        let pattern = if long { "DD Mon" } else { "HH24:MI" };
        store::shown_time(cal.start(first + n as i64), pattern)
    };
    let span = |b: i64| store::shown_time(cal.start(b), "YYYY-MM-DD HH24:MI");
    let end = points.last().map_or(s.to, |(b, _)| *b);
    let lines = ::chart::Chart {
        title: format!(
            "{series}, {} to {}{last}, {incidents} {}",
            span(first),
            span(end + 1),
            if incidents == 1 {
                "incident"
            } else {
                "incidents"
            }
        ),
        points: &all,
        name: &name,
        width: width as usize,
        height: height as usize,
    }
    .draw();
    SetOfIterator::new(lines)
}
