//! The functions that SQL calls. Each reads its arguments, asks `fold`, `round` or `store`, and shapes rows.

use std::sync::atomic::Ordering;

use detector::{reason, score, Bounds, Judgement, Limits, ReasonInput, Verdict};
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::iter::{SetOfIterator, TableIterator};
use pgrx::prelude::*;
use pgrx::JsonB;

use crate::fault::raise;
use crate::fold::{Fold, Shown};
use crate::monitor::{follows_clock, Monitor, Rule};
use crate::overlay::{self, opinion, Reading};
use crate::reconcile::{self, Scope};
use crate::round::{self, Place};
use crate::shared::{self, Direction, Segment, NEVER};
use crate::{calendar, key, settings, store, worker};

fn verdict_name(v: Verdict) -> &'static str {
    match v {
        Verdict::Learning => "learning",
        Verdict::Normal => "normal",
        Verdict::Warning => "warning",
        Verdict::Critical => "critical",
    }
}

fn severity_name(v: u8) -> &'static str {
    if v == Verdict::Critical as u8 {
        "critical"
    } else {
        "warning"
    }
}

fn span_us(i: &Interval) -> i64 {
    const DAY_US: i64 = 86_400_000_000;
    i.micros()
        .saturating_add(i64::from(i.days()).saturating_mul(DAY_US))
        .saturating_add(i64::from(i.months()).saturating_mul(30 * DAY_US))
}

fn refuse_null(what: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        format!("{what} must not be NULL"),
        "The call has to say what to look at.".into(),
        "Leave the argument out to get its default.",
    )
}

/// Whether this transaction may write.
fn may_write() -> bool {
    // SAFETY: reads flags of the transaction.
    unsafe { !pg_sys::RecoveryInProgress() && !pg_sys::XactReadOnly }
}

fn segment() -> Option<Segment> {
    let extension = store::extension()?;
    let s = shared::attach(extension)?;
    worker::ensure(s);
    Some(s)
}

/// The bounds that belong to a verdict: a side that may not alert is open.
fn bounds(stat: Bounds, limits: &Limits, direction: Direction) -> Bounds {
    let open = Bounds {
        lower: if direction.allows(-1) {
            stat.lower
        } else {
            0.0
        },
        upper: if direction.allows(1) {
            stat.upper
        } else {
            f64::INFINITY
        },
    };
    limits.narrow(open)
}

/// How a series is looked at: its name and rule.
struct Eye<'a> {
    label: &'a str,
    limits: Limits,
    direction: Direction,
    pace: detector::Pace,
}

/// A reading as the reading functions show it.
struct Scored {
    verdict: Verdict,
    score: f64,
    bounds: Option<Bounds>,
    reason: Option<String>,
}

impl Eye<'_> {
    fn look(&self, before: &detector::Series, j: &Judgement, x: f64, complete: bool) -> Scored {
        let o = opinion(j, &self.limits, self.direction, x, complete);
        if j.learning {
            let seen = before.readings().min(30);
            let reason = self
                .limit_reason(j, x)
                .unwrap_or_else(|| format!("learning: {seen} of 30 buckets seen"));
            return Scored {
                verdict: o.verdict,
                score: 0.0,
                bounds: None,
                reason: Some(reason),
            };
        }
        let stat = before.bounds();
        let reason = (o.verdict >= Verdict::Warning).then(|| {
            self.limit_reason(j, x)
                .filter(|_| j.verdict() < o.verdict || !self.direction.allows(j.direction))
                .unwrap_or_else(|| reason(self.label, &ReasonInput::from((j, stat, x)), self.pace))
        });
        Scored {
            verdict: o.verdict,
            score: o.score.unwrap_or(0.0),
            bounds: Some(bounds(stat, &self.limits, self.direction)),
            reason,
        }
    }

    fn limit_reason(&self, j: &Judgement, x: f64) -> Option<String> {
        let broken = self.limits.broken(x)?;
        let input = ReasonInput::of_limit(x, j.expected, &broken);
        Some(reason(self.label, &input, self.pace))
    }
}

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

/// A reading of a fold, under the name and the rule of its series.
struct Seen {
    label: String,
    out: Scored,
}

/// Whether no row of a bucket is waited for any more.
fn is_complete(m: &Monitor, bucket: i64, lateness: i64, now: i64) -> bool {
    m.calendar.start(bucket + 1).saturating_add(lateness) <= now
}

