//! Reconciling: what the fold wants against what `alerts` records, and the difference appended.
//! Level-triggered: doing it twice adds nothing.

use detector::{reason, reason_of_share, score, Alarm, Incident, ReasonInput, Verdict};
use serde_json::{json, Map, Value};

use crate::fault::{self, Boundary};
use crate::fold::Fold;
use crate::key;
use crate::ledger::{self, Alert, Figures, Recorded};
use crate::monitor::{total_direction, Monitor, Rule};
use crate::notices;

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
    /// Bucket in which it was last reopened; i64::MIN where it never was.
    pub reopened: i64,
    /// Whether it flaps.
    pub flapping: bool,
    /// Nobody is to hear of it: it is followed where it is recorded already, and never opened.
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

    fn new(series: &str, labels: &Value, incident: Incident, muted: bool) -> Wanted {
        Wanted {
            series: series.into(),
            labels: labels.clone(),
            share: false,
            incident,
            reopened: i64::MIN,
            flapping: false,
            muted,
        }
    }

    fn of_alarm(series: &str, labels: &Value, alarm: &Alarm, muted: bool) -> Wanted {
        Wanted {
            reopened: alarm.reopened,
            flapping: alarm.is_flapping(),
            ..Wanted::new(series, labels, alarm.incident, muted)
        }
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
    /// The newest bucket with a row: what is recorded of later ones has lost its rows. None: not known.
    pub reach: Option<i64>,
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

/// Incidents of the total, of interest to `alerts`: those that are heard of, and muted its own. Without a rule, one on
/// the low side that has met no empty bucket is none: where it is recorded, rows came into the silence later.
pub fn wanted_total(rules: &[Rule], own: &[Incident], alarms: &[Alarm]) -> Vec<Wanted> {
    let labels = Value::Object(Map::new());
    let by_rule = total_direction(rules).is_some();
    let counts = |i: &Incident| by_rule || i.direction > 0 || i.is_silence();
    let mut list: Vec<Wanted> = alarms
        .iter()
        .filter(|a| counts(&a.incident))
        .map(|a| {
            let muted = !total_alerts(rules, &a.incident);
            Wanted::of_alarm(key::TOTAL, &labels, a, muted)
        })
        .collect();
    list.extend(
        own.iter()
            .filter(|i| counts(i))
            .map(|i| Wanted::new(key::TOTAL, &labels, *i, true)),
    );
    merge(list)
}

/// Incidents of a series: those that are heard of, and muted its own, so that a rule that asks for more does not
/// retract what an older one has recorded.
pub fn wanted_series(
    m: &Monitor,
    series_key: &[u8],
    own: &[Incident],
    alarms: &[Alarm],
) -> Vec<Wanted> {
    let series = m.label(series_key);
    let labels = key::labels(series_key, &m.series_columns);
    let mut list: Vec<Wanted> = alarms
        .iter()
        .map(|a| Wanted::of_alarm(&series, &labels, a, false))
        .collect();
    list.extend(own.iter().map(|i| Wanted::new(&series, &labels, *i, true)));
    merge(list)
}

/// Incidents of a ratio, as [`wanted_series`] has those of a series.
pub fn wanted_ratio(name: &str, own: &[Incident], alarms: &[Alarm]) -> Vec<Wanted> {
    let labels = json!({ "ratio": name });
    let mut list: Vec<Wanted> = alarms
        .iter()
        .map(|a| Wanted::of_alarm(name, &labels, a, false))
        .collect();
    list.extend(own.iter().map(|i| Wanted::new(name, &labels, *i, true)));
    list.iter_mut().for_each(|w| w.share = true);
    merge(list)
}

/// Drops the muted that overlap one of their side that speaks.
fn merge(mut list: Vec<Wanted>) -> Vec<Wanted> {
    let speaking: Vec<Incident> = list
        .iter()
        .filter(|w| !w.muted)
        .map(|w| w.incident)
        .collect();
    list.retain(|w| {
        let i = &w.incident;
        let same = |s: &&Incident| {
            s.direction == i.direction && s.opened <= i.resolved && i.opened <= s.resolved
        };
        !w.muted || !speaking.iter().any(|s| same(&s))
    });
    list.sort_by_key(|w| w.incident.opened);
    list
}

/// Everything a fold has seen.
pub fn wanted_of_fold(m: &Monitor, rules: &[Rule], fold: &Fold) -> Vec<Wanted> {
    let mut list = wanted_total(rules, &fold.total_incidents.list, &fold.total_alarms.list);
    for s in &fold.series {
        list.extend(wanted_series(m, &s.key, &s.incidents.list, &s.alarms.list));
    }
    for r in &fold.ratios {
        list.extend(wanted_ratio(&r.name, &r.incidents.list, &r.alarms.list));
    }
    list.sort_by_key(|w| w.incident.opened);
    list
}

/// The incidents a state remembers, oldest first.
pub fn remembered<T: Copy>(recent: &[T], count: u32) -> Vec<T> {
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
        add(w.reopened as u64);
        add(u64::from(w.flapping));
    }
    add(wanted.iter().filter(|w| w.muted).count() as u64);
    h | 1
}

