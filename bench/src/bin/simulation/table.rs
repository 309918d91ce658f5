//! The figures as tables.

use crate::noise::Noise;
use crate::scenario::{Kind, Plot};
use crate::tally::Tally;
use crate::watcher::Watcher;

type Cell = (f64, Noise);

fn found(tally: &Tally, kind: Kind) -> String {
    match tally.found_of(kind) {
        (_, 0) => "–".to_owned(),
        (found, laid) => format!("{found}/{laid}"),
    }
}

fn rate(count: u32, days: f64) -> String {
    if days > 0.0 {
        format!("{:.3}", f64::from(count) / days)
    } else {
        "–".to_owned()
    }
}

/// One row a cell.
pub fn cells(cells: &[Cell], tallies: &[Tally], plots: &[Plot]) {
    let lasting = plots.contains(&Plot::Level)
        || cells
            .iter()
            .any(|c| matches!(c.1, Noise::LevelChange | Noise::Holiday));
    println!(
        "| mean | noise | false a day | high | low | by channel | day 1 | day 2 | first weekend | > 30 min | longest | echoes \
         | bursts | drops | 1.7× | 0.5× | twins |{}",
        if lasting { " level, later | holiday |" } else { "" }
    );
    println!(
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|{}",
        if lasting { "---|---|" } else { "" }
    );
    for ((mean, noise), t) in cells.iter().zip(tallies) {
        let series = f64::from(t.series);
        print!(
            "| {mean} | {} | {:.4} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} + {} |",
            noise.name(),
            t.false_a_day(),
            rate(t.high, t.days),
            rate(t.low, t.days),
            t.channels.map(|count| count.to_string()).join("/"),
            rate(t.first_day, series),
            rate(t.second_day, series),
            rate(t.weekend, t.weekend_days),
            t.long,
            t.longest,
            t.echoes,
            found(t, Kind::Burst),
            found(t, Kind::Drop),
            found(t, Kind::Up),
            found(t, Kind::Down),
            found(t, Kind::Twin),
            found(t, Kind::SecondTwin),
        );
        if lasting {
            print!(" {}, {} |", found(t, Kind::Level), t.later);
            match t.found_of(Kind::Holiday) {
                (_, 0) => print!(" – |"),
                (_, days) => print!(" {:.2} told |", f64::from(t.on_holidays) / f64::from(days)),
            }
        }
        println!();
    }
    println!();
}

/// Means below 5, and from 5 on.
const BUSY: f64 = 5.0;

fn sum<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    let mut all = Tally::default();
    tallies.for_each(|t| all.merge(t));
    all
}

fn share(tally: &Tally, kind: Kind) -> String {
    match tally.found_of(kind) {
        (_, 0) => "–".to_owned(),
        (found, laid) => {
            let share = 100.0 * f64::from(found) / f64::from(laid);
            let delay = tally
                .median_delay(kind)
                .map_or(String::new(), |d| format!(", {d} min"));
            format!("{found}/{laid} = {share:.1} %{delay}")
        }
    }
}

/// One row for each watcher and range of means.
pub fn summary(cells: &[Cell], watchers: &[&dyn Watcher], all: &[Vec<Tally>]) {
    println!(
        "| | means | series-days | false a day | worst cell | day 1 | day 2 | first weekend | bursts | drops | 1.7× | 0.5× | twins | second twins |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (watcher, tallies) in watchers.iter().zip(all) {
        for busy in [false, true] {
            let chosen: Vec<&Tally> = cells
                .iter()
                .zip(tallies)
                .filter(|((mean, _), _)| (*mean >= BUSY) == busy)
                .map(|(_, t)| t)
                .collect();
            let worst = chosen.iter().map(|t| t.false_a_day()).fold(0.0, f64::max);
            let t = sum(chosen.iter().copied());
            println!(
                "| {} | {} | {} | {:.4} | {worst:.4} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                watcher.name(),
                if busy { "≥ 5" } else { "< 5" },
                t.days,
                t.false_a_day(),
                rate(t.first_day, f64::from(t.series)),
                rate(t.second_day, f64::from(t.series)),
                rate(t.weekend, t.weekend_days),
                share(&t, Kind::Burst),
                share(&t, Kind::Drop),
                share(&t, Kind::Up),
                share(&t, Kind::Down),
                share(&t, Kind::Twin),
                share(&t, Kind::SecondTwin),
            );
        }
    }
    println!();
}

/// One line: for what is done many times.
pub fn brief(name: &str, cells: &[Cell], tallies: &[Tally]) {
    let worst = tallies.iter().map(Tally::false_a_day).fold(0.0, f64::max);
    let all = sum(tallies.iter());
    let busy = sum(cells
        .iter()
        .zip(tallies)
        .filter(|(c, _)| c.0 >= BUSY)
        .map(|(_, t)| t));
    let part = |kind| {
        let (found, laid) = busy.found_of(kind);
        100.0 * f64::from(found) / f64::from(laid.max(1))
    };
    println!(
        "{name} false {:.4} worst {worst:.4} high {} low {} channels {:?} burst {:.1} drop {:.1} up {:.1} down {:.1}",
        all.false_a_day(),
        all.high,
        all.low,
        all.channels,
        part(Kind::Burst),
        part(Kind::Drop),
        part(Kind::Up),
        part(Kind::Down),
    );
}
