//! What people are told: of each group of incidents one thing at a time. The rows of a round are given their notices
//! here, and the clock's are added: reminders, the end of silences, and members whose coming was held back.
//!
//! Level-triggered as everything else: what a group was last announced as is compared with how it is now.

use std::collections::{BTreeMap, HashMap};

use pgrx::datum::datetime_support::ToIsoString;
use serde_json::{json, Value};

use crate::ledger::{self, Alert, Announced, Recorded, Silence};
use crate::monitor::Monitor;
use crate::reconcile::cut;
use crate::{calendar, maintenance, payload, settings, store};

/// Members that join a group are announced this often at most, microseconds.
const JOIN_EVERY_US: i64 = 60_000_000;
/// Bytes of an announcement but for the members it names.
const MOST_BYTES: usize = 5_000;

/// An incident as an announcement names it.
#[derive(Clone)]
struct Member {
    id: i64,
    series: String,
    critical: bool,
    direction: i16,
    state: String,
    observed: f64,
    expected: f64,
    score: f64,
    reason: String,
    /// The silence it is under.
    silence: Option<i64>,
}

impl Member {
    fn of(r: &Recorded) -> Member {
        Member {
            id: r.id,
            series: r.series.clone(),
            critical: r.critical,
            direction: r.direction,
            state: r.state.clone(),
            observed: r.peak_observed,
            expected: r.peak_expected,
            score: f64::from(r.peak_score),
            reason: r.reason.clone(),
            silence: None,
        }
    }

    fn is_open(&self) -> bool {
        self.state == "open" || self.state == "acknowledged"
    }

    /// Takes in what a row says of it.
    fn follow(&mut self, a: &Alert) {
        self.critical |= a.critical;
        match a.event {
            "opened" | "reopened" | "flapping" => self.state = "open".into(),
            "acknowledged" | "resolved" | "retracted" => self.state = a.event.into(),
            _ => {}
        }
        if let Some(f) = &a.figures {
            (self.observed, self.expected) = (f.peak_observed, f.peak_expected);
            self.score = f.peak_score;
        }
    }
}

/// Orders the worst first.
fn worst_first(members: &mut [&Member]) {
    members.sort_by(|a, b| {
        let rank = |m: &Member| (m.state != "retracted", m.critical, m.score);
        rank(b)
            .partial_cmp(&rank(a))
            .unwrap_or(std::cmp::Ordering::Equal)
            .then(a.id.cmp(&b.id))
    });
}

/// The silence that a series of a monitor is under.
fn silence_of(silences: &[Silence], m: &Monitor, series: &str) -> Option<i64> {
    silences
        .iter()
        .find(|s| !s.over && s.monitor == m.name && s.covers(series))
        .map(|s| s.id)
}

/// Gives the rows of a round their notices. The append lock is held.
pub fn announce(m: &Monitor, rows: &mut [Alert]) {
    if rows.iter().all(|a| a.event == "progress") {
        return;
    }
    let now = calendar::now();
    let silences = ledger::silences(now);
    for a in rows.iter_mut().filter(|a| a.event != "progress") {
        a.silence = silence_of(&silences, m, &a.series);
    }
    let mut groups: Vec<i64> = rows
        .iter()
        .filter(|a| a.event != "progress")
        .map(|a| a.group)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    // Nothing is recorded yet of a group that begins with one of the rows.
    let begins = |g: &i64| rows.iter().any(|a| a.event == "opened" && a.id == *g);
    let older: Vec<i64> = groups.iter().copied().filter(|g| !begins(g)).collect();
    let (mut members, mut told) = (BTreeMap::new(), HashMap::new());
    if !older.is_empty() {
        members = members_of(m, &older, &silences);
        let announced = ledger::announced(&older).into_iter();
        told.extend(announced.map(|a| (a.group, a)));
    }
    for group in groups {
        let of_group = members.entry(group).or_default();
        announce_group(m, group, told.get(&group), of_group, rows, now);
    }
}

