//! Reasons are written from the numbers of a judgement or an incident.

use detector::{
    reason, Channel, Judgement, Lifecycle, Limits, Moment, Own, Pace, ReasonInput, Series, Terms,
    Told,
};

const MINUTE: Pace = Pace { minutes: 1.0 };

fn reading(observed: f64, expected: f64, lower: f64, upper: f64) -> ReasonInput {
    ReasonInput {
        observed,
        expected,
        lower,
        upper,
        direction: if observed > expected { 1 } else { -1 },
        channel: Channel::Point,
        span: 1,
        span_observed: observed,
        span_expected: expected,
    }
}

fn window(channel: Channel, span: u32, observed: f64, expected: f64) -> ReasonInput {
    ReasonInput {
        channel,
        span,
        span_observed: observed,
        span_expected: expected,
        ..reading(80.0, 120.0, 60.0, 170.0)
    }
}

#[test]
fn readings() {
    let text = |input| reason("denied", &input, MINUTE);
    assert_eq!(
        text(reading(31.0, 6.1, 1.0, 14.0)),
        "denied 31 in the minute, expected 6.1 (1 to 14), +408 %"
    );
    assert_eq!(
        text(reading(0.0, 612.4, 400.0, 800.0)),
        "denied 0 in the minute, expected 612 (400 to 800), -100 %"
    );
    assert_eq!(
        text(reading(4.0, 0.02, 0.0, 2.0)),
        "denied 4 in the minute, none expected (0 to 2)"
    );
    assert_eq!(
        text(reading(99.0, 99.97, 60.0, 140.0)),
        "denied 99 in the minute, expected 100 (60 to 140), -1 %"
    );
    assert_eq!(
        text(reading(10.0, 10.0, 2.0, 20.0)),
        "denied 10 in the minute, expected 10.0 (2 to 20), +0 %"
    );
    assert_eq!(
        text(reading(65.0, 6.0, 1.0, 14.0)),
        "denied 65 in the minute, expected 6.0 (1 to 14), +983 %"
    );
    assert_eq!(
        text(reading(66.0, 6.0, 1.0, 14.0)),
        "denied 66 in the minute, expected 6.0 (1 to 14), 11 times that"
    );
    assert_eq!(
        text(reading(1e10, 0.1, 0.0, 4.0)),
        "denied 10000000000 in the minute, expected 0.1 (0 to 4)"
    );
    assert_eq!(
        text(reading(5.0, 6.14, 6.14, 9.0)),
        "denied 5 in the minute, expected 6.1 (7 to 9), -19 %"
    );
}

#[test]
fn windows() {
    let text = |input| reason("approved", &input, MINUTE);
    assert_eq!(
        text(window(Channel::Five, 5, 412.0, 600.0)),
        "approved 412 in 5 minutes, expected 600, -31 %"
    );
    assert_eq!(
        text(window(Channel::Point, 2, 31.0, 12.2)),
        "approved 31 in 2 minutes, expected 12.2, +154 %"
    );
    assert_eq!(
        text(window(Channel::Long, 120, 700.0, 1400.0)),
        "approved 700 in 2 hours, expected 1400, -50 %"
    );
    assert_eq!(
        text(window(Channel::ZeroRun, 12, 0.0, 360.0)),
        "no approved for 12 minutes, expected 360"
    );
    assert_eq!(
        text(window(Channel::ZeroRun, 1, 0.0, 30.0)),
        "no approved for 1 minute, expected 30.0"
    );
    assert_eq!(
        text(window(Channel::Five, 5, 9.0, 0.01)),
        "approved 9 in 5 minutes, none expected"
    );
}

#[test]
fn limits() {
    let of = |x: f64, limits: Limits| {
        let mut series = Series::new();
        let at = Moment {
            bucket: 0,
            minute: 0,
            weekend: false,
        };
        let read = series.step(x, at, MINUTE);
        let judgement = Judgement {
            expected: 6.1,
            ..read
        };
        let mut life = Lifecycle::new();
        let told = Told {
            x,
            bucket: 0,
            judgement: &judgement,
            bounds: None,
            own: Own::NONE,
            allowed: (true, true),
            limits: &limits,
            share: false,
        };
        life.step(&told, &Terms::BUILT_IN);
        reason("denied", &life.recent[0].incident.into(), MINUTE)
    };
    let above = Limits {
        warn_above: 100.0,
        ..Limits::NONE
    };
    let below = Limits {
        critical_below: 2.5,
        ..Limits::NONE
    };
    assert_eq!(
        of(120.0, above),
        "denied 120 in the minute, above the limit 100 (expected 6.1)"
    );
    assert_eq!(
        of(100.0, above),
        "denied 100 in the minute, at the limit 100 (expected 6.1)"
    );
    assert_eq!(
        of(1.0, below),
        "denied 1 in the minute, below the limit 2.5 (expected 6.1)"
    );
    let broken = above.broken(120.0).expect("it is above");
    let input = ReasonInput::of_limit(120.0, 6.1, &broken);
    assert_eq!(reason("denied", &input, MINUTE), of(120.0, above));
}

#[test]
fn widths() {
    let text = |minutes, span| {
        let channel = if span == 1 {
            Channel::Point
        } else {
            Channel::Five
        };
        let text = reason("a", &window(channel, span, 9.0, 1.0), Pace { minutes });
        let after = text.split(" in ").nth(1).unwrap_or_default().to_owned();
        after.split(',').next().unwrap_or_default().to_owned()
    };
    assert_eq!(text(60.0, 1), "the hour");
    assert_eq!(text(1440.0, 1), "the day");
    assert_eq!(text(5.0, 1), "5 minutes");
    assert_eq!(text(1.0 / 6.0, 1), "10 s");
    assert_eq!(text(1.0 / 6.0, 5), "50 s");
    assert_eq!(text(1.0 / 6.0, 12), "2 minutes");
    assert_eq!(text(2.5, 1), "150 s");
    assert_eq!(text(60.0, 5), "5 hours");
    assert_eq!(text(12.0, 5), "1 hour");
    assert_eq!(text(1440.0, 5), "5 days");
}

#[test]
fn values() {
    let value = |observed, lower, upper| ReasonInput {
        channel: Channel::Value,
        ..reading(observed, 131.2345, lower, upper)
    };
    let text = |input| reason("latency", &input, MINUTE);
    assert_eq!(
        text(value(412.5, 98.2444, 141.666)),
        "latency 412.5 in the minute, expected 131.2 (98.24 to 141.7), +214 %"
    );
    assert_eq!(
        text(value(0.012_345_6, -1e140, 0.5)),
        "latency 0.01235 in the minute, expected 131.2 (at most 0.5000), -100 %"
    );
    for (channel, span, time) in [(Channel::Short, 32, "32"), (Channel::Drift, 10, "10")] {
        assert_eq!(
            text(window(channel, span, 168.26, 131.2)),
            format!("latency 168.3 on average over {time} minutes, expected 131.2, +28 %")
        );
    }
    // Nothing to be measured in percent of.
    assert_eq!(
        reason("balance", &window(Channel::Short, 8, 4.0, -2.5), MINUTE),
        "balance 4 on average over 8 minutes, expected -2.500"
    );
}
