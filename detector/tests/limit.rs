//! Fixed limits.

use detector::{Bounds, Channel, LimitWatch, Limits, Verdict};

const LIMITS: Limits = Limits {
    warn_above: 50.0,
    critical_above: 100.0,
    warn_below: 5.0,
    critical_below: 0.0,
};

#[test]
fn verdicts() {
    let says = |x| LIMITS.verdict(x);
    assert_eq!(says(49.0), None);
    assert_eq!(says(50.0), Some((Verdict::Warning, 1)));
    assert_eq!(says(100.0), Some((Verdict::Critical, 1)));
    assert_eq!(says(6.0), None);
    assert_eq!(says(5.0), Some((Verdict::Warning, -1)));
    assert_eq!(says(0.0), Some((Verdict::Critical, -1)));
    assert_eq!(says(f64::NAN), None);
    assert!(Limits::NONE.is_none() && !LIMITS.is_none());
    assert_eq!(Limits::NONE.verdict(1e15), None);
}

#[test]
fn bounds_are_narrowed_to_what_breaks_no_limit() {
    let wide = Bounds {
        lower: 0.0,
        upper: 1e15,
    };
    assert_eq!(
        LIMITS.narrow(wide),
        Bounds {
            lower: 6.0,
            upper: 49.0
        }
    );
    assert_eq!(Limits::NONE.narrow(wide), wide);
    for x in (0..120).map(f64::from) {
        assert_eq!(LIMITS.narrow(wide).contains(x), LIMITS.verdict(x).is_none());
    }
}

#[test]
fn opens_escalates_and_is_resolved_after_five_inside() {
    let mut watch = LimitWatch::new();
    let mut step = |x: f64, bucket| {
        watch.step(x, &LIMITS, 20.0, bucket);
        watch
    };
    assert!(step(20.0, 0).open_incident().is_none());
    let opened = *step(60.0, 1).open_incident().expect("open at the first");
    assert_eq!(
        (opened.opened, opened.direction, opened.severity),
        (1, 1, Verdict::Warning as u8)
    );
    assert_eq!(
        (opened.channel, opened.span_expected),
        (Channel::Limit as u8, 50.0)
    );
    assert_eq!((opened.lower, opened.upper), (6.0, 49.0));
    let worse = *step(120.0, 2).open_incident().expect("still open");
    assert_eq!(
        (worse.verdict(), worse.peak_observed, worse.buckets),
        (Verdict::Critical, 120.0, 2)
    );
    for bucket in 3..7 {
        assert!(step(20.0, bucket).open_incident().is_some());
    }
    step(f64::NAN, 7);
    let closed = step(20.0, 8);
    assert!(closed.open_incident().is_none());
    assert_eq!(
        (closed.recent[0].resolved, closed.recent[0].closing),
        (8, 1)
    );
    assert_eq!(LimitWatch::decode(&closed.encode()), Ok(closed));
}

#[test]
fn a_break_on_the_other_side_is_another_incident() {
    let mut watch = LimitWatch::new();
    watch.step(60.0, &LIMITS, 20.0, 1);
    watch.step(0.0, &LIMITS, 20.0, 2);
    assert_eq!((watch.incidents, watch.recent[0].resolved), (2, 2));
    let open = watch.open_incident().expect("the second");
    assert_eq!(
        (open.direction, open.verdict(), open.is_silence()),
        (-1, Verdict::Critical, true)
    );
    // Taking the limits away lets it end.
    for bucket in 3..8 {
        watch.step(0.0, &Limits::NONE, 20.0, bucket);
    }
    assert!(watch.open_incident().is_none());
}