fn members_of(m: &Monitor, groups: &[i64], silences: &[Silence]) -> BTreeMap<i64, Vec<Member>> {
    let mut members: BTreeMap<i64, Vec<Member>> = BTreeMap::new();
    for r in ledger::members(groups) {
        let mut member = Member::of(&r);
        member.silence = silence_of(silences, m, &r.series);
        members.entry(r.group).or_default().push(member);
    }
    members
}

/// How a group stands for whoever may hear of it.
struct Standing {
    open: bool,
    critical: bool,
    all_retracted: bool,
}

impl Standing {
    fn of(members: &[Member]) -> Standing {
        let mut heard = members.iter().filter(|m| m.silence.is_none()).peekable();
        let some = heard.peek().is_some();
        let heard: Vec<&Member> = heard.collect();
        Standing {
            open: heard.iter().any(|m| m.is_open()),
            critical: heard.iter().any(|m| m.is_open() && m.critical),
            all_retracted: some && heard.iter().all(|m| m.state == "retracted"),
        }
    }
}

fn announce_group(
    m: &Monitor,
    group: i64,
    told: Option<&Announced>,
    members: &mut Vec<Member>,
    rows: &mut [Alert],
    now: i64,
) {
    for a in rows.iter().filter(|a| a.group == group) {
        if a.event == "opened" {
            members.push(Member {
                id: a.id,
                series: a.series.clone(),
                critical: a.critical,
                direction: a.direction,
                state: "open".into(),
                observed: a.observed.unwrap_or(0.0),
                expected: a.expected.unwrap_or(0.0),
                score: a.score,
                reason: a.reason.clone(),
                silence: a.silence,
            });
        }
        if let Some(member) = members.iter_mut().find(|x| x.id == a.incident) {
            member.follow(a);
        }
    }
    let stands = Standing::of(members);
    for (n, notice) in decide(group, &stands, told, rows, now) {
        let payload = announcement(m, &rows[n], notice, members);
        rows[n].notice = Some((notice, payload));
    }
}

