//! Fixed limits.

use detector::{Bounds, Limits, Verdict};

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
