//! A judgement in words, from the same numbers.

use crate::bounds::Bounds;
use crate::incident::Incident;
use crate::judgement::{Channel, Judgement};
use crate::limit::Broken;
use crate::moment::Pace;

/// Expectations below this are nothing.
const NOTHING: f64 = 0.05;
/// Per cent from which it is said how many times as much it is, and times beyond which nothing is said.
const TIMES: f64 = 1000.0;
const BEYOND_BELIEF: f64 = 1e6;

/// Bounds of values beyond this are none.
const UNBOUNDED: f64 = 1e15;

/// The numbers a reason is written from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReasonInput {
    /// The reading, counts.
    pub observed: f64,
    /// What was expected of it.
    pub expected: f64,
    /// Least and greatest normal count.
    pub lower: f64,
    /// See `lower`.
    pub upper: f64,
    /// 1 more than expected, -1 less.
    pub direction: i8,
    /// The channel that speaks.
    pub channel: Channel,
    /// Buckets it covers.
    pub span: u32,
    /// What was seen over the span.
    pub span_observed: f64,
    /// What was expected over the span; of a fixed limit, the limit.
    pub span_expected: f64,
}

impl ReasonInput {
    /// A reading that breaks a fixed limit.
    pub fn of_limit(observed: f64, expected: f64, broken: &Broken) -> ReasonInput {
        ReasonInput {
            observed,
            expected,
            lower: 0.0,
            upper: 0.0,
            direction: broken.direction,
            channel: Channel::Limit,
            span: 1,
            span_observed: observed,
            span_expected: broken.limit,
        }
    }
}

/// A judgement with its bounds and the reading.
impl From<(&Judgement, Bounds, f64)> for ReasonInput {
    fn from((j, bounds, observed): (&Judgement, Bounds, f64)) -> ReasonInput {
        ReasonInput {
            observed,
            expected: j.expected,
            lower: bounds.lower,
            upper: bounds.upper,
            direction: j.direction,
            channel: j.channel,
            span: j.span,
            span_observed: j.span_observed,
            span_expected: j.span_expected,
        }
    }
}

/// A judgement with its bounds and the reading.
impl From<(Judgement, Bounds, f64)> for ReasonInput {
    fn from((j, bounds, observed): (Judgement, Bounds, f64)) -> ReasonInput {
        (&j, bounds, observed).into()
    }
}

/// What opened an incident.
impl From<&Incident> for ReasonInput {
    fn from(incident: &Incident) -> ReasonInput {
        ReasonInput {
            observed: incident.observed,
            expected: incident.expected,
            lower: incident.lower,
            upper: incident.upper,
            direction: incident.direction,
            channel: Channel::from_u8(incident.channel),
            span: incident.span,
            span_observed: incident.span_observed,
            span_expected: incident.span_expected,
        }
    }
}

/// What opened an incident.
impl From<Incident> for ReasonInput {
    fn from(incident: Incident) -> ReasonInput {
        (&incident).into()
    }
}

/// Says what was seen and what was expected, for a reader who knows the series by name.
///
/// - the reading: `denied 31 in the minute, expected 6.1 (1 to 14), +408 %`
/// - several: `approved 412 in 5 minutes, expected 600, -31 %`
/// - a run of zeros: `no approved for 12 minutes, expected 360`
/// - a value: `latency 412.5 in the minute, expected 131.2 (98.24 to 141.7), +214 %`
/// - the mean of several: `latency 168.3 on average over 32 minutes, expected 131.2, +28 %`
/// - a fixed limit: `denied 120 in the minute, above the limit 100 (expected 6.1)`
///
/// Expected counts below 100 have one decimal, those below 0.05 are called nothing. Values have four
/// digits.
pub fn reason(series: &str, input: &ReasonInput, pace: Pace) -> String {
    let width = pace.width();
    let time = span_of_time(input.span, width);
    match input.channel {
        Channel::Limit => {
            let place = place(input);
            format!(
                "{series} {} in {}, {place} the limit {} (expected {})",
                count(input.observed),
                span_of_time(1, width),
                count(input.span_expected),
                expectation(input.expected),
            )
        }
        Channel::ZeroRun => format!(
            "no {series} for {}, {}",
            length_of_time(input.span, width),
            expected(input.span_expected)
        ),
        Channel::Value => format!(
            "{series} {} in {time}, expected {}{}{}",
            figure(input.observed),
            figure(input.expected),
            range_of_values(input.lower, input.upper),
            change(input.observed, input.expected, 0.0),
        ),
        Channel::Short | Channel::Drift => format!(
            "{series} {} on average over {}, expected {}{}",
            figure(input.span_observed),
            length_of_time(input.span, width),
            figure(input.span_expected),
            change(input.span_observed, input.span_expected, 0.0),
        ),
        _ if input.span > 1 => format!(
            "{series} {} in {time}, {}{}",
            count(input.span_observed.round()),
            expected(input.span_expected),
            change(input.span_observed, input.span_expected, NOTHING),
        ),
        _ => format!(
            "{series} {} in {time}, {}{}{}",
            count(input.observed),
            expected(input.expected),
            range(input.lower, input.upper),
            change(input.observed, input.expected, NOTHING),
        ),
    }
}

