//! Reconciling: what the fold wants against what `alerts` records, and the difference appended.
//! Level-triggered: doing it twice adds nothing.

use detector::{reason, reason_of_share, score, Incident, ReasonInput, Verdict};
use pgrx::datum::datetime_support::ToIsoString;
use serde_json::{json, Map, Value};

use crate::fold::{Fold, FoldRatio};
use crate::key;
use crate::monitor::{total_direction, Monitor, Rule};
use crate::round::ActiveSnapshot;
use crate::shared::{Direction, RatioModel};
use crate::store::{self, Alert, Figures, Recorded};

/// By how many buckets late rows may move the start of an incident that is recorded already.
const SHIFT: i64 = 5;

/// An incident as the fold sees it.
#[derive(Clone)]
pub struct Wanted {
    pub series: String,
    pub labels: Value,
    /// Its figures are shares of a whole, not counts.
    pub share: bool,
    pub incident: Incident,
    /// Its direction may not alert: it is followed where it is recorded already, and never opened.
    pub muted: bool,
}

impl Wanted {
    /// What it is about, in words.
    pub fn reason(&self, m: &Monitor) -> String {
        let say = if self.share { reason_of_share } else { reason };
        say(
            &self.series,
            &ReasonInput::from(&self.incident),
            m.calendar.pace(),
        )
    }
}

/// What a reconciliation is about.
pub struct Scope {
    /// Series it speaks for; None: all of the monitor.
    pub series: Option<Vec<String>>,
    /// Buckets before this time page nobody.
    pub horizon: i64,
    /// Recorded incidents from here on that nobody wants are retracted; None: nothing is.
    pub retract_from: Option<i64>,
    /// The last sealed bucket's start: where an incident that nobody wants any more is resolved.
    pub sealed_at: i64,
    /// Whether what is too high in unsealed buckets is among the wanted.
    pub provisional: bool,
    /// Whether wanted incidents are the latest state, so that recorded ones may be closed by them.
    pub current: bool,
}

/// The rule of the total: it speaks for silence only, unless an operator gave it a direction.
fn total_alerts(rules: &[Rule], i: &Incident) -> bool {
    match total_direction(rules) {
        Some(d) => d.allows(i.direction),
        None => i.direction < 0 && i.is_silence(),
    }
}

/// Incidents of the total, of interest to `alerts`. Without a rule, one on the low side that has met no empty bucket
/// is none: where it is recorded, rows came into the silence later.
pub fn wanted_total(rules: &[Rule], incidents: &[Incident]) -> Vec<Wanted> {
    let by_rule = total_direction(rules).is_some();
    incidents
        .iter()
        .filter(|i| by_rule || i.direction > 0 || i.is_silence())
        .map(|i| Wanted {
            series: key::TOTAL.into(),
            labels: Value::Object(Map::new()),
            share: false,
            incident: *i,
            muted: !total_alerts(rules, i),
        })
        .collect()
}

/// Incidents of a series: those of the statistics and of the limits; where both see the same it is one.
pub fn wanted_series(
    m: &Monitor,
    series_key: &[u8],
    direction: Direction,
    by_statistics: &[Incident],
    by_limits: &[Incident],
) -> Vec<Wanted> {
    let series = m.label(series_key);
    let labels = key::labels(series_key, &m.series_columns);
    let wanted = |i: &Incident, muted| Wanted {
        series: series.clone(),
        labels: labels.clone(),
        share: false,
        incident: *i,
        muted,
    };
    let mut list: Vec<Wanted> = by_limits.iter().map(|i| wanted(i, false)).collect();
    list.extend(
        by_statistics
            .iter()
            .map(|i| wanted(i, !direction.allows(i.direction))),
    );
    merge(list)
}

/// Incidents of a ratio, as [`wanted_series`] has those of a series.
pub fn wanted_ratio(
    name: &str,
    model: &RatioModel,
    by_statistics: &[Incident],
    by_limits: &[Incident],
) -> Vec<Wanted> {
    let direction = Direction::from_u8(model.direction);
    let wanted = |i: &Incident, muted| Wanted {
        series: name.to_string(),
        labels: json!({ "ratio": name }),
        share: true,
        incident: *i,
        muted,
    };
    let mut list: Vec<Wanted> = by_limits.iter().map(|i| wanted(i, false)).collect();
    list.extend(
        by_statistics
            .iter()
            .map(|i| wanted(i, !direction.allows(i.direction))),
    );
    merge(list)
}

