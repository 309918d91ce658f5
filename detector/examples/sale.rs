//! How often a sale makes a series cry wolf: simulated days on which everything rises and nothing is wrong.
//!
//! `sale [DAYS]`: for each profile, number of days of history and height of the sale, how many of so many days
//! (100 unless said) have an incident that alerts by default, with the series judged alone and beside the others.

use std::collections::BTreeMap;
use std::env;

use detector::{Ground, Incident, Moment, Pace, Series};
use sample::{Profile, Sale, Stream};

const PACE: Pace = Pace { minutes: 1.0 };
const DAY: i64 = 1440;

fn moment(minute: i64) -> Moment {
    Moment {
        bucket: minute,
        minute: minute.rem_euclid(DAY) as u16,
        weekend: sample::calendar::weekday(minute) >= 5,
    }
}

/// Series by status, with their total.
struct Monitor {
    ground: Ground,
    series: BTreeMap<&'static str, Series>,
    beside: bool,
}

impl Monitor {
    /// Folds one minute; gives the incidents that open in it and alert by default.
    fn fold(&mut self, minute: i64, rows: &[(&'static str, f64)]) -> Vec<(&'static str, Incident)> {
        let at = moment(minute);
        for (status, _) in rows {
            self.series.entry(status).or_insert(self.ground.blank);
        }
        let sum = rows.iter().map(|r| r.1).sum();
        let sealing = self.ground.seal(at, !rows.is_empty(), sum, PACE);
        let mut opened = Vec::new();
        if sealing.counted {
            for (status, state) in &mut self.series {
                let x = rows.iter().find(|r| r.0 == *status).map_or(0.0, |r| r.1);
                state.step(x, at, PACE);
                let incident = state.open_incident().filter(|i| i.opened == minute);
                if let Some(i) = incident.filter(|i| (i.direction < 0) == (*status == "approved")) {
                    opened.push((*status, *i));
                }
            }
            if self.beside {
                self.ground
                    .carry(self.series.values().map(Series::part).sum());
                let volume = self.ground.volume;
                self.series
                    .values_mut()
                    .for_each(|s| s.note_volume(&volume));
            }
        }
        self.ground.close(at, &sealing, PACE);
        opened
    }
}

/// Incidents from the sale's start until two hours after its end.
fn false_alerts(
    seed: u64,
    profile: Profile,
    history: i64,
    peak: f64,
    beside: bool,
) -> Vec<(&'static str, Incident)> {
    let start = 20_283 * DAY + (seed as i64 % 7) * DAY;
    let hour = 8 + (seed as i64 * 5) % 12;
    let sale = Sale {
        peak,
        ..Sale::new(start + history * DAY + hour * 60)
    };
    let end = sale.start_minute + sale.minutes + 120;
    let stream = Stream::new(seed)
        .profile(profile)
        .start(start)
        .minutes(end - start)
        .sales([sale]);
    let mut monitor = Monitor {
        ground: Ground::new(),
        series: BTreeMap::new(),
        beside,
    };
    let mut found = Vec::new();
    let mut rows: Vec<(&'static str, f64)> = Vec::new();
    let mut all = stream.rows().peekable();
    for minute in start..end {
        rows.clear();
        while let Some(row) = all.next_if(|r| r.minute == minute) {
            rows.push((row.status, f64::from(row.count)));
        }
        let opened = monitor.fold(minute, &rows);
        if minute >= sale.start_minute {
            found.extend(opened);
        }
    }
    found
}

fn main() {
    let days: u64 = env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(100);
    println!("profile history peak   days with a false alert: alone high/low   beside the others high/low");
    for profile in [Profile::Busy, Profile::Local, Profile::Quiet] {
        for history in [1, 3, 14] {
            for peak in [1.0, 1.5, 2.0, 2.5] {
                let count = |beside: bool| {
                    let (mut high, mut low) = (0, 0);
                    let mut which = BTreeMap::new();
                    for seed in 0..days {
                        let found = false_alerts(seed, profile, history, peak, beside);
                        high += u32::from(found.iter().any(|f| f.1.direction > 0));
                        low += u32::from(found.iter().any(|f| f.1.direction < 0));
                        for f in found {
                            *which.entry((f.0, f.1.direction)).or_insert(0) += 1;
                        }
                    }
                    (high, low, which)
                };
                let (alone, beside) = (count(false), count(true));
                println!(
                    "{profile:?} {history:>3} {peak:>4}   {:>3}/{:<3}   {:>3}/{:<3} {:?}",
                    alone.0, alone.1, beside.0, beside.1, beside.2
                );
            }
        }
    }
}
