//! The incidents people hear of: when one opens, ends, returns, flaps.

use detector::lifecycle::{FLAPS, RESOLVE_AFTER};
use detector::{
    Alarm, Channel, Ground, Lifecycle, Limits, Moment, Pace, Series, Terms, Told, Verdict,
};

const MINUTE: Pace = Pace { minutes: 1.0 };
const BOTH: (bool, bool) = (true, true);
const NONE: &[Alarm] = &[];

/// A series of about twenty a bucket, and what is heard of it.
struct Heard {
    series: Series,
    life: Lifecycle,
    terms: Terms,
    limits: Limits,
    allowed: (bool, bool),
    bucket: i64,
}

fn at(bucket: i64) -> Moment {
    Moment {
        bucket,
        minute: bucket.rem_euclid(1440) as u16,
        weekend: false,
    }
}

/// About twenty, the same each time.
fn calm(bucket: i64) -> f64 {
    [20.0, 17.0, 23.0, 19.0, 22.0, 18.0, 21.0][bucket.rem_euclid(7) as usize]
}

impl Heard {
    /// After four hours of calm.
    fn new(terms: Terms) -> Heard {
        let mut heard = Heard {
            series: Series::new(),
            life: Lifecycle::new(),
            terms,
            limits: Limits::NONE,
            allowed: BOTH,
            bucket: 0,
        };
        heard.calm(240);
        heard
    }

    fn read(&mut self, x: f64) {
        let (judgement, bounds) =
            self.series
                .step_bounded(x, at(self.bucket), MINUTE, &Default::default());
        let told = Told {
            x,
            bucket: self.bucket,
            judgement: &judgement,
            bounds,
            own: self.series.own(self.bucket),
            allowed: self.allowed,
            limits: &self.limits,
            share: false,
        };
        self.life.step(&told, &self.terms);
        self.bucket += 1;
    }

    fn calm(&mut self, buckets: i64) {
        for _ in 0..buckets {
            self.read(calm(self.bucket));
        }
    }

    fn storm(&mut self, buckets: i64) {
        for _ in 0..buckets {
            self.read(90.0);
        }
    }

    fn alarms(&self) -> &[Alarm] {
        &self.life.recent[..(self.life.incidents as usize).min(4)]
    }

    fn open(&self) -> Option<&Alarm> {
        self.life.open_alarm(1)
    }
}

fn reopening(within: u32) -> Terms {
    Terms {
        reopen_within: within,
        ..Terms::BUILT_IN
    }
}

#[test]
fn by_default_one_critical_reading_opens_and_five_quiet_ones_end() {
    let mut heard = Heard::new(Terms::BUILT_IN);
    heard.storm(1);
    let opened = heard.open().expect("open at once").incident;
    assert_eq!((opened.opened, opened.verdict()), (240, Verdict::Critical));
    assert!(opened.upper < 90.0 && opened.lower <= opened.expected);
    // The sum of five holds the storm for four more, and is not heard any more.
    heard.calm(4 + i64::from(RESOLVE_AFTER) - 1);
    assert!(heard.open().is_some());
    heard.calm(1);
    let ended = heard.alarms()[0].incident;
    assert_eq!((ended.resolved, ended.last_seen), (249, 240));
    // The series itself waits longer before it learns again.
    assert!(heard.series.open_incident().is_some());
}

#[test]
fn two_warnings_of_three_open() {
    let mut heard = Heard::new(Terms::BUILT_IN);
    let warning = (30..80).map(f64::from).find(|x| {
        let mut ahead = heard.series;
        ahead.advance(at(240), MINUTE);
        ahead.judge(*x).verdict() == Verdict::Warning
    });
    let warning = warning.expect("some count is a warning");
    heard.read(warning);
    assert_eq!(heard.alarms(), NONE);
    heard.calm(1);
    assert_eq!(heard.alarms(), NONE);
    heard.read(warning + 3.0);
    assert!(heard.open().is_some(), "{:?}", heard.life);
}

#[test]
fn a_rule_says_how_many_open_and_how_many_end() {
    let terms = Terms {
        open_after: 8,
        open_within: 10,
        resolve_after: 12,
        reopen_within: 0,
        ..Terms::BUILT_IN
    };
    let mut heard = Heard::new(terms);
    // With the sums that hold them these are six.
    heard.storm(2);
    heard.calm(20);
    assert_eq!(heard.alarms(), NONE);
    heard.storm(7);
    assert_eq!(heard.alarms(), NONE);
    heard.storm(1);
    assert_eq!(heard.open().map(|a| a.incident.opened), Some(269));
    heard.calm(4 + 11);
    assert!(heard.open().is_some());
    heard.calm(1);
    assert_eq!(heard.alarms()[0].incident.resolved, 285);
    // What it learned is what it would have learned anyway.
    let mut other = Heard::new(Terms::BUILT_IN);
    other.storm(2);
    other.calm(20);
    other.storm(8);
    other.calm(16);
    assert_eq!(heard.series.encode(), other.series.encode());
}

#[test]
fn missing_data_ends_nothing() {
    let mut heard = Heard::new(Terms::BUILT_IN);
    heard.storm(3);
    heard.bucket += 60;
    heard.read(f64::NAN);
    assert!(heard.open().is_some());
}