/// Joins overlapping incidents of one direction.
fn merge(mut list: Vec<Wanted>) -> Vec<Wanted> {
    list.sort_by_key(|w| (w.incident.direction, w.incident.opened));
    let mut out: Vec<Wanted> = Vec::new();
    for w in list {
        if let Some(last) = out.last_mut() {
            let a = &mut last.incident;
            let b = &w.incident;
            if a.direction == b.direction && b.opened <= a.resolved {
                // A muted one lends nothing to one that speaks.
                if last.muted && !w.muted {
                    *last = w;
                } else if last.muted == w.muted {
                    a.resolved = a.resolved.max(b.resolved);
                    a.last_seen = a.last_seen.max(b.last_seen);
                    a.severity = a.severity.max(b.severity);
                    a.buckets = a.buckets.max(b.buckets);
                    a.peak_surprise = a.peak_surprise.max(b.peak_surprise);
                    a.peak_by(b.peak_observed, b.peak_expected);
                }
                continue;
            }
        }
        out.push(w);
    }
    out.sort_by_key(|w| w.incident.opened);
    out
}

/// Everything a fold has seen.
pub fn wanted_of_fold(m: &Monitor, rules: &[Rule], fold: &Fold) -> Vec<Wanted> {
    let mut list = wanted_total(rules, &fold.total_incidents.list);
    for s in &fold.series {
        list.extend(wanted_series(
            m,
            &s.key,
            s.direction,
            &s.incidents.list,
            &s.limit_incidents.list,
        ));
    }
    for FoldRatio {
        name,
        model,
        incidents,
        limit_incidents,
    } in &fold.ratios
    {
        list.extend(wanted_ratio(
            name,
            model,
            &incidents.list,
            &limit_incidents.list,
        ));
    }
    list.sort_by_key(|w| w.incident.opened);
    list
}

/// The incidents a state remembers, oldest first.
pub fn remembered(recent: &[Incident], count: u32) -> Vec<Incident> {
    let n = recent.len() as u32;
    (count.saturating_sub(n)..count)
        .map(|k| recent[(k % n) as usize])
        .collect()
}

/// A number that changes when `alerts` should be looked at again.
pub fn signature(wanted: &[Wanted]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |v: u64| h = (h ^ v).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    for w in wanted.iter().filter(|w| !w.muted) {
        let i = &w.incident;
        add(i.opened as u64);
        add(i.resolved as u64);
        add(i.last_seen as u64);
        add(u64::from(i.severity) << 8 | i.direction as u8 as u64);
        add(u64::from(i.buckets));
        add(i.peak_observed.to_bits());
    }
    add(wanted.iter().filter(|w| w.muted).count() as u64);
    h | 1
}

/// Brings `alerts` up to what is wanted. Gives how many announced rows were added.
/// Takes the append lock, so the caller must be inside a transaction that may write.
pub fn reconcile(m: &Monitor, wanted: &[Wanted], scope: &Scope) -> usize {
    let start = |b: i64| m.calendar.start(b);
    let since = wanted
        .iter()
        .map(|w| start(w.incident.opened.saturating_sub(SHIFT)))
        .chain(scope.retract_from)
        .min()
        .unwrap_or(scope.sealed_at);
    store::append_lock();
    // Whoever had the lock before has recorded something since this statement began.
    let now = ActiveSnapshot::latest();
    let recorded = store::recorded(&m.name, since);
    drop(now);
    let mut recorded: Vec<Recorded> = recorded
        .into_iter()
        .filter(|r| scope.series.as_ref().is_none_or(|s| s.contains(&r.series)))
        .collect();
    let mut taken = vec![false; recorded.len()];
    let mut added = 0;
    for w in wanted {
        let i = &w.incident;
        // The same incident: recorded while it goes on, or a little before where late rows moved its start. An
        // older one that is still recorded as open is another, whose end was missed.
        let found = (0..recorded.len())
            .filter(|n| {
                let r = &recorded[*n];
                r.series == w.series
                    && i32::from(r.direction) == i32::from(i.direction)
                    && r.opened_at <= end_of(i, m)
                    && r.opened_at >= start(i.opened.saturating_sub(SHIFT))
                    && start(i.opened) <= r.resolved_at.unwrap_or(i64::MAX)
            })
            .max_by_key(|n| (recorded[*n].state != "retracted", recorded[*n].id));
        match found {
            Some(n) => {
                taken[n] = true;
                added += update(m, w, &mut recorded[n], scope);
            }
            None if w.muted || start(i.last_seen) < scope.horizon => {}
            None => {
                let id = append(m, w, None, "opened", scope);
                added += 1;
                if !i.is_open() {
                    append(m, w, Some(id), "resolved", scope);
                    added += 1;
                }
            }
        }
    }
    if scope.current {
        for (r, taken) in recorded.iter().zip(taken) {
            if taken || r.state == "retracted" {
                continue;
            }
            if r.opened_at > scope.sealed_at && !(scope.provisional && r.direction > 0) {
                // Of unsealed buckets this scope knows nothing.
                continue;
            }
            let unwanted = scope.retract_from.is_some_and(|from| r.opened_at >= from);
            if unwanted {
                close(m, r, "retracted", scope.sealed_at);
                added += 1;
            } else if r.is_open() {
                close(m, r, "resolved", scope.sealed_at);
                added += 1;
            }
        }
    }
    added
}

