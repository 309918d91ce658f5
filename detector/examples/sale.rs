//! How often a sale makes a series cry wolf: simulated days on which everything rises and nothing is wrong.
//!
//! `sale [DAYS]`: for each profile, number of days of history and height of the sale, how many of so many days
//! (100 unless said) have an incident that alerts by default, with the series judged alone and beside the others.

use std::collections::BTreeMap;
use std::env;

use detector::Incident;
use sample::calendar::DAY;
use sample::{Profile, Sale, Stream};

mod monitor;

use monitor::Monitor;

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
    let mut monitor = Monitor::new();
    monitor.beside = beside;
    let mut found = Vec::new();
    let mut rows: BTreeMap<&'static str, f64> = BTreeMap::new();
    let mut all = stream.rows().peekable();
    for minute in start..end {
        rows.clear();
        while let Some(row) = all.next_if(|r| r.minute == minute) {
            rows.insert(row.status, f64::from(row.count));
        }
        monitor.fold(minute, &rows, |status, state| {
            let opened = state.open_incident().filter(|i| i.opened == minute);
            let alerts = |i: &&Incident| (i.direction < 0) == (status == "approved");
            if let Some(i) = opened
                .filter(alerts)
                .filter(|_| minute >= sale.start_minute)
            {
                found.push((status, *i));
            }
        });
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