/// Which rows of a round carry a notice of a group, and which.
fn decide(
    group: i64,
    stands: &Standing,
    told: Option<&Announced>,
    rows: &[Alert],
    now: i64,
) -> Vec<(usize, &'static str)> {
    let places = |events: &[&str]| {
        let of = |a: &Alert| a.group == group && a.silence.is_none() && events.contains(&a.event);
        (0..rows.len())
            .filter(|n| of(&rows[*n]))
            .collect::<Vec<_>>()
    };
    let begins = places(&["opened", "reopened", "flapping"]);
    let comes = places(&["opened", "reopened", "escalated"]);
    let flaps = places(&["flapping"]).first().map(|n| (*n, "flapping"));
    let ends = places(&["resolved", "retracted"]).pop();
    let end = ends.map(|n| {
        let notice = if stands.all_retracted {
            "retracted"
        } else {
            "resolved"
        };
        (n, notice)
    });
    let begin = |notice| begins.first().map(|n| (*n, notice));
    let one = |notice: Option<(usize, &'static str)>| notice.into_iter().collect();
    match told {
        // One that came and went within the round is told of twice.
        None if !stands.open && begin("opened").is_some() => {
            begin("opened").into_iter().chain(end).collect()
        }
        None => one(begin("opened")),
        Some(t) if t.is_end() && stands.open => one(flaps.or(begin("reopened"))),
        Some(t) if t.is_end() => one(end.filter(|e| e.1 == "retracted" && t.notice != "retracted")),
        Some(_) if !stands.open => one(end),
        Some(t) => {
            let worse = stands.critical && !t.critical;
            let told_lately = now - t.at < JOIN_EVERY_US;
            let grown = comes.last().map(|n| (*n, "escalated"));
            one(flaps.or(grown.filter(|_| worse || !told_lately)))
        }
    }
}

/// What the clock has to say of a monitor: the end of silences, members whose coming was held back, reminders.
/// Gives when it is to be asked again at the latest. The caller's transaction may write.
pub fn tick(m: &Monitor) -> (usize, Option<i64>) {
    let now = calendar::now();
    let over = |silences: &[Silence]| {
        silences
            .iter()
            .filter(|s| s.over && s.monitor == m.name)
            .cloned()
            .collect::<Vec<_>>()
    };
    let groups = ledger::open_groups(&m.name);
    if groups.is_empty() && over(&ledger::silences(now)).is_empty() {
        return (0, None);
    }
    ledger::append_lock();
    let silences = ledger::silences(now);
    let groups = ledger::open_groups(&m.name);
    let told: HashMap<i64, Announced> = ledger::announced(&groups)
        .into_iter()
        .map(|a| (a.group, a))
        .collect();
    let over = over(&silences);
    let in_maintenance = {
        let here = now.div_euclid(m.calendar.width);
        maintenance::end_of(&store::maintenance(m), here).is_some()
    };
    let remind = settings::remind_every();
    let mut added = 0;
    let mut due: Option<i64> = None;
    let mut by = |at: i64| due = Some(due.map_or(at, |d: i64| d.min(at)));
    for (group, members) in members_of(m, &groups, &silences) {
        let told = told.get(&group);
        let hidden = |x: &&Member| {
            x.is_open() && x.silence.is_none() && over.iter().any(|s| s.covers(&x.series))
        };
        if members.iter().any(|x| hidden(&x)) {
            let list: Vec<&Member> = members.iter().filter(hidden).collect();
            let silence = |x: &Member| over.iter().find(|s| s.covers(&x.series)).map(|s| s.id);
            added += say(m, &members, list, "unsilenced", &silence);
            continue;
        }
        let Some(told) = told else { continue };
        if told.is_end() {
            continue;
        }
        let late = ledger::unannounced(group, told.at);
        let held_back: Vec<&Member> = members
            .iter()
            .filter(|x| x.is_open() && x.silence.is_none() && late.contains(&x.id))
            .collect();
        if !held_back.is_empty() {
            if now - told.at >= JOIN_EVERY_US {
                added += say(m, &members, held_back, "joined", &|_| None);
            } else {
                by(told.at + JOIN_EVERY_US);
            }
            continue;
        }
        let open: Vec<&Member> = members.iter().filter(|x| x.is_open()).collect();
        let alone = open.iter().all(|x| x.state != "acknowledged");
        let heard: Vec<&Member> = open.into_iter().filter(|x| x.silence.is_none()).collect();
        if remind > 0 && alone && !heard.is_empty() && !in_maintenance {
            if now - told.at >= remind {
                added += say(m, &members, heard, "reminded", &|_| None);
                by(now + remind);
            } else {
                by(told.at + remind);
            }
        }
    }
    for s in &over {
        added += tell_ends(m, s);
        ledger::settle_silence(s.id);
    }
    (added, due)
}

/// Tells the end of what was announced as going on and ended under a silence: whoever heard of it waits for that.
fn tell_ends(m: &Monitor, silence: &Silence) -> usize {
    let groups = ledger::ended_under(silence.id);
    let waiting: Vec<i64> = ledger::announced(&groups)
        .into_iter()
        .filter(|t| !t.is_end())
        .map(|t| t.group)
        .collect();
    let members = members_of(m, &waiting, &[]);
    members
        .values()
        .map(|members| {
            let about = members.iter().collect();
            say(m, members, about, "ended", &|_| Some(silence.id))
        })
        .sum()
}

/// Says something of some members of a group: a row for each where a silence has ended and it goes on, else one for
/// the worst; one notice.
fn say(
    m: &Monitor,
    members: &[Member],
    mut about: Vec<&Member>,
    what: &'static str,
    silence: &dyn Fn(&Member) -> Option<i64>,
) -> usize {
    worst_first(&mut about);
    if what != "unsilenced" {
        about.truncate(1);
    }
    let (event, notice) = match what {
        "joined" => ("joined", "escalated"),
        "ended" => ("unsilenced", "resolved"),
        _ => (what, what),
    };
    let mut rows = Vec::new();
    for x in about {
        let Some((_, r)) = ledger::incident(x.id) else {
            continue;
        };
        let text = match what {
            "ended" => format!("{} is back to normal", x.series),
            "unsilenced" => format!("the silence has ended, still open: {}", x.reason),
            "reminded" => format!("still open, and nobody has acknowledged it: {}", x.reason),
            _ => x.reason.clone(),
        };
        rows.push(Alert {
            observed: Some(x.observed),
            expected: Some(x.expected),
            silence: silence(x),
            ..Alert::about(&r, event, text)
        });
    }
    if let Some(first) = rows.first_mut() {
        let payload = announcement(m, first, notice, members);
        first.notice = Some((notice, payload));
    }
    ledger::append_all(&m.name, &rows);
    rows.len()
}

/// Appends what a person did to an incident, and announces it. The append lock is held.
pub fn record_deed(monitor: &str, mut row: Alert) -> i64 {
    let m = store::monitor_of_record(monitor);
    match row.event {
        "acknowledged" => {
            let silences = ledger::silences(calendar::now());
            let members = members_of(&m, &[row.group], &silences);
            let members = members.get(&row.group).map_or(&[][..], Vec::as_slice);
            let payload = announcement(&m, &row, "acknowledged", members);
            row.notice = Some(("acknowledged", payload));
        }
        "resolved" => announce(&m, std::slice::from_mut(&mut row)),
        _ => {}
    }
    ledger::append_all(monitor, std::slice::from_ref(&row));
    row.id
}

/// What is announced, for the group as a whole; always less than 8,000 bytes. `members` are all incidents of the
/// group, the row's own among them.
fn announcement(m: &Monitor, row: &Alert, notice: &str, members: &[Member]) -> Value {
    let mut heard: Vec<&Member> = members
        .iter()
        .filter(|x| x.silence.is_none() || x.id == row.incident)
        .collect();
    worst_first(&mut heard);
    let critical = row.critical || heard.iter().any(|x| x.critical);
    let mut list: Vec<Value> = Vec::new();
    if heard.len() > 1 {
        list = heard.iter().map(|x| named(x)).collect();
    }
    let mut out = json!({
        "v": 1,
        "alert": row.id,
        "incident": row.incident,
        "group": row.group,
        "event": notice,
        "monitor": cut(&m.name, 400),
        "series": cut(&row.series, 400),
        "labels": row.labels,
        "severity": ledger::severity(critical),
        "direction": row.direction,
        "time": iso(row.time),
        "observed": rounded(row.observed),
        "expected": rounded(row.expected),
        "lower": rounded(row.lower),
        "upper": rounded(row.upper),
        "score": rounded(Some(row.score)),
        "reason": cut(&row.reason, 1000),
    });
    if let Some(actor) = &row.actor {
        out["actor"] = json!(cut(actor, 200));
        out["note"] = row
            .note
            .as_ref()
            .map_or(Value::Null, |n| json!(cut(n, 1000)));
    }
    fit(out, list)
}

/// How a group's member is named in an announcement.
fn named(x: &Member) -> Value {
    json!({
        "incident": x.id,
        "series": cut(&x.series, 200),
        "severity": ledger::severity(x.critical),
        "direction": x.direction,
        "state": x.state,
        "observed": rounded(Some(x.observed)),
        "expected": rounded(Some(x.expected)),
        "score": rounded(Some(x.score)),
    })
}

/// Adds as many members as there is room for, in bytes as they are sent.
fn fit(out: Value, members: Vec<Value>) -> Value {
    let mut out = payload::fit_within(out, MOST_BYTES);
    if members.is_empty() {
        return out;
    }
    let all = members.len();
    let mut room = payload::MOST - out.to_string().len().min(payload::MOST - 40) - 40;
    let kept: Vec<Value> = members
        .into_iter()
        .take_while(|v| {
            let taken = v.to_string().len() + 1;
            let fits = taken <= room;
            room = room.saturating_sub(taken);
            fits
        })
        .collect();
    let more = all - kept.len();
    out["members"] = Value::Array(kept);
    if more > 0 {
        out["more"] = json!(more);
    }
    out
}

fn rounded(x: Option<f64>) -> Value {
    x.map_or(Value::Null, |x| json!((x * 100.0).round() / 100.0))
}

/// A time as ISO 8601 in UTC.
pub fn iso(us: i64) -> String {
    format!("{}Z", store::timestamp(us).to_utc().to_iso_string())
}