/// Retracts recorded incidents that opened after the newest row there is: the rows behind them are gone. Gives how many.
pub fn retract_beyond(m: &Monitor, newest: i64) -> usize {
    store::append_lock();
    let now = ActiveSnapshot::latest();
    let mut recorded = store::recorded(&m.name, newest);
    drop(now);
    recorded.retain(|r| r.opened_at > newest && r.state != "retracted");
    for r in &recorded {
        close(m, r, "retracted", newest);
    }
    recorded.len()
}

/// The worst of an incident so far, by name.
pub fn severity(i: &Incident) -> &'static str {
    if i.severity == Verdict::Critical as u8 {
        "critical"
    } else {
        "warning"
    }
}

fn end_of(i: &Incident, m: &Monitor) -> i64 {
    if i.is_open() {
        i64::MAX
    } else {
        m.calendar.start(i.resolved)
    }
}

/// Follows a recorded incident.
fn update(m: &Monitor, w: &Wanted, r: &mut Recorded, scope: &Scope) -> usize {
    let i = &w.incident;
    let critical = i.severity == Verdict::Critical as u8;
    let mut added = 0;
    if r.state == "retracted" || !r.is_open() && i.is_open() && scope.current {
        if w.muted || m.calendar.start(i.last_seen) < scope.horizon {
            return 0;
        }
        append(m, w, Some(r.id), "reopened", scope);
        r.state = "open".into();
        added += 1;
    }
    if !r.is_open() {
        if added == 0 && !i.is_open() && figures_differ(m, i, r) {
            // It is over, so these are its last figures; those recorded were corrected since.
            append(m, w, Some(r.id), "progress", scope);
        }
        return added;
    }
    if critical && !r.critical {
        append(m, w, Some(r.id), "escalated", scope);
        r.critical = true;
        added += 1;
    }
    if !i.is_open() {
        append(m, w, Some(r.id), "resolved", scope);
        r.state = "resolved".into();
        added += 1;
    } else if added == 0 {
        let seen = m.calendar.start(i.last_seen);
        let goes_on = seen > r.last_seen_at
            && (i.buckets as i32 > r.buckets || score(i.peak_surprise) as f32 > r.peak_score);
        // Only the survey knows all of an incident that goes on.
        let corrected = scope.provisional
            && (seen < r.last_seen_at
                || (i.buckets as i32) < r.buckets
                || is_further(r.peak_observed, i.peak_observed, i.direction));
        if goes_on || corrected {
            append(m, w, Some(r.id), "progress", scope);
        }
    }
    added
}

/// Whether a reading lies further out than another, on the side of an incident.
fn is_further(a: f64, b: f64, direction: i8) -> bool {
    let side = f64::from(direction);
    a * side > b * side
}

fn figures_differ(m: &Monitor, i: &Incident, r: &Recorded) -> bool {
    m.calendar.start(i.last_seen) != r.last_seen_at
        || i.buckets as i32 != r.buckets
        || i.peak_observed != r.peak_observed
        || score(i.peak_surprise) as f32 != r.peak_score
}

