//! How a reading of a fold is shown: its name, verdict, bounds and reason; and which buckets a call is about.

use std::sync::atomic::Ordering;

use detector::{
    reason, reason_of_share, Bounds, Family, Judgement, Limits, Pace, ReasonInput, Sensitivity,
    Verdict,
};
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;

use super::{refuse_null, segment};
use crate::fault::{self, raise, Boundary};
use crate::fold::{Fold, FoldRatio, Places, Shown, Subject};
use crate::measure;
use crate::monitor::{follows_clock, total_direction, Monitor, Rule};
use crate::overlay::{opinion, Opinion};
use crate::round::Place;
use crate::shared::{Direction, LIVE};
use crate::{calendar, key, maintenance, round, settings, store};

/// How far a model is that still learns.
fn learning(readings: u64, needed: u64) -> String {
    format!(
        "learning: {} of {needed} buckets seen",
        readings.min(needed)
    )
}

/// The bounds of a side that may not alert are open.
fn opened(stat: Bounds, direction: Direction) -> Bounds {
    Bounds {
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
    }
}

/// The bounds that belong to a verdict.
fn bounds(stat: Bounds, limits: &Limits, direction: Direction, family: Family) -> Bounds {
    measure::narrow(limits, opened(stat, direction), family)
}

/// How a series is looked at: its name and rule.
pub(super) struct Eye<'a> {
    pub(super) label: &'a str,
    pub(super) limits: Limits,
    pub(super) direction: Direction,
    pub(super) sensitivity: Sensitivity,
    pub(super) pace: Pace,
}

/// A reading as the reading functions show it.
pub(super) struct Scored {
    pub(super) verdict: Verdict,
    pub(super) score: f64,
    pub(super) bounds: Option<Bounds>,
    pub(super) reason: Option<String>,
}

impl Eye<'_> {
    pub(super) fn look(
        &self,
        before: &detector::Model,
        j: &Judgement,
        x: f64,
        complete: bool,
    ) -> Scored {
        self.say(before, j, x, self.opinion(j, x, complete))
    }

    fn opinion(&self, j: &Judgement, x: f64, complete: bool) -> Opinion {
        opinion(
            j,
            &self.limits,
            self.direction,
            &self.sensitivity,
            x,
            complete,
        )
    }

    fn say(&self, before: &detector::Model, j: &Judgement, x: f64, o: Opinion) -> Scored {
        if j.learning {
            let reason = self
                .limit_reason(j, x)
                .unwrap_or_else(|| learning(before.readings(), before.learns_for()));
            return Scored {
                verdict: o.verdict,
                score: 0.0,
                bounds: None,
                reason: Some(reason),
            };
        }
        let stat = before.bounds_under(Some(x), &self.sensitivity);
        let reason = (o.verdict >= Verdict::Warning).then(|| {
            self.limit_reason(j, x)
                .filter(|_| {
                    self.sensitivity.verdict(j, true) < o.verdict
                        || !self.direction.allows(j.direction)
                })
                .unwrap_or_else(|| reason(self.label, &ReasonInput::from((j, stat, x)), self.pace))
        });
        Scored {
            verdict: o.verdict,
            score: o.score.unwrap_or(0.0),
            bounds: Some(bounds(stat, &self.limits, self.direction, before.family())),
            reason,
        }
    }

    fn limit_reason(&self, j: &Judgement, x: f64) -> Option<String> {
        let broken = self.limits.broken(x)?;
        let input = ReasonInput::of_limit(x, j.expected, &broken);
        Some(reason(self.label, &input, self.pace))
    }
}

/// A bucket of a ratio: judged once it is complete, since part and whole may both grow until then.
fn look_at_ratio(
    r: &FoldRatio,
    before: &detector::Ratio,
    whole: f64,
    shown: &Shown,
    complete: bool,
    pace: Pace,
) -> Scored {
    let (j, x) = (&shown.judgement, shown.observed);
    let limits = &r.model.limits;
    let direction = Direction::from_u8(r.model.direction);
    let broken = limits.broken(x).filter(|_| complete);
    let sensitivity = &r.model.terms.sensitivity;
    let mut verdict = sensitivity.verdict(j, true);
    if !complete || !direction.allows(j.direction) {
        verdict = verdict.min(Verdict::Normal);
    }
    let by_limit = broken.filter(|b| b.verdict > verdict);
    if let Some(b) = by_limit {
        verdict = b.verdict;
    }
    let stat = before.bounds_under(whole, r.model.min_volume, sensitivity);
    let reason = if let Some(b) = by_limit {
        let input = ReasonInput::of_limit(x, j.expected, &b);
        Some(reason_of_share(&r.name, &input, pace))
    } else if j.learning {
        let learned = learning(before.readings(), before.learns_for());
        Some(format!("{learned}, or too little in them"))
    } else {
        (verdict >= Verdict::Warning)
            .then(|| reason_of_share(&r.name, &ReasonInput::from((j, stat, x)), pace))
    };
    Scored {
        verdict,
        score: if complete { j.score() } else { 0.0 },
        bounds: (!j.learning).then(|| limits.narrow_share(opened(stat, direction))),
        reason,
    }
}

