//! The total of a monitor and the presence of its data.

mod generate;

use std::collections::BTreeMap;

use detector::{Ground, Incident, Model, Sealing, SILENT_MAX};
use generate::{minute, Random, MINUTE};

/// A monitor's fold, as the extension does it.
struct Monitor {
    ground: Ground,
    series: BTreeMap<&'static str, Model>,
}

impl Monitor {
    fn new() -> Monitor {
        Monitor {
            ground: Ground::new(),
            series: BTreeMap::new(),
        }
    }

    fn fold(&mut self, bucket: i64, rows: &[(&'static str, f64)]) -> Sealing {
        let at = minute(bucket);
        for (name, _) in rows {
            self.series.entry(name).or_insert(self.ground.blank);
        }
        let sum = rows.iter().map(|(_, x)| x).sum();
        let sealing = self.ground.seal(at, !rows.is_empty(), sum, MINUTE);
        for (name, series) in &mut self.series {
            let row = rows.iter().find(|row| row.0 == *name).map(|row| row.1);
            if let Some(x) = row.or(sealing.counted.then_some(0.0)) {
                series.step(x, at, MINUTE);
            }
        }
        self.ground.close(at, &sealing, MINUTE);
        sealing
    }

    fn silence(&self) -> Option<Incident> {
        self.ground
            .total
            .open_incident()
            .copied()
            .filter(Incident::is_silence)
    }
}

#[test]
fn nothing_happens_before_the_first_row() {
    let mut monitor = Monitor::new();
    assert!(monitor.ground.idle());
    let sealing = monitor.fold(0, &[]);
    assert_eq!(sealing, Sealing::NOTHING);
    assert_eq!(monitor.ground, Ground::new());
    monitor.fold(5, &[("a", 1.0)]);
    assert_eq!((monitor.ground.sealed, monitor.ground.absent), (5, 0));
    assert!(!monitor.ground.idle());
}

#[test]
fn late_series_equals_one_fed_zeros() {
    let mut random = Random::new(1);
    let mut monitor = Monitor::new();
    let mut fed = Model::new();
    for bucket in 0..700 {
        let late = if bucket >= 500 {
            random.poisson(2.0)
        } else {
            0.0
        };
        let mut rows = vec![("a", random.poisson(40.0))];
        if late > 0.0 {
            rows.push(("late", late));
        }
        monitor.fold(bucket, &rows);
        fed.step(late, minute(bucket), MINUTE);
    }
    assert_eq!(monitor.series["late"], fed);
}

#[test]
fn empty_minutes_at_night_are_zeros() {
    let mut random = Random::new(2);
    let mut monitor = Monitor::new();
    let (mut absent, mut zeros) = (0, 0);
    for bucket in 0..2000 {
        let x = random.poisson(1.0);
        let rows: &[_] = if x > 0.0 { &[("a", x)] } else { &[] };
        let sealing = monitor.fold(bucket, rows);
        if bucket > 0 && rows.is_empty() {
            absent += 1;
            zeros += i32::from(sealing.counted);
        }
        assert_eq!(monitor.silence(), None, "minute {bucket}");
    }
    assert!(absent > 600);
    assert!(zeros * 100 >= absent * 98, "{zeros} of {absent}");
    let expected = monitor.series["a"].judge(0.0).expected;
    assert!((0.6..1.5).contains(&expected), "{expected}");
}

#[test]
fn silence_is_found_and_stays() {
    let mut random = Random::new(3);
    let mut monitor = Monitor::new();
    for bucket in 0..600 {
        monitor.fold(
            bucket,
            &[("a", random.poisson(20.0)), ("b", random.poisson(10.0))],
        );
    }
    let series = monitor.series["a"];
    let mut opened = None;
    for bucket in 600..600 + 3000 {
        let sealing = monitor.fold(bucket, &[]);
        assert!(!sealing.counted, "an empty minute is no zero for a series");
        if opened.is_none() && monitor.silence().is_some() {
            opened = Some(bucket);
        }
    }
    let opened = opened.expect("silence is found");
    assert!(opened <= 603, "{opened}");
    assert!(monitor.ground.idle());
    assert_eq!(monitor.ground.absent, 3000);
    let silence = monitor.silence().expect("neither resolved nor accepted");
    assert_eq!(
        (silence.opened, silence.last_seen, silence.buckets),
        (opened, 3599, 3600 - opened as u32)
    );
    assert_eq!(monitor.series["a"], series, "no data, nothing learned");

    for bucket in 3600..3660 {
        monitor.fold(
            bucket,
            &[("a", random.poisson(20.0)), ("b", random.poisson(10.0))],
        );
    }
    assert_eq!(monitor.silence(), None);
    assert!(!monitor
        .ground
        .total
        .last_incident()
        .expect("it is remembered")
        .is_accepted());
    assert_eq!(
        monitor.series["a"].incidents() + monitor.series["b"].incidents(),
        0
    );
}

#[test]
fn silence_that_begins_within_a_minute_is_silence() {
    let mut random = Random::new(4);
    let mut monitor = Monitor::new();
    for bucket in 0..600 {
        monitor.fold(bucket, &[("a", random.poisson(200.0))]);
    }
    monitor.fold(600, &[("a", 40.0)]);
    let open = monitor
        .ground
        .total
        .open_incident()
        .copied()
        .expect("a drop of the total");
    assert!(!open.is_silence());
    monitor.fold(601, &[]);
    assert_eq!(monitor.silence().map(|incident| incident.opened), Some(600));
    assert!(monitor.ground.idle());
}

#[test]
fn skipping_while_idle_changes_nothing() {
    let run = |skip: bool| {
        let mut random = Random::new(5);
        let mut monitor = Monitor::new();
        for bucket in (0..600).chain(2000..2300) {
            monitor.fold(bucket, &[("a", random.poisson(30.0))]);
            if bucket == 599 {
                for absent in 600..2000 {
                    if skip && monitor.ground.idle() {
                        break;
                    }
                    monitor.fold(absent, &[]);
                }
            }
        }
        monitor
    };
    let (all, skipped) = (run(false), run(true));
    assert_eq!(all.ground, skipped.ground);
    assert_eq!(all.series, skipped.series);
}

#[test]
fn a_monitor_that_never_speaks_is_left() {
    let mut monitor = Monitor::new();
    monitor.fold(0, &[("a", 1.0)]);
    let mut bucket = 0;
    while !monitor.ground.idle() {
        bucket += 1;
        monitor.fold(bucket, &[]);
    }
    assert!(bucket <= i64::from(SILENT_MAX) + 1, "{bucket}");
    let before = monitor.ground.total;
    monitor.fold(bucket + 1, &[]);
    assert_eq!(monitor.ground.total, before);
}

#[test]
fn encodes() {
    let mut monitor = Monitor::new();
    for bucket in 0..100 {
        monitor.fold(bucket, &[("a", (bucket % 5) as f64)]);
    }
    assert_eq!(Ground::decode(&monitor.ground.encode()), Ok(monitor.ground));
}

#[test]
fn what_is_left_out_is_neither_learned_nor_silence() {
    let mut monitor = Monitor::new();
    for minute in 0..300 {
        monitor.fold(minute, &[("a", 30.0)]);
    }
    let before = monitor.ground;
    monitor.ground.leave_out(359);
    assert_eq!((monitor.ground.sealed, monitor.ground.absent), (359, 0));
    assert_eq!(monitor.ground.total, before.total);
    // An open silence goes on after it, without it.
    for minute in 360..365 {
        monitor.fold(minute, &[]);
    }
    assert!(monitor.ground.idle());
    monitor.ground.leave_out(399);
    monitor.ground.pass_over(402);
    let silence = monitor.ground.total.open_incident().expect("silence");
    assert_eq!((silence.opened, silence.last_seen), (360, 402));
    assert_eq!(silence.buckets, 5 + 3);
}
