//! `chart_series`.

use detector::Verdict;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::iter::SetOfIterator;
use pgrx::prelude::*;

use super::look::{asked_stretch, fold_stretch, label_of, look_at};
use super::refuse_null;
use crate::calendar::Calendar;
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
    let (width, height) = (width.unwrap_or(100), height.unwrap_or(16));
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
    let mut readings: Vec<(i64, ::chart::Point)> = Vec::new();
    let mut show = |shown: Shown| {
        if label_of(&shown) == series {
            let seen = look_at(Verdict::Learning, &m, &rules, &shown, lateness, now)
                .expect("no verdict is less");
            let point = ::chart::Point {
                observed: Some(shown.observed),
                expected: Some(shown.judgement.expected),
                band: seen.bounds.map(|b| (b.lower, b.upper)),
                anomalous: seen.verdict >= Verdict::Warning,
                incident: false,
            };
            readings.push((shown.at.bucket, point));
        }
    };
    let windows = store::maintenance(&m);
    let fold = fold_stretch(&m, &rules, &windows, &s, &mut show);
    let known = series == key::TOTAL
        || fold.series.iter().any(|f| f.label == series)
        || fold.ratios.iter().any(|r| r.name == series);
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
    let first = readings.first().map_or(s.from, |(b, _)| *b);
    let mut points = laid_out(first, &readings, s.to.min(now.div_euclid(cal.width)));
    let mut incidents = 0;
    for w in reconcile::wanted_of_fold(&m, &rules, &fold) {
        let i = &w.incident;
        if w.muted || w.series != series || i.opened > s.to || i.resolved < s.from {
            continue;
        }
        incidents += 1;
        for (bucket, point) in (first..).zip(&mut points) {
            point.incident |= (i.opened..=i.resolved).contains(&bucket);
        }
    }
    let clock = Calendar::new(cal.width, &store::session_zone(), cal.measure);
    let lines = ::chart::Chart {
        series,
        points: &points,
        wall: &|n| {
            clock
                .wall(cal.start(first + n as i64))
                .div_euclid(1_000_000)
                + EPOCH
        },
        incidents,
        width: width as usize,
        height: height as usize,
    }
    .draw();
    SetOfIterator::new(lines)
}

/// Seconds from 1970 to 2000, where the server's times begin.
const EPOCH: i64 = 946_684_800;

/// Most buckets of a chart.
const MOST_BUCKETS: i64 = 1_000_000;

/// A point for each bucket from the first reading to the end of the window; without data, a gap. Nothing where there
/// is no reading.
fn laid_out(first: i64, readings: &[(i64, ::chart::Point)], end: i64) -> Vec<::chart::Point> {
    let Some((last, _)) = readings.last() else {
        return Vec::new();
    };
    let buckets = end.max(*last) - first + 1;
    if buckets > MOST_BUCKETS {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "window is too long for a chart".into(),
            format!("It holds {buckets} buckets; {MOST_BUCKETS} can be drawn."),
            "Give a shorter window.",
        );
    }
    let mut points = vec![::chart::Point::default(); buckets as usize];
    for (bucket, point) in readings {
        points[(bucket - first) as usize] = *point;
    }
    points
}