/// The same of a [ratio](crate::ratio), whose figures are shares of 1:
///
/// - the bucket: `denial rate 31.0 % in the minute, expected 12.1 % (8.0 % to 17.2 %)`
/// - several: `denial rate 20.2 % in 5 minutes, expected 12.1 %`
/// - a fixed limit: `denial rate 31.0 % in the minute, above the limit 30.0 % (expected 12.1 %)`
pub fn reason_of_share(series: &str, input: &ReasonInput, pace: Pace) -> String {
    let width = pace.width();
    let share = |x: f64| format!("{:.1} %", 100.0 * x);
    let (observed, expected) = (share(input.observed), share(input.expected));
    match input.channel {
        Channel::Limit => {
            let place = place(input);
            let (time, limit) = (span_of_time(1, width), share(input.span_expected));
            format!(
                "{series} {observed} in {time}, {place} the limit {limit} (expected {expected})"
            )
        }
        _ if input.span > 1 => format!(
            "{series} {} in {}, expected {}",
            share(input.span_observed),
            span_of_time(input.span, width),
            share(input.span_expected)
        ),
        _ => format!(
            "{series} {observed} in {}, expected {expected} ({} to {})",
            span_of_time(1, width),
            share(input.lower),
            share(input.upper.min(1.0))
        ),
    }
}

/// Where a reading lies that breaks a fixed limit.
fn place(input: &ReasonInput) -> &'static str {
    if input.observed == input.span_expected {
        "at"
    } else if input.direction < 0 {
        "below"
    } else {
        "above"
    }
}

/// ` (1 to 14)`: the whole counts that would be normal; nothing where none would be.
fn range(lower: f64, upper: f64) -> String {
    let (least, most) = (lower.ceil(), upper.floor());
    if least <= most {
        format!(" ({} to {})", count(least), count(most))
    } else {
        String::new()
    }
}

/// ` (98.24 to 141.7)`: the values that would be normal, as far as they are bounded.
fn range_of_values(lower: f64, upper: f64) -> String {
    match (lower > -UNBOUNDED, upper < UNBOUNDED) {
        (true, true) => format!(" ({} to {})", figure(lower), figure(upper)),
        (true, false) => format!(" (at least {})", figure(lower)),
        (false, true) => format!(" (at most {})", figure(upper)),
        (false, false) => String::new(),
    }
}

/// A value: four digits, or all of the whole ones.
fn figure(x: f64) -> String {
    if x == x.round() && x.abs() < UNBOUNDED {
        return format!("{x:.0}");
    }
    let digits = x.abs().log10().floor();
    if (-5.0..15.0).contains(&digits) {
        format!("{x:.*}", (3.0 - digits).max(0.0) as usize)
    } else {
        format!("{x:.3e}")
    }
}

/// `, +408 %`, or how many times where that is easier to read; nothing where less than `least` was expected, or beyond belief.
fn change(observed: f64, expected: f64, least: f64) -> String {
    if expected <= least {
        return String::new();
    }
    let times = observed / expected;
    let percent = (100.0 * (times - 1.0)).round();
    if percent.abs() < TIMES {
        // Not "-0 %".
        format!(", {:+.0} %", percent + 0.0)
    } else if (0.0..BEYOND_BELIEF).contains(&times) {
        format!(", {times:.0} times that")
    } else {
        String::new()
    }
}

/// A whole number as such, another with one decimal.
fn count(x: f64) -> String {
    if x == x.round() {
        format!("{x:.0}")
    } else {
        format!("{x:.1}")
    }
}

fn expectation(x: f64) -> String {
    if x < 99.95 {
        format!("{x:.1}")
    } else {
        format!("{x:.0}")
    }
}

fn expected(x: f64) -> String {
    if x < NOTHING {
        "none expected".to_owned()
    } else {
        format!("expected {}", expectation(x))
    }
}

/// The time that buckets cover, after `in`: one bucket of a usual width has a name.
fn span_of_time(buckets: u32, width: f64) -> String {
    let is = |minutes: f64| buckets <= 1 && (width - minutes).abs() < 1e-9;
    if is(1.0) {
        "the minute".to_owned()
    } else if is(60.0) {
        "the hour".to_owned()
    } else if is(1440.0) {
        "the day".to_owned()
    } else {
        length_of_time(buckets, width)
    }
}

/// The time that buckets cover: `5 minutes`, `2 hours`, `90 s`.
fn length_of_time(buckets: u32, width: f64) -> String {
    let minutes = f64::from(buckets.max(1)) * width;
    let whole = |unit: f64| {
        let units = minutes / unit;
        ((units - units.round()).abs() < 1e-6 && units >= 0.5).then(|| units.round())
    };
    let named = |n: f64, one: &str, many: &str| {
        if n == 1.0 {
            format!("1 {one}")
        } else {
            format!("{n:.0} {many}")
        }
    };
    if let Some(days) = whole(1440.0) {
        named(days, "day", "days")
    } else if let Some(hours) = whole(60.0) {
        named(hours, "hour", "hours")
    } else if let Some(minutes) = whole(1.0) {
        named(minutes, "minute", "minutes")
    } else {
        let seconds = whole(1.0 / 60.0).unwrap_or(minutes * 60.0);
        format!("{} s", count(seconds))
    }
}