impl Seen {
    fn new(m: &Monitor, rules: &[Rule], shown: &Shown, lateness: i64, now: i64) -> Seen {
        let complete = is_complete(m, shown.at.bucket, lateness, now);
        let label = shown
            .series
            .map_or(key::TOTAL.to_string(), |f| m.label(&f.key));
        let ruled = rules
            .iter()
            .find(|r| r.series == key::TOTAL)
            .and_then(|r| r.direction);
        // The total speaks for silence only, unless a rule says otherwise.
        let (limits, direction, counts) = match shown.series {
            Some(f) => (f.limits, f.direction, complete),
            None => (
                Limits::NONE,
                ruled.unwrap_or(Direction::Low),
                complete && (shown.observed == 0.0 || ruled.is_some()),
            ),
        };
        let eye = Eye {
            label: &label,
            limits,
            direction,
            pace: m.calendar.pace(),
        };
        let mut out = eye.look(shown.before, &shown.judgement, shown.observed, counts);
        if shown.series.is_none() && ruled.is_none() {
            out.bounds = out.bounds.map(|b| Bounds {
                lower: b.lower.min(1.0),
                upper: b.upper,
            });
        }
        Seen { label, out }
    }
}

/// The stretch that a window and its end mean.
fn asked_stretch(
    m: &Monitor,
    window: Option<Interval>,
    until: Option<TimestampWithTimeZone>,
    now: i64,
) -> Stretch {
    let window = window.unwrap_or_else(|| refuse_null("window"));
    let until = store::micros(until.unwrap_or_else(|| refuse_null("until")));
    let span = span_us(&window);
    if span <= 0 {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "window must be longer than nothing".into(),
            "It reaches back from until.".into(),
            "Give for example '1 hour'.",
        );
    }
    let until = until.clamp(
        i64::MIN / 4,
        now.saturating_add(settings::future_tolerance()),
    );
    stretch(m, until.saturating_sub(span), until)
}

/// The stretch of buckets a call is about.
struct Stretch {
    from: i64,
    to: i64,
}

fn stretch(m: &Monitor, since: i64, until: i64) -> Stretch {
    let w = m.calendar.width;
    let ceil = |t: i64| -(-t).div_euclid(w);
    Stretch {
        from: ceil(since),
        to: ceil(until) - 1,
    }
}