/// The name of the series that is shown. To be compared before `look_at`: its bounds are what costs.
pub(super) fn label_of<'a>(shown: &Shown<'a>) -> &'a str {
    match shown.subject {
        Subject::Total(_) => key::TOTAL,
        Subject::Series(f, _) => &f.label,
        Subject::Ratio(r, ..) => &r.name,
    }
}

/// Whether no row of a bucket is waited for any more.
pub(super) fn is_complete(m: &Monitor, bucket: i64, lateness: i64, now: i64) -> bool {
    m.calendar.start(bucket + 1).saturating_add(lateness) <= now
}

/// What there is to say of a reading of a fold, under the name and the rule of its series; None where its verdict is less
/// than this.
pub(super) fn look_at(
    least: Verdict,
    m: &Monitor,
    rules: &[Rule],
    shown: &Shown,
    lateness: i64,
    now: i64,
) -> Option<Scored> {
    let complete = is_complete(m, shown.at.bucket, lateness, now);
    let ruled = total_direction(rules);
    let (before, limits, direction, counts, sensitivity) = match shown.subject {
        Subject::Series(f, before) => (
            before,
            f.rule.limits,
            f.rule.direction,
            complete,
            f.rule.terms.sensitivity,
        ),
        // The total speaks for silence only, unless a rule says otherwise.
        Subject::Total(before) => (
            before,
            Limits::NONE,
            ruled.unwrap_or(Direction::Low),
            complete && (shown.observed == 0.0 || ruled.is_some()),
            m.terms(rules.iter().find(|r| r.series == key::TOTAL))
                .sensitivity,
        ),
        Subject::Ratio(r, before, whole) => {
            let pace = m.calendar.pace();
            let out = look_at_ratio(r, before, whole, shown, complete, pace);
            return Some(out).filter(|out| out.verdict >= least);
        }
    };
    if shown.left_out {
        let out = Scored {
            verdict: Verdict::Learning,
            score: 0.0,
            bounds: None,
            reason: Some("maintenance".into()),
        };
        return Some(out).filter(|out| out.verdict >= least);
    }
    let eye = Eye {
        label: label_of(shown),
        limits,
        direction,
        sensitivity,
        pace: m.calendar.pace(),
    };
    let (j, x) = (&shown.judgement, shown.observed);
    let o = eye.opinion(j, x, counts);
    if o.verdict < least {
        return None;
    }
    let mut out = eye.say(before, j, x, o);
    if matches!(shown.subject, Subject::Total(_)) && ruled.is_none() {
        out.bounds = out.bounds.map(|b| Bounds {
            lower: b.lower.min(1.0),
            upper: b.upper,
        });
    }
    Some(out)
}

/// The stretch that a window and its end mean.
pub(super) fn asked_stretch(
    m: &Monitor,
    window: Option<Interval>,
    until: Option<TimestampWithTimeZone>,
    now: i64,
) -> Stretch {
    let window = window.unwrap_or_else(|| refuse_null("window"));
    let until = store::micros(until.unwrap_or_else(|| refuse_null("until")));
    let span = calendar::span(&window).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
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
pub(super) struct Stretch {
    pub(super) from: i64,
    pub(super) to: i64,
}

pub(super) fn stretch(m: &Monitor, since: i64, until: i64) -> Stretch {
    let w = m.calendar.width;
    let ceil = |t: i64| -(-t).div_euclid(w);
    Stretch {
        from: ceil(since),
        to: ceil(until) - 1,
    }
}

/// Which series are counted on their own: as it is in shared memory; before the models are loaded, and on a standby, as
/// it was when states were last stored.
fn places(m: &Monitor) -> Places<'static> {
    let place = segment().and_then(|s| Place::of(s, m));
    match place.filter(|p| p.cell.state.load(Ordering::Acquire) == LIVE) {
        Some(place) => place.places(),
        None => match store::stored_places(m) {
            Some(known) => Box::new(move |key| known.contains(key)),
            None => Box::new(|_| true),
        },
    }
}

/// Folds a monitor from its newest stored state before a stretch to its end.
pub(super) fn fold_stretch<'a>(
    m: &'a Monitor,
    rules: &'a [Rule],
    windows: &'a [maintenance::Stretch],
    s: &Stretch,
    show: &mut dyn FnMut(Shown),
) -> Fold<'a> {
    fault::at(Boundary::Read);
    let cal = &m.calendar;
    let mut fold = Fold::new(m, rules, windows).with_places(places(m));
    round::resume_stored(m, &mut fold, s.from.saturating_sub(1), None);
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