/// Brings `alerts` up to what is wanted. Gives how many state changes were recorded.
/// Takes the append lock, so the caller must be inside a transaction that may write.
pub fn reconcile(m: &Monitor, wanted: &[Wanted], scope: &Scope) -> usize {
    fault::at(Boundary::Reconcile);
    let start = |b: i64| m.calendar.start(b);
    let related = m.calendar.start(i64::from(m.reopen_within));
    let since = wanted
        .iter()
        .map(|w| start(w.incident.opened.saturating_sub(SHIFT)).saturating_sub(related))
        .chain(scope.retract_from)
        .min()
        .unwrap_or(scope.sealed_at);
    ledger::append_lock();
    let mut recorded: Vec<Recorded> = ledger::recorded(&m.name, since);
    let speaks_for = |r: &Recorded| scope.series.as_ref().is_none_or(|s| s.contains(&r.series));
    let mut taken = vec![false; recorded.len()];
    let mut rows: Vec<Alert> = Vec::new();
    let mut new: Vec<&Wanted> = Vec::new();
    // In an order that does not depend on where the series lie in memory.
    let mut in_order: Vec<&Wanted> = wanted.iter().collect();
    in_order.sort_by_key(|w| (w.incident.opened, &w.series, w.incident.direction));
    for w in in_order {
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
                update(m, w, &mut recorded[n], scope, &mut rows);
            }
            None if w.muted || start(i.last_seen) < scope.horizon => {}
            None => new.push(w),
        }
    }
    open(m, new, &recorded, scope, &mut rows);
    if scope.current {
        for (r, taken) in recorded.iter().zip(taken) {
            if taken || r.state == "retracted" || !speaks_for(r) {
                continue;
            }
            let gone = scope.reach.is_some_and(|newest| r.opened_at > newest);
            if r.opened_at > scope.sealed_at && !gone && !(scope.provisional && r.direction > 0) {
                // Of unsealed buckets this scope knows nothing.
                continue;
            }
            let unwanted = scope.retract_from.is_some_and(|from| r.opened_at >= from);
            if unwanted {
                rows.push(close(r, "retracted", scope.sealed_at));
            } else if r.is_open() {
                rows.push(close(r, "resolved", scope.sealed_at));
            }
        }
    }
    notices::announce(m, &mut rows);
    ledger::append_all(&m.name, &rows);
    rows.iter().filter(|a| a.event != "progress").count()
}

/// Incidents that came together, in order of opening.
pub struct Cluster<'a> {
    /// What opens after this bucket does not belong to them.
    until: i64,
    pub members: Vec<&'a Wanted>,
}

/// Groups incidents: one belongs to those of which one goes on when it opens, or ended within `reopen_window` before.
pub fn clusters<'a>(m: &Monitor, mut list: Vec<&'a Wanted>) -> Vec<Cluster<'a>> {
    let end = |w: &Wanted| {
        let near = i64::from(m.reopen_within);
        w.incident.resolved.saturating_add(near)
    };
    list.sort_by_key(|w| w.incident.opened);
    let mut out: Vec<Cluster> = Vec::new();
    for w in list {
        match out.last_mut() {
            Some(c) if w.incident.opened <= c.until => {
                c.until = c.until.max(end(w));
                c.members.push(w);
            }
            _ => out.push(Cluster {
                until: end(w),
                members: vec![w],
            }),
        }
    }
    out
}