#[test]
fn what_returns_in_time_is_the_same() {
    let mut heard = Heard::new(reopening(10));
    heard.storm(3);
    heard.calm(13);
    assert!(heard.open().is_none());
    let ended = heard.alarms()[0].incident;
    heard.storm(2);
    let again = *heard.open().expect("open again");
    assert_eq!((heard.life.incidents, again.incident.opened), (1, 240));
    assert_eq!((again.reopened, again.reopenings), (256, 1));
    assert_eq!(again.incident.buckets, ended.buckets + 2);
    heard.calm(9 + 11);
    heard.storm(1);
    assert_eq!(heard.life.incidents, 2, "too late to be the same");
}

#[test]
fn what_flaps_stays_open_until_it_has_come_to_rest() {
    let mut heard = Heard::new(reopening(10));
    for _ in 0..FLAPS {
        heard.storm(2);
        heard.calm(9);
        assert!(heard.open().is_none());
    }
    heard.storm(2);
    let flapping = *heard.open().expect("open again");
    assert!(flapping.is_flapping() && heard.life.incidents == 1);
    // Now it takes twice as long to be over.
    heard.calm(10);
    assert!(heard.open().is_some());
    heard.storm(1);
    heard.calm(4 + 9);
    assert!(heard.open().is_some());
    heard.calm(1);
    assert!(heard.open().is_none());
    heard.storm(2);
    let after = *heard.open().expect("open again");
    assert_eq!((after.is_flapping(), after.reopenings), (false, 1));
}

#[test]
fn a_side_that_may_not_speak_is_silent() {
    let mut heard = Heard::new(Terms::BUILT_IN);
    heard.allowed = (false, true);
    heard.storm(5);
    assert_eq!(heard.alarms(), NONE);
    assert!(heard.series.open_incident().is_some());
}

#[test]
fn a_limit_opens_at_once_on_either_side() {
    let mut heard = Heard::new(Terms::BUILT_IN);
    heard.limits = Limits {
        warn_above: 24.0,
        critical_below: 12.0,
        ..Limits::NONE
    };
    heard.allowed = (false, false);
    heard.read(24.0);
    let opened = heard.open().expect("at the limit").incident;
    assert_eq!(
        (opened.verdict(), opened.channel, opened.span_expected),
        (Verdict::Warning, Channel::Limit as u8, 24.0)
    );
    assert_eq!((opened.lower, opened.upper), (13.0, 23.0));
    heard.read(12.0);
    let below = heard.life.open_alarm(-1).expect("another").incident;
    assert_eq!(below.verdict(), Verdict::Critical);
    heard.limits = Limits::NONE;
    heard.calm(5);
    assert!(!heard.life.is_open());
}

#[test]
fn a_level_that_is_accepted_ends_and_does_not_return() {
    let mut heard = Heard::new(reopening(1000));
    heard.calm(4300);
    for _ in 0..=480 {
        heard.read(10.0 * calm(heard.bucket));
    }
    let ended = heard.alarms()[0].incident;
    assert!(ended.is_accepted(), "{ended:?}");
    // To go back is an incident of its own, below.
    heard.calm(3);
    assert_eq!(heard.life.open_alarm(-1).map(|a| a.reopenings), Some(0));
    assert_eq!(heard.life.incidents, 2);
}

#[test]
fn the_state_reads_back() {
    let mut heard = Heard::new(reopening(10));
    heard.storm(2);
    heard.calm(9);
    heard.storm(2);
    assert_eq!(Lifecycle::decode(&heard.life.encode()), Ok(heard.life));
    assert!(size_of::<Lifecycle>() <= 768, "{}", size_of::<Lifecycle>());
}

#[test]
fn a_silence_counts_its_buckets_in_one_step_or_in_many() {
    let fold = |step: usize| {
        let mut ground = Ground::new();
        let mut life = Lifecycle::new();
        let terms = reopening(10);
        let mut read = |ground: &mut Ground, bucket: i64, rows: bool| {
            let sum = if rows { calm(bucket) } else { 0.0 };
            let sealing = ground.seal(at(bucket), rows, sum, MINUTE);
            life.step_total(ground, &sealing, sum, BOTH, &terms);
            ground.close(at(bucket), &sealing, MINUTE);
        };
        for bucket in 0..240 {
            read(&mut ground, bucket, true);
        }
        for bucket in 240..242 {
            read(&mut ground, bucket, false);
        }
        assert!(ground.idle());
        for bucket in (242..300).step_by(step) {
            read(&mut ground, bucket, false);
        }
        for bucket in 300..320 {
            read(&mut ground, bucket, true);
        }
        let total = *ground.total.last_incident().expect("silence");
        (life, total)
    };
    let (life, total) = fold(1);
    let told = life.recent[0].incident;
    assert!(told.is_silence() && !told.is_open());
    assert_eq!(
        (told.opened, told.buckets, told.empty, told.last_seen),
        (total.opened, total.buckets, total.empty, total.last_seen)
    );
    assert_eq!(told.buckets, 60);
    assert_eq!(fold(12).0, life);
}