/// Appends a row for a wanted incident and announces it, unless it is only progress.
fn append(m: &Monitor, w: &Wanted, incident: Option<i64>, event: &str, scope: &Scope) -> i64 {
    let i = &w.incident;
    let start = |b: i64| m.calendar.start(b);
    let opening = event == "opened";
    // An incident that straddles the horizon opens at its first bad bucket inside.
    let time = match event {
        "opened" if start(i.opened) < scope.horizon => {
            start(scope.horizon.div_euclid(m.calendar.width) + 1).min(start(i.last_seen))
        }
        "opened" | "reopened" => start(i.opened),
        "resolved" => start(i.resolved),
        _ => start(i.last_seen),
    };
    let (observed, expected, surprise) = if opening {
        (i.observed, i.expected, i.surprise)
    } else {
        (i.peak_observed, i.peak_expected, i.peak_surprise)
    };
    let why = w.reason(m);
    let text = match event {
        "resolved" if i.is_accepted() => {
            format!(
                "{} stays at its new level, which is taken as normal from now on",
                w.series
            )
        }
        "resolved" if i.is_silence() && !w.share => format!("{} is back after silence", w.series),
        "resolved" => format!(
            "{} is back to normal after {} anomalous {}",
            w.series,
            i.buckets,
            if i.buckets == 1 { "bucket" } else { "buckets" }
        ),
        _ => why,
    };
    let (id, payload) = store::append(&Alert {
        incident,
        event,
        monitor: &m.name,
        series: &w.series,
        labels: w.labels.clone(),
        severity: severity(i),
        direction: i16::from(i.direction),
        time,
        observed: finite(observed),
        expected: finite(expected),
        lower: finite(i.lower),
        upper: finite(i.upper),
        score: score(surprise),
        reason: text,
        last_seen_at: start(i.last_seen),
        figures: Some(Figures {
            buckets: i.buckets as i32,
            peak_observed: i.peak_observed,
            peak_expected: i.peak_expected,
            peak_score: score(i.peak_surprise),
        }),
    });
    if event != "progress" {
        store::notify(&payload);
    }
    id
}

/// Ends a recorded incident that the fold does not know (any more).
fn close(m: &Monitor, r: &Recorded, event: &str, at: i64) {
    let text = if event == "retracted" {
        format!("{}: what caused the alert was corrected", r.series)
    } else {
        format!("{} is back to normal", r.series)
    };
    let (_, payload) = store::append(&Alert {
        incident: Some(r.id),
        event,
        monitor: &m.name,
        series: &r.series,
        labels: Value::Object(Map::new()),
        severity: if r.critical { "critical" } else { "warning" },
        direction: r.direction,
        time: at.max(r.opened_at),
        observed: None,
        expected: None,
        lower: None,
        upper: None,
        score: 0.0,
        reason: text,
        last_seen_at: r.last_seen_at,
        figures: None,
    });
    store::notify(&payload);
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// A time as ISO 8601 in UTC.
pub fn iso(us: i64) -> String {
    format!("{}Z", store::timestamp(us).to_utc().to_iso_string())
}

/// A text cut to at most so many bytes, at a character's end.
pub fn cut(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Labels, unless they are so long that they would burst the payload.
pub fn small(labels: &Value) -> Value {
    if labels.to_string().len() <= 2000 {
        labels.clone()
    } else {
        Value::Object(Map::new())
    }
}

fn rounded(x: Option<f64>) -> Value {
    x.map_or(Value::Null, |x| json!((x * 100.0).round() / 100.0))
}

/// What is announced; always under 8,000 bytes.
pub fn payload(id: i64, incident: i64, a: &Alert) -> Value {
    json!({
        "v": 1,
        "alert": id,
        "incident": incident,
        "event": a.event,
        "monitor": cut(a.monitor, 400),
        "series": cut(a.series, 400),
        "labels": small(&a.labels),
        "severity": a.severity,
        "direction": a.direction,
        "time": iso(a.time),
        "observed": rounded(a.observed),
        "expected": rounded(a.expected),
        "lower": rounded(a.lower),
        "upper": rounded(a.upper),
        "score": rounded(Some(a.score)),
        "reason": cut(&a.reason, 1000),
    })
}