/// Opens incidents, each in the group of those it came with: one that has a member that goes on, or that ended within
/// `reopen_window` before.
fn open(
    m: &Monitor,
    new: Vec<&Wanted>,
    recorded: &[Recorded],
    scope: &Scope,
    rows: &mut Vec<Alert>,
) {
    let related = m.calendar.start(i64::from(m.reopen_within));
    for Cluster { until, mut members } in clusters(m, new) {
        let first = m.calendar.start(members[0].incident.opened);
        let until = m.calendar.start(until);
        let known = recorded
            .iter()
            .filter(|r| r.state != "retracted" && r.opened_at <= until)
            .filter(|r| {
                r.resolved_at
                    .is_none_or(|t| first <= t.saturating_add(related))
            })
            .map(|r| r.group)
            .max();
        // The worst first: it stands for the group.
        members.sort_by(|a, b| {
            let key = |w: &Wanted| (w.incident.severity, w.incident.peak_surprise);
            key(b)
                .partial_cmp(&key(a))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut group = known;
        let mut ends = Vec::new();
        for w in members {
            let id = ledger::next_alert_id();
            let group = *group.get_or_insert(id);
            rows.push(row(m, w, id, group, "opened", scope));
            if !w.incident.is_open() {
                ends.push((w, id, group));
            }
        }
        ends.sort_by_key(|(w, _, _)| w.incident.resolved);
        for (w, id, group) in ends {
            rows.push(row(m, w, id, group, "resolved", scope));
        }
    }
}

/// Whether an incident is critical at its worst so far.
pub fn is_critical(i: &Incident) -> bool {
    i.severity == Verdict::Critical as u8
}

fn end_of(i: &Incident, m: &Monitor) -> i64 {
    if i.is_open() {
        i64::MAX
    } else {
        m.calendar.start(i.resolved)
    }
}

/// Follows a recorded incident.
fn update(m: &Monitor, w: &Wanted, r: &mut Recorded, scope: &Scope, rows: &mut Vec<Alert>) {
    let i = &w.incident;
    let start = |b: i64| m.calendar.start(b);
    let before = rows.len();
    let mut add = |event| rows.push(row(m, w, r.id, r.group, event, scope));
    // What a person resolved stays so until it has come to rest and returns, or is worse than he knew.
    let returned = !r.by_hand
        || is_critical(i) && !r.critical
        || r.resolved_at
            .is_some_and(|t| start(i.opened.max(w.reopened)) > t);
    if r.state == "retracted" || !r.is_open() && i.is_open() && scope.current && returned {
        if w.muted || start(i.last_seen) < scope.horizon {
            return;
        }
        add(if w.flapping { "flapping" } else { "reopened" });
        r.state = "open".into();
        r.flapping = w.flapping;
    }
    if !r.is_open() {
        if !i.is_open() && figures_differ(m, i, r) && !r.by_hand {
            // It is over, so these are its last figures; those recorded were corrected since.
            add("progress");
        }
        return;
    }
    if is_critical(i) && !r.critical {
        add("escalated");
        r.critical = true;
    }
    if w.flapping && !r.flapping && i.is_open() {
        add("flapping");
        r.flapping = true;
    }
    if !i.is_open() {
        add("resolved");
        r.state = "resolved".into();
    } else if rows.len() == before {
        let seen = start(i.last_seen);
        let goes_on = seen > r.last_seen_at
            && (i.buckets as i32 >= r.buckets.saturating_add(progress_after(r.buckets))
                || score(i.peak_surprise) as f32 > r.peak_score);
        // Only the survey knows all of an incident that goes on.
        let corrected = scope.provisional
            && (seen < r.last_seen_at
                || (i.buckets as i32) < r.buckets
                || is_further(r.peak_observed, i.peak_observed, i.direction));
        if goes_on || corrected {
            rows.push(row(m, w, r.id, r.group, "progress", scope));
        }
    }
}

/// After how many further buckets the figures of an incident are recorded again, at most: each at first, then an eighth
/// more, then sixty. A silence of a week has some two hundred rows.
fn progress_after(buckets: i32) -> i32 {
    (buckets / 8).clamp(1, 60)
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

/// A row for a wanted incident.
fn row(
    m: &Monitor,
    w: &Wanted,
    incident: i64,
    group: i64,
    event: &'static str,
    scope: &Scope,
) -> Alert {
    let i = &w.incident;
    let start = |b: i64| m.calendar.start(b);
    let opening = event == "opened";
    // An incident that straddles the horizon opens at its first bad bucket inside.
    let time = match event {
        "opened" if start(i.opened) < scope.horizon => {
            start(scope.horizon.div_euclid(m.calendar.width) + 1).min(start(i.last_seen))
        }
        "opened" => start(i.opened),
        "reopened" | "flapping" => start(i.opened.max(w.reopened)),
        "resolved" => start(i.resolved),
        _ => start(i.last_seen),
    };
    let (observed, expected, surprise) = if opening {
        (i.observed, i.expected, i.surprise)
    } else {
        (i.peak_observed, i.peak_expected, i.peak_surprise)
    };
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
        "flapping" => format!(
            "{} comes and goes; the next word of it is when it has come to rest",
            w.series
        ),
        _ => w.reason(m),
    };
    Alert {
        id: if opening {
            incident
        } else {
            ledger::next_alert_id()
        },
        incident,
        group,
        event,
        series: w.series.clone(),
        labels: w.labels.clone(),
        critical: is_critical(i),
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
        actor: None,
        note: None,
        silence: None,
        notice: None,
    }
}

/// Ends a recorded incident that the fold does not know (any more).
fn close(r: &Recorded, event: &'static str, at: i64) -> Alert {
    let text = if event == "retracted" {
        format!("{}: what caused the alert was corrected", r.series)
    } else {
        format!("{} is back to normal", r.series)
    };
    Alert {
        time: at.max(r.opened_at),
        score: 0.0,
        ..Alert::about(r, event, text)
    }
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
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
