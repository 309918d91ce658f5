//! `recommend_alert`.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use super::look::Eye;
use super::{refuse_missing, refuse_null, segment, verdict_name};
use crate::fault::raise;
use crate::overlay::{self, Reading};
use crate::{calendar, key, settings, store};

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
    let status = status.unwrap_or_else(|| refuse_missing("status"));
    let count = count.unwrap_or_else(|| refuse_missing("count"));
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
                        label: &m.label(&k),
                        limits: p.limits,
                        direction: p.direction,
                        sensitivity: p.sensitivity,
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