/// Folds a monitor from its newest stored state before a stretch to its end.
fn fold_stretch<'a>(
    m: &'a Monitor,
    rules: &'a [Rule],
    s: &Stretch,
    show: &mut dyn FnMut(Shown),
) -> Fold<'a> {
    let cal = &m.calendar;
    let mut fold = Fold::new(m, rules);
    round::resume_stored(m, &mut fold, s.from.saturating_sub(1));
    fold.show_from = s.from;
    let from = if fold.sealed == i64::MIN {
        i64::MIN
    } else {
        cal.start(fold.sealed + 1)
    };
    let now = calendar::now();
    let limit = now.saturating_add(settings::future_tolerance());
    let to = cal
        .start(s.to.saturating_add(1))
        .min(limit.saturating_add(1));
    let mut newest = fold.sealed;
    store::scan(m, from, to, &mut |(bucket, key, sum, rows)| {
        newest = newest.max(bucket);
        fold.add(bucket, key, sum, rows, show);
    });
    // Buckets after the last row are silent ones only where the stream keeps up with the clock.
    let latest = store::newest(m, limit).unwrap_or(i64::MIN);
    let clock = now.div_euclid(cal.width);
    let follows = follows_clock(m, latest, now);
    let end = if latest > s.to {
        s.to
    } else if follows {
        s.to.min(clock)
    } else {
        s.to.min(newest)
    };
    fold.finish(end, show);
    fold
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
        let seen = Seen::new(&m, &rules, &shown, lateness, now);
        if series.is_some_and(|wanted| wanted != seen.label) {
            return;
        }
        let labels = match shown.series {
            Some(f) => key::labels(&f.key, &m.series_columns),
            None => serde_json::json!({}),
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
    let fold = fold_stretch(&m, &rules, &s, &mut show);
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
                    horizon: now.saturating_sub(settings::alert_horizon()),
                    retract_from: None,
                    sealed_at: cal.start(fold.sealed),
                    provisional: false,
                    current: false,
                },
            );
        }
    }
    TableIterator::new(rows)
}

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
    if !fits(width, chart::LEAST.0, chart::MOST.0) || !fits(height, chart::LEAST.1, chart::MOST.1) {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("a chart of {width} by {height} cannot be drawn"),
            format!(
                "Width is {} to {}, height {} to {}.",
                chart::LEAST.0,
                chart::MOST.0,
                chart::LEAST.1,
                chart::MOST.1
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
    let mut points: Vec<(i64, chart::Point)> = Vec::new();
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
            chart::Point {
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
    let mut all: Vec<chart::Point> = Vec::new();
    let first = points.first().map_or(s.from, |(b, _)| *b);
    for (bucket, p) in &points {
        let missing = (bucket - first).max(0) as usize;
        all.resize(
            missing.max(all.len()),
            chart::Point {
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
    let lines = chart::Chart {
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
    ),
> {
    let m = store::monitor_by_name(monitor.unwrap_or_else(|| refuse_null("monitor")));
    let since = store::micros(since.unwrap_or_else(|| refuse_null("since")));
    let until = store::micros(until.unwrap_or_else(|| refuse_null("until")));
    if sensitivity.is_some() {
        raise(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "sensitivity cannot be given yet".into(),
            "The threshold is built in.".into(),
            "Leave it out, or pass NULL.",
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
    let rules = store::rules(&m.name);
    let s = stretch(&m, since.max(i64::MIN / 4), until.min(i64::MAX / 4));
    let fold = fold_stretch(&m, &rules, &s, &mut |_| {});
    let cal = &m.calendar;
    let rows: Vec<_> = reconcile::wanted_of_fold(&m, &rules, &fold)
        .into_iter()
        .filter(|w| !w.muted && w.incident.opened >= s.from && w.incident.opened <= s.to)
        .map(|w| {
            let i = w.incident;
            (
                w.series.clone(),
                i16::from(i.direction),
                severity_name(i.severity).to_string(),
                store::timestamp(cal.start(i.opened)),
                store::timestamp(cal.start(i.last_seen)),
                (!i.is_open()).then(|| store::timestamp(cal.start(i.resolved))),
                i.peak_observed,
                i.peak_expected,
                score(i.peak_surprise) as f32,
                i.buckets as i32,
                reason(&w.series, &ReasonInput::from(&i), cal.pace()),
            )
        })
        .collect();
    TableIterator::new(rows)
}

/// What the trigger would say of a reading of `transactions`.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn read_recommendation(
    status: Option<&str>,
    count: Option<i32>,
    time: Option<TimestampWithTimeZone>,
) -> TableIterator<
    'static,
    (
        name!(expected, Option<f64>),
        name!(lower, Option<f64>),
        name!(upper, Option<f64>),
        name!(score, f32),
        name!(direction, i16),
        name!(verdict, String),
        name!(reason, Option<String>),
    ),
> {
    let status = status.unwrap_or_else(|| refuse_null("status"));
    let count = count.unwrap_or_else(|| refuse_null("count"));
    let time = store::micros(time.unwrap_or_else(|| refuse_null("time")));
    if count < 0 || status.is_empty() || status.chars().count() > 200 {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "this reading could not be inserted".into(),
            "A status has 1 to 200 characters, and a count is not negative.".into(),
            "Ask about a reading that the table transactions would take.",
        );
    }
    let m = store::monitor_by_name(crate::monitor::SHIPPED_NAME);
    let cal = &m.calendar;
    let nothing = |why: &str| {
        (
            None,
            None,
            None,
            0.0f32,
            0i16,
            "learning".to_string(),
            Some(why.to_string()),
        )
    };
    let now = calendar::now();
    let judgeable = time <= now.saturating_add(settings::future_tolerance());
    let row = match (cal.bucket(time), segment()) {
        (Some(bucket), Some(s)) if judgeable => {
            let mut k = Vec::new();
            key::push(&mut k, Some(status.as_bytes()));
            key::bound(&mut k);
            let complete = cal.start(bucket + 1) <= now && count != 1;
            let reading = Reading {
                bucket,
                count: i64::from(count),
                complete,
            };
            match overlay::with(|o| o.peek(s, &m, &k, reading)) {
                None => {
                    nothing("the models are being loaded, or the time lies before what is sealed")
                }
                Some(p) => {
                    let eye = Eye {
                        label: status,
                        limits: p.limits,
                        direction: p.direction,
                        pace: cal.pace(),
                    };
                    let out = eye.look(&p.state, &p.judgement, p.observed, p.complete);
                    (
                        Some(p.judgement.expected),
                        out.bounds.map(|b| b.lower),
                        out.bounds.map(|b| b.upper),
                        out.score as f32,
                        i16::from(p.judgement.direction),
                        verdict_name(out.verdict).to_string(),
                        out.reason,
                    )
                }
            }
        }
        (Some(_), Some(_)) => nothing("the time lies in the future"),
        (None, _) => nothing("the time is infinite"),
        (_, None) => nothing("no shared memory for the models"),
    };
    TableIterator::once(row)
}

/// Records that somebody took an incident on.
#[pg_extern(sql = false)]
fn record_acknowledgement(id: Option<i64>, note: Option<&str>, actor: Option<&str>) -> i64 {
    let id = id.unwrap_or_else(|| refuse_null("id"));
    if !may_write() {
        raise(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "an incident cannot be acknowledged in a read-only transaction".into(),
            "It is recorded in alerts.".into(),
            "Acknowledge it on the primary.",
        );
    }
    store::append_lock();
    let Some(incident) = store::incident(id) else {
        raise(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("incident {id} does not exist"),
            "An incident has the id of its opened alert.".into(),
            "See the view incidents.",
        )
    };
    if incident.state != "open" && incident.state != "acknowledged" {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("incident {id} is {}", incident.state),
            "Only an incident that goes on can be acknowledged.".into(),
            "See the state column of the view incidents.",
        );
    }
    let (alert, payload) = store::append_acknowledgement(id, &incident, actor.unwrap_or(""), note);
    store::notify(&payload);
    alert
}

/// One round by hand.
#[pg_extern(sql = false)]
fn run_monitor(at: TimestampWithTimeZone) -> i32 {
    let at = store::micros(at).min(calendar::now());
    if !may_write() {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "a round cannot be run in a read-only transaction".into(),
            "It records alerts.".into(),
            "Run it on the primary. detect_anomalies reads on a standby too.",
        );
    }
    // SAFETY: reads a setting of the transaction.
    if unsafe { pg_sys::XactIsoLevel } > pg_sys::XACT_READ_COMMITTED as i32 {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "a round needs isolation level READ COMMITTED".into(),
            "It has to see what has committed by now.".into(),
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;",
        );
    }
    let Some(s) = segment() else {
        raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "there is no shared memory for the models".into(),
            "It could not be created or attached.".into(),
            "See the server log, and cloudwalk_monitor.shared_memory.",
        )
    };
    shared::transaction_lock(shared::LOCK_ROUND, true);
    round::look_at_prepared(s);
    let horizon = calendar::now().saturating_sub(store::configured_alert_horizon());
    let monitors = store::monitors();
    let mut loads = Vec::new();
    for m in &monitors {
        let Some(place) = Place::of(s, m) else {
            continue;
        };
        // SAFETY: reads the transaction state. A load needs a transaction that has not written.
        let clean = unsafe { pg_sys::GetTopTransactionIdIfAny() } == pg_sys::InvalidTransactionId;
        if place.needs_load() && clean {
            round::adopt_prepared(s, place.index);
            loads.push(round::load(&place));
        } else {
            loads.push(None);
        }
    }
    let mut added = 0;
    for (m, loaded) in monitors.iter().zip(loads) {
        let Some(place) = Place::of(s, m) else {
            continue;
        };
        if let Some(l) = loaded {
            added += round::record_load(m, &l, horizon);
        }
        let rules = store::rules(&m.name);
        if round::rules_are_stale(&place) {
            round::apply_rules(&place, &rules);
        }
        place.seal(at);
        if let Some(changes) = round::survey(&place, &rules) {
            if !changes.is_empty() {
                added += round::record_changes(&place, &changes, horizon);
                // This transaction may yet roll back: the next survey must see the same again.
                for (_, slot) in s.slots_of(place.cell) {
                    slot.changed.store(1, Ordering::Release);
                }
            }
        }
    }
    added as i32
}

/// Has the worker look for monitors and rules once this commits.
#[pg_extern(sql = false)]
fn start_monitor() {
    if segment().is_some() {
        overlay::with(|o| o.rules_changed());
    }
}

/// Compares the shared models with a fold of the whole table.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn verify_models(
    monitor: &str,
) -> TableIterator<
    'static,
    (
        name!(series, String),
        name!(sealed_at, Option<TimestampWithTimeZone>),
        name!(same, bool),
        name!(detail, String),
    ),
> {
    let m = store::monitor_by_name(monitor);
    let cal = &m.calendar;
    let mut out = Vec::new();
    let Some(place) = segment().and_then(|s| Place::of(s, &m)) else {
        return TableIterator::new(vec![(
            key::TOTAL.to_string(),
            None,
            false,
            "no shared memory".into(),
        )]);
    };
    if place.needs_load() {
        worker::wake(place.segment);
        return TableIterator::new(vec![(
            key::TOTAL.to_string(),
            None,
            false,
            "the models wait to be loaded".into(),
        )]);
    }
    let held = place.segment.read(place.cell);
    let sealed = held.model().sealed;
    let ground = held.model().ground;
    let shared: Vec<_> = place
        .segment
        .slots_of(place.cell)
        .map(|(n, slot)| {
            let sums: Vec<i64> = slot
                .sums
                .iter()
                .map(|v| v.load(Ordering::Acquire))
                .collect();
            (slot.key().to_vec(), *held.slot(n), sums)
        })
        .collect();
    drop(held);
    let rules = store::rules(&m.name);
    let mut fold = Fold::new(&m, &rules);
    let limit = calendar::now().saturating_add(settings::future_tolerance());
    let mut open: std::collections::HashMap<(Vec<u8>, i64), i64> = Default::default();
    store::scan(&m, i64::MIN, limit.saturating_add(1), &mut |(
        b,
        k,
        sum,
        rows,
    )| {
        if b > sealed {
            *open.entry((k.to_vec(), b)).or_default() += sum;
        } else {
            fold.add(b, k, sum, rows, &mut |_| {});
        }
    });
    fold.finish(sealed, &mut |_| {});
    let at = (sealed != i64::MIN).then(|| store::timestamp(cal.start(sealed)));
    let same = ground.total.encode() == fold.ground.total.encode()
        && ground.blank.encode() == fold.ground.blank.encode();
    let detail = |a: u64, b: u64| format!("{a} readings in shared memory, {b} in the fold");
    out.push((
        key::TOTAL.to_string(),
        at,
        same,
        detail(ground.total.readings(), fold.ground.total.readings()),
    ));
    for (k, s, sums) in &shared {
        let label = m.label(k);
        let folded = fold.series.iter().find(|f| f.key == *k && f.born != NEVER);
        let (same, text) = match folded {
            None => (s.born == NEVER, "not in the table".to_string()),
            Some(f) => (
                s.born == f.born && s.series.encode() == f.series.encode(),
                detail(s.series.readings(), f.series.readings()),
            ),
        };
        out.push((label.clone(), at, same, text));
        for i in 1..=shared::RING as i64 {
            if sealed == i64::MIN {
                break;
            }
            let b = sealed + i;
            let in_ring = sums[b.rem_euclid(shared::RING as i64) as usize];
            let in_table = open.get(&(k.clone(), b)).copied().unwrap_or(0);
            if in_ring != in_table {
                out.push((
                    label.clone(),
                    Some(store::timestamp(cal.start(b))),
                    false,
                    format!("unsealed bucket: {in_ring} in shared memory, {in_table} in the table"),
                ));
            }
        }
    }
    for f in &fold.series {
        if f.born != NEVER && !shared.iter().any(|(k, _, _)| *k == f.key) {
            out.push((m.label(&f.key), at, false, "not in shared memory".into()));
        }
    }
    TableIterator::new(out)
}

/// Counters and the state of the worker.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn read_stats() -> TableIterator<
    'static,
    (
        name!(scored, i64),
        name!(late, i64),
        name!(rejected, i64),
        name!(errors, i64),
        name!(refolds, i64),
        name!(overflows, i64),
        name!(sealed, i64),
        name!(rounds, i64),
        name!(round_ms, f64),
        name!(alerts, i64),
        name!(series, i32),
        name!(series_capacity, i32),
        name!(worker_pid, Option<i32>),
        name!(last_round, Option<TimestampWithTimeZone>),
        name!(loading, i32),
        name!(dirty, i32),
        name!(monitors, i32),
        name!(worker_refused, bool),
        name!(attached, bool),
    ),
> {
    let Some(s) = segment() else {
        return TableIterator::once((
            0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, None, None, 0, 0, 0, false, false,
        ));
    };
    let h = s.header();
    let n = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed) as i64;
    let count = |f: &dyn Fn(&shared::Cell) -> bool| s.cells().filter(|(_, c)| f(c)).count() as i32;
    let pid = h.worker_pid.load(Ordering::Acquire);
    let last = h.last_round.load(Ordering::Acquire);
    TableIterator::once((
        n(&h.stats.scored),
        n(&h.stats.late),
        n(&h.stats.rejected),
        n(&h.stats.errors),
        n(&h.stats.refolds),
        n(&h.stats.overflows),
        n(&h.stats.sealed),
        n(&h.stats.rounds),
        h.stats.round_us.load(Ordering::Relaxed) as f64 / 1000.0,
        n(&h.stats.alerts),
        h.used.load(Ordering::Acquire) as i32,
        h.slots as i32,
        (pid != 0).then_some(pid),
        (last != 0).then(|| store::timestamp(last)),
        count(&|c| c.state.load(Ordering::Acquire) != shared::LIVE),
        count(&|c| c.dirty_from.load(Ordering::Acquire) != NEVER),
        count(&|_| true),
        h.worker_refused.load(Ordering::Acquire) != 0,
        true,
    ))
}
